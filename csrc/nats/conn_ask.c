/* conn_ask.c -- publishing and asking on an ordinary connection. Any thread. */
#include <nats/nats.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nats/conn_state.h"
#include "nats/nstatus.h"

/* How long a flush must have waited to tell of a mute server, and how long it does. */
enum { MUTE_FROM_MS = 1000, MUTE_MS = 5000 };

/* A connection that was closed meanwhile is why, whatever libnats says. */
static naq_status explain(naq_conn *c, naq_err *err) {
    naq_err closed;
    bool may_be =
        err->status == NAQ_CONNECTION || err->status == NAQ_CLOSED || err->status == NAQ_TIMEOUT;
    if (may_be && naq_conn_check(c, &closed) != NAQ_OK) *err = closed;
    return err->status;
}

static naq_status without_server(naq_conn *c, int64_t ms, naq_err *err) {
    return naq_fail(err, NAQ_CONNECTION, "%s: the connection is lost, and not back after %lld ms",
                    c->servers, (long long)ms);
}

bool naq_conn_mute(const naq_conn *c) {
    int64_t until = atomic_load(&c->mute_ms);
    return until != 0 && naq_mono_ms() < until;
}

naq_status naq_conn_flush(naq_conn *c, int64_t timeout_ms, naq_err *err) {
    int64_t left = naq_conn_await(c, timeout_ms);
    if (left == 0) return without_server(c, timeout_ms, err);
    atomic_store(&c->unsaid, false);
    natsStatus s = natsConnection_FlushTimeout(c->nc, left);
    if (s == NATS_TIMEOUT && left >= MUTE_FROM_MS)
        atomic_store(&c->mute_ms, naq_mono_ms() + MUTE_MS);
    if (s == NATS_OK) {
        atomic_store(&c->mute_ms, 0);
        return NAQ_OK;
    }
    atomic_store(&c->unsaid, true);
    naq_from_nats(err, s, 0, "%s", c->servers);
    return explain(c, err);
}

static naq_status request_failed(naq_conn *c, natsStatus s, const char *subject, int64_t timeout_ms,
                                 naq_err *err) {
    if (s == NATS_NO_RESPONDERS && strncmp(subject, "$JS.", 4) == 0)
        return naq_fail(err, NAQ_NO_JETSTREAM,
                        "%s: JetStream is not enabled there or for this "
                        "account (nobody answers %s)",
                        c->servers, subject);
    if (s == NATS_NO_RESPONDERS)
        return naq_fail(err, NAQ_CONNECTION, "%s: nobody answers %s", c->servers, subject);
    if (s == NATS_NOT_PERMITTED) return err->status; /* err says what */
    if (s == NATS_TIMEOUT)
        naq_fail(err, NAQ_TIMEOUT, "%s: no answer to %s in %lld ms", c->servers, subject,
                 (long long)timeout_ms);
    else
        naq_from_nats(err, s, 0, "%s: %s", c->servers, subject);
    return explain(c, err);
}

static natsStatus make_message(natsMsg **m, const char *subject, const char *reply,
                               const void *data, size_t len, const naq_conn_header *headers,
                               size_t n) {
    natsStatus s = natsMsg_Create(m, subject, reply, data != NULL ? data : "", (int)len);
    for (size_t i = 0; s == NATS_OK && i < n; i++)
        s = natsMsgHeader_Add(*m, headers[i].name, headers[i].value);
    return s;
}

/* Not natsConnection_RequestMsg(), which waits out its time when the server refuses the subject. */
naq_status naq_conn_ask(naq_conn *c, const char *subject, const void *data, size_t len,
                        const naq_conn_header *headers, size_t n, int64_t timeout_ms,
                        naq_conn_answer **answer, naq_err *err) {
    int64_t left = naq_conn_await(c, timeout_ms);
    if (left == 0) return without_server(c, timeout_ms, err);
    naq_mailbox *box = NULL;
    bool pulls = strstr(subject, ".CONSUMER.MSG.NEXT.") != NULL;
    if ((pulls ? naq_mailbox_open_apart : naq_mailbox_acquire)(&box, c, err) != NAQ_OK)
        return explain(c, err);
    natsMsg *m = NULL;
    bool sent = false;
    natsStatus s = make_message(&m, subject, naq_mailbox_address(box, 0), data, len, headers, n);
    if (s == NATS_OK) s = naq_mailbox_ask(box, c, m, 0, left, answer, &sent, err);
    naq_status status = NAQ_OK;
    if (s != NATS_OK)
        status = request_failed(c, s, subject, timeout_ms, err);
    else
        atomic_store(&c->unsaid, false); /* the server has read all that was sent before */
    natsMsg_Destroy(m);
    naq_mailbox_release(box, c);
    return status;
}

const char *naq_conn_answer_peek(naq_conn_answer *a, size_t *len) {
    *len = (size_t)natsMsg_GetDataLength(a);
    return natsMsg_GetData(a);
}

void naq_conn_answer_free(naq_conn_answer *a) {
    natsMsg_Destroy(a);
}

naq_status naq_conn_request(naq_conn *c, const char *subject, const void *data, size_t len,
                            int64_t timeout_ms, naq_buf *answer, naq_err *err) {
    naq_conn_answer *m = NULL;
    naq_status status = naq_conn_ask(c, subject, data, len, NULL, 0, timeout_ms, &m, err);
    if (status != NAQ_OK) return status;
    naq_buf_put(answer, natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m));
    natsMsg_Destroy(m);
    if (answer->failed)
        return naq_fail(err, NAQ_TOO_LARGE, "the answer to %s: out of memory", subject);
    return NAQ_OK;
}

static naq_status publish_failed(naq_conn *c, natsStatus s, const char *subject, naq_err *err) {
    /* libnats knows that the server is lost before c does, and keeps no more than that. */
    if (s == NATS_INSUFFICIENT_BUFFER)
        (void)naq_outbox_full(c, subject, err);
    else
        naq_from_nats(err, s, 0, "publishing to %s", subject);
    return explain(c, err);
}

naq_status naq_conn_send(naq_conn *c, const char *subject, const void *data, size_t len,
                         const naq_conn_header *headers, size_t n, naq_err *err) {
    natsMsg *m = NULL;
    naq_status status = NAQ_OK;
    atomic_store(&c->unsaid, true);
    natsStatus s = make_message(&m, subject, NULL, data, len, headers, n);
    if (s == NATS_OK && naq_conn_lost(c) && naq_outbox_take(c, m, &status, err)) return status;
    if (s == NATS_OK) s = natsConnection_PublishMsg(c->nc, m);
    if (s != NATS_OK) status = publish_failed(c, s, subject, err);
    natsMsg_Destroy(m);
    return status;
}

naq_status naq_conn_publish(naq_conn *c, const char *subject, const void *data, size_t len,
                            naq_err *err) {
    if (naq_conn_lost(c)) return naq_conn_send(c, subject, data, len, NULL, 0, err);
    atomic_store(&c->unsaid, true);
    natsStatus s = natsConnection_Publish(c->nc, subject, data != NULL ? data : "", (int)len);
    return s == NATS_OK ? NAQ_OK : publish_failed(c, s, subject, err);
}
