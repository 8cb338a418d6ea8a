/* nstatus.c -- natsStatus and JetStream's err_code as a naq_err. Any thread. */
#include "nats/nstatus.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* libnats keeps its last error for each thread, and leaves it behind when a thread ends that is not
 * its own. Ours forget it as they end (library.c); this is for a program's, as far as they met one.
 */
static pthread_key_t at_end;
static bool watched;

static void forget_errors(void *unused) {
    (void)unused;
    nats_ReleaseThreadMemory();
}

/* A thread that ends clears its keys in the order in which they were made: ours comes first, or
 * libnats' would be gone by then. */
void naq_nstatus_before_open(void) {
    watched = pthread_key_create(&at_end, forget_errors) == 0;
}

static const char *last_error(void) {
    if (watched) (void)pthread_setspecific(at_end, &at_end); /* whatever is not NULL */
    return nats_GetLastError(NULL);
}

static naq_status status_of_nats(natsStatus s) {
    switch (s) {
    case NATS_OK:
        return NAQ_OK;
    case NATS_TIMEOUT:
        return NAQ_TIMEOUT;
    case NATS_CONNECTION_AUTH_FAILED:
        return NAQ_AUTH;
    case NATS_NOT_PERMITTED:
        return NAQ_PERMISSION;
    case NATS_MAX_PAYLOAD:
    case NATS_LINE_TOO_LONG:
        return NAQ_TOO_LARGE;
    case NATS_NOT_FOUND:
        return NAQ_KEY_NOT_FOUND;
    case NATS_NO_SERVER_SUPPORT:
        return NAQ_UNSUPPORTED;
    case NATS_ADDRESS_MISSING:
    case NATS_INVALID_ARG:
    case NATS_INVALID_SUBJECT:
    case NATS_INVALID_TIMEOUT:
    case NATS_INVALID_QUEUE_NAME:
        return NAQ_INVALID;
    case NATS_CONNECTION_CLOSED:
        return NAQ_CLOSED; /* for good, so no later call on it can succeed */
    default:
        return NAQ_CONNECTION; /* no server, I/O, TLS, no responders, out of memory */
    }
}

/* 10077 is "the store refused it": the description alone tells a second message under the subject
 * from a full stream or disk (nats-server 2.9 to 2.10). */
static naq_status store_failed(const char *description) {
    return description == NULL || strstr(description, "per subject") != NULL ? NAQ_DUPLICATE
                                                                             : NAQ_STORAGE_FULL;
}

static naq_status status_of_js(int js, const char *description) {
    switch (js) {
    case JSNotEnabledForAccountErr:
    case NAQ_JS_NO_RESPONDERS:
        return NAQ_NO_JETSTREAM;
    case NAQ_JS_NOT_AVAILABLE:
        return NAQ_CONNECTION; /* the cluster has no leader right now */
    case NAQ_JS_WRONG_LAST_SEQUENCE:
    case NAQ_JS_WRONG_LAST_MSG_ID:
        return NAQ_WRONG_REVISION;
    case NAQ_JS_MAX_MSGS_PER_SUBJECT:
        return store_failed(description);
    case NAQ_JS_MSG_NOT_FOUND:
    case NAQ_JS_CONSUMER_NOT_FOUND:
        return NAQ_KEY_NOT_FOUND;
    case JSAccountResourcesExceededErr:
    case JSInsufficientResourcesErr:
    case JSMemoryResourcesExceededErr:
    case JSStorageResourcesExceededErr:
        return NAQ_STORAGE_FULL;
    case JSStreamMessageExceedsMaximumErr:
        return NAQ_TOO_LARGE;
    default:
        return NAQ_CONFIGURATION; /* no such stream, a setting refused, no room in the cluster */
    }
}

naq_status naq_from_nats(naq_err *err, natsStatus s, int js, const char *fmt, ...) {
    const char *text = last_error();
    if (text == NULL || text[0] == '\0') text = natsStatus_GetText(s);
    if (text[0] == '(' && strstr(text, "): ") != NULL) /* "(conn.c:1905): Authorization ..." */
        text = strstr(text, "): ") + 3;
    /* What the server or a timer said before that is no reason. */
    if (s == NATS_CONNECTION_DISCONNECTED) text = "the connection was lost";
    if (s == NATS_NO_SERVER) text = "nothing is listening there";
    if (s == NATS_CONNECTION_AUTH_FAILED) text = "the server refused the credentials";
    char cause[256];
    (void)snprintf(cause, sizeof cause, "%s", text);

    va_list args;
    va_start(args, fmt);
    err->status = js != 0 ? status_of_js(js, cause) : status_of_nats(s);
    (void)vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    size_t n = strlen(err->message);
    (void)snprintf(err->message + n, sizeof err->message - n, ": %s", cause);
    return err->status;
}

naq_status naq_from_js(naq_err *err, int js, const char *description, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    err->status = status_of_js(js, description);
    (void)vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    size_t n = strlen(err->message);
    (void)snprintf(err->message + n, sizeof err->message - n, ": %s (%d)",
                   description != NULL ? description : "refused", js);
    return err->status;
}
