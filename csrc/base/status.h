/* status.h -- the one error type that crosses every border of the core.
 *
 * A function that can fail returns a naq_status and fills the naq_err it was given (never NULL):
 * the status and one sentence naming the object concerned. The names returned by naq_status_code()
 * are API: they are what Lua sees as the third value of `nil, message, code`. */
#ifndef NAQ_BASE_STATUS_H
#define NAQ_BASE_STATUS_H

#include <stdarg.h>

typedef enum naq_status {
    NAQ_OK = 0,
    NAQ_CONNECTION,    /* no server, or the connection was lost */
    NAQ_TIMEOUT,       /* no answer in the time allowed */
    NAQ_AUTH,          /* the server refused the credentials */
    NAQ_PERMISSION,    /* connected, but not allowed to do this */
    NAQ_NO_JETSTREAM,  /* the server or account has no JetStream */
    NAQ_STORAGE_FULL,  /* JetStream has no room left */
    NAQ_CONFIGURATION, /* settings that cannot work, or a stream that differs from ours */
    NAQ_SERIALIZATION, /* a value or text that the codec refuses */
    NAQ_TOO_LARGE,     /* larger than the server or the codec takes */
    NAQ_JOB_NOT_FOUND,
    NAQ_NOT_FINISHED,
    NAQ_EXPIRED,
    NAQ_JOB_FAILED,
    NAQ_JOB_CANCELLED,
    NAQ_DUPLICATE,
    NAQ_QUEUE_FULL,
    NAQ_KEY_NOT_FOUND,
    NAQ_KEY_EXISTS,
    NAQ_WRONG_REVISION, /* a compare-and-set lost */
    NAQ_NOT_LEADER,
    NAQ_FORKED, /* a connection opened before a fork, used after it */
    NAQ_CLOSED,
    NAQ_UNSUPPORTED,
    NAQ_INVALID,   /* bad input: an id, a name, a payload */
    NAQ_JOB_ERROR, /* from here on: codes of attempts */
    NAQ_JOB_STUCK,
    NAQ_JOB_CRASHED,
    NAQ_UNKNOWN_JOB,
    NAQ_UNDECODABLE,
    NAQ_STATUS_COUNT
} naq_status;

typedef struct naq_err {
    naq_status status;
    char message[512];
} naq_err;

/* Fill err and return status, so that a caller can write `return naq_fail(err, ...)`. */
naq_status naq_fail(naq_err *err, naq_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put context before what err already says: "queue mail: " + "no ack in 2000 ms". Returns its
 * status. */
naq_status naq_wrap(naq_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "TIMEOUT", "JOB_NOT_FOUND" ...; static storage, never NULL. */
const char *naq_status_code(naq_status status);

#endif
