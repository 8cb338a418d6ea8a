/* diagnose.c -- see diagnose.h.
 *
 * libnats 3.4.1 tries its servers one after the other and answers "no server" for nearly everything
 * but a refused login. What a user has to hear instead is which of the many things it was. */
#include "nats/diagnose.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/greeting.h"
#include "nats/nstatus.h"
#include "nats/reply.h"
#include "nats/tls.h"
#include "nats/url.h"

enum { LOOK_MS = 100 };

/* What needs no second look; on the thread that got s. */
static naq_status why(natsStatus s, naq_err *err) {
    const char *text = nats_GetLastError(NULL);
    switch (s) {
    case NATS_CONNECTION_AUTH_FAILED:
        return naq_fail(err, NAQ_AUTH, "the server refused the credentials");
    case NATS_SSL_ERROR:
        return naq_tls_explain(text != NULL ? text : "", err);
    default: /* NATS_SECURE_CONNECTION_WANTED */
        return naq_fail(err, NAQ_CONNECTION, "TLS is asked for, and the server has none");
    }
}

/* What a foreign server said, fit for a sentence. */
static void printable(const naq_buf *said, char out[48]) {
    size_t n = 0;
    for (size_t i = 0; i < said->len && n < 40 && said->data[i] != '\r'; i++)
        out[n++] = said->data[i] >= ' ' && said->data[i] < 127 ? said->data[i] : '?';
    out[n] = '\0';
}

/* A server that greets as it should, and yet the connection failed. */
static naq_status refused(const naq_conn_options *o, const naq_buf *greeting, naq_err *err) {
    naq_slice info = {greeting->data, greeting->len};
    naq_slice verify = naq_reply_member(info, "tls_verify");
    if (verify.at == NULL || *verify.at != 't')
        return naq_fail(err, NAQ_CONNECTION, "the server ended the connection before it was made");
    if (o->cert_file == NULL)
        return naq_fail(err, NAQ_AUTH,
                        "the server wants a client certificate: tls.cert_file and tls.key_file "
                        "name it");
    return naq_fail(err, NAQ_AUTH, "the server refused the client certificate %s", o->cert_file);
}

/* One server by itself: what libnats says of several is not to be relied on, a refused login beside
 * a server that is down comes as a timeout. */
static naq_status ask_alone(const naq_conn_options *o, int64_t wait_ms, const naq_buf *greeting,
                            naq_err *err) {
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    naq_conn_options one = *o;
    one.connection_timeout_ms = wait_ms;
    if (naq_conn_options_make(&options, &one, err) != NAQ_OK) return err->status;
    natsStatus s = (natsStatus)naq_conn_connect(&nc, options, &one, wait_ms);
    if (s == NATS_CONNECTION_AUTH_FAILED || s == NATS_SSL_ERROR ||
        s == NATS_SECURE_CONNECTION_WANTED)
        (void)why(s, err);
    else if (s == NATS_OK)
        naq_fail(err, NAQ_CONNECTION, "it answers, now");
    else
        (void)refused(o, greeting, err);
    natsConnection_Destroy(nc);
    natsOptions_Destroy(options);
    return err->status;
}

static naq_status look(const naq_conn_options *o, const char *server, bool alone, int64_t wait_ms,
                       naq_err *err) {
    naq_url u;
    if (!naq_url_parse(&u, server)) return naq_fail(err, NAQ_CONNECTION, "out of memory");
    naq_buf said = {0};
    char words[48];
    switch (naq_greeting_read(u.host, u.port, wait_ms, &said)) {
    case NAQ_GREETING_READ:
        (void)(alone ? refused(o, &said, err) : ask_alone(o, wait_ms, &said, err));
        break;
    case NAQ_GREETING_NO_NAME:
        naq_fail(err, NAQ_CONNECTION, "the name %s cannot be resolved", u.host);
        break;
    case NAQ_GREETING_NOBODY:
        naq_fail(err, NAQ_CONNECTION, "nothing is listening there");
        break;
    case NAQ_GREETING_SILENT:
        naq_fail(err, NAQ_TIMEOUT, "no answer in %lld ms", (long long)naq_conn_timeout_of(o));
        break;
    case NAQ_GREETING_HUNG_UP:
        naq_fail(err, NAQ_CONNECTION,
                 "something listens there, and closes the connection without a word");
        break;
    case NAQ_GREETING_FOREIGN:
        printable(&said, words);
        naq_fail(err, NAQ_CONNECTION, "what listens there is no NATS server: it says '%s'", words);
        break;
    }
    naq_buf_free(&said);
    naq_url_clear(&u);
    return err->status;
}

/* Each server with its own reason, in one sentence; the code is the first one's, or a
 * refusal's. */
static naq_status look_at_all(const naq_conn_options *o, int64_t spent_ms, naq_err *err) {
    int64_t end = naq_mono_ms() + naq_conn_timeout_of(o) - spent_ms;
    size_t n = 0;
    naq_status status = NAQ_CONNECTION;
    const char *const *servers = naq_conn_servers_of(o);
    (void)snprintf(err->message, sizeof err->message, "cannot connect to ");
    for (size_t i = 0; servers[i] != NULL; i++) {
        int64_t left = end - naq_mono_ms();
        naq_err found;
        char server[320];
        naq_conn_options one = *o;
        const char *const alone[] = {servers[i], NULL};
        one.servers = alone;
        naq_conn_servers_public(&one, server, sizeof server);
        bool single = servers[1] == NULL;
        (void)look(&one, servers[i], single, left > LOOK_MS ? left : LOOK_MS, &found);
        if (i == 0 || found.status == NAQ_AUTH) status = found.status;
        n = strlen(err->message);
        (void)snprintf(err->message + n, sizeof err->message - n, "%s%s: %s", i > 0 ? "; " : "",
                       server, found.message);
    }
    return err->status = status;
}

naq_status naq_diagnose(const naq_conn_options *o, natsStatus s, int64_t spent_ms, naq_err *err) {
    char servers[256];
    naq_conn_servers_public(o, servers, sizeof servers);
    bool single = naq_conn_servers_of(o)[1] == NULL;
    switch (s) {
    case NATS_TIMEOUT:
        if (!single && spent_ms < naq_conn_timeout_of(o)) return look_at_all(o, spent_ms, err);
        return naq_fail(err, NAQ_TIMEOUT, "no answer from %s in %lld ms", servers,
                        (long long)naq_conn_timeout_of(o));
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_SSL_ERROR:
    case NATS_SECURE_CONNECTION_WANTED:
        if (!single) return look_at_all(o, spent_ms, err);
        (void)why(s, err);
        return naq_wrap(err, "cannot connect to %s", servers);
    case NATS_NO_SERVER:
    case NATS_IO_ERROR:
    case NATS_CONNECTION_CLOSED:
    case NATS_PROTOCOL_ERROR:
    case NATS_LINE_TOO_LONG:
        return look_at_all(o, spent_ms, err);
    default:
        return naq_from_nats(err, s, 0, "cannot connect to %s", servers);
    }
}
