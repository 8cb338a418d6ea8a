/* publish.c -- one publish with its ack, on the caller's thread.
 *
 * A publish whose ack did not come may have been stored, so it is only ever repeated with the same
 * Msg-Id: the stream then stores it once. That carries it through a reconnect and through the
 * seconds a cluster takes for a new leader (4 to 8 measured with three nodes of 2.9.10). Without a
 * Msg-Id it is sent again only when it cannot have been stored. */
#include "nats/publish.h"

#include <limits.h>
#include <nats/nats.h>
#include <time.h>

#include "base/clock.h"
#include "base/patience.h"
#include "nats/mailbox.h"
#include "nats/nstatus.h"
#include "nats/puback.h"
#include "nats/repeat.h"

enum {
    BUDGET_MS = 30000,
    /* How long one attempt waits for its ack. Short at first: after a reconnect the ack of what was
     * sent before never comes. Longer then, so that a slow server is not flooded. */
    ATTEMPT_MS = 1000,
    ATTEMPT_MAX_MS = 4000,
    BACKOFF_MS = 20,
    BACKOFF_MAX_MS = 250,
    /* A server that has just started may take publishes a moment before JetStream's API. */
    NO_JETSTREAM_MS = 1000
};

static void pause_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* One attempt failed in libnats. NAQ_ASK_AGAIN or NAQ_REFUSED, with err filled. */
static naq_verdict judge_failure(naq_conn *c, natsStatus s, const char *subject, size_t len,
                                 naq_err *err) {
    if (s == NATS_NOT_PERMITTED) return NAQ_REFUSED; /* err says what */
    if (s == NATS_MAX_PAYLOAD) {
        naq_fail(err, NAQ_TOO_LARGE,
                 "publish to %s: %zu bytes are more than the server takes (%lld)", subject, len,
                 (long long)naq_conn_max_payload(c));
        return NAQ_REFUSED;
    }
    if (s == NATS_TIMEOUT) {
        naq_fail(err, NAQ_TIMEOUT, "publish to %s: no ack", subject);
        return NAQ_ASK_AGAIN;
    }
    naq_from_nats(err, s, 0, "publish to %s", subject);
    /* Lost and coming back, or so long away that the buffer for what is to be sent is full. */
    bool transient = s == NATS_CONNECTION_DISCONNECTED || s == NATS_INSUFFICIENT_BUFFER ||
                     s == NATS_IO_ERROR || s == NATS_STALE_CONNECTION || s == NATS_NO_SERVER;
    return transient ? NAQ_ASK_AGAIN : NAQ_REFUSED;
}

/* Send m and wait for its ack; the ack of an earlier attempt will do as well. */
static naq_verdict attempt(naq_conn *c, naq_mailbox *box, natsMsg *m, const char *subject,
                           size_t len, int64_t wait_ms, naq_pub_ack *ack, natsStatus *s, bool *sent,
                           naq_err *err) {
    natsMsg *answer = NULL;
    *s = naq_mailbox_ask(box, c, m, 0, wait_ms, &answer, sent, err);
    if (*s == NATS_NO_RESPONDERS) return NAQ_NO_RESPONDERS;
    if (*s != NATS_OK) return judge_failure(c, *s, subject, len, err);
    naq_verdict verdict = naq_puback_read(answer, subject, ack, err);
    natsMsg_Destroy(answer);
    return verdict;
}

/* What the refusal of a repeat for its subject comes to; err is the refusal. */
static naq_verdict judge_taken(naq_conn *c, natsMsg *m, naq_pub_ack *ack, naq_err *err) {
    switch (naq_repeat_met(c, m, &ack->sequence)) {
    case NAQ_OK:
        ack->duplicate = true;
        return NAQ_STORED;
    case NAQ_KEY_NOT_FOUND: /* gone since: there is room */
    case NAQ_TIMEOUT:
    case NAQ_CONNECTION:
        naq_fail(err, NAQ_TIMEOUT, "publish to %s: nobody tells whose message is there",
                 natsMsg_GetSubject(m));
        return NAQ_ASK_AGAIN;
    default:
        return NAQ_REFUSED;
    }
}

static naq_status publish_until(naq_conn *c, naq_mailbox *box, natsMsg *m, bool repeatable,
                                const char *subject, size_t len, int64_t timeout_ms,
                                naq_pub_ack *out, naq_err *err) {
    int64_t begun = naq_mono_ms(), deadline = begun + timeout_ms;
    int64_t wait_ms = ATTEMPT_MS, backoff = BACKOFF_MS;
    bool may_be_ours = false; /* an earlier attempt may have been stored */
    for (;;) {
        int64_t left = deadline - naq_mono_ms();
        naq_pub_ack ack;
        natsStatus s;
        bool sent;
        naq_verdict verdict = attempt(c, box, m, subject, len,
                                      smaller(repeatable ? wait_ms : left, left < 1 ? 1 : left),
                                      &ack, &s, &sent, err);
        if (verdict == NAQ_REFUSED && err->status == NAQ_DUPLICATE && may_be_ours)
            verdict = judge_taken(c, m, &ack, err);
        if (verdict == NAQ_STORED) {
            out->sequence = ack.sequence;
            out->duplicate = ack.duplicate && !may_be_ours;
            return NAQ_OK;
        }
        if (verdict == NAQ_REFUSED) return err->status;
        if (verdict == NAQ_NO_RESPONDERS) {
            naq_fail(err, NAQ_TIMEOUT, "publish to %s: no responders, its stream has no leader",
                     subject);
            naq_err why;
            naq_status there = naq_stream_check(naq_conn_nats_peek(c), subject,
                                                smaller(2000, left < 1 ? 1 : left), &why);
            bool early = there == NAQ_NO_JETSTREAM && naq_mono_ms() - begun < NO_JETSTREAM_MS;
            if (there != NAQ_OK && !early) {
                *err = why;
                return why.status;
            }
        } else if (sent && s != NATS_OK && !repeatable) {
            return naq_wrap(err, "no ack, it may have been stored");
        } else {
            may_be_ours = may_be_ours || sent;
        }
        left = naq_patience_left(deadline);
        if (left <= 0) break;
        if (s == NATS_TIMEOUT) { /* that was pause enough */
            wait_ms = smaller(wait_ms * 2, ATTEMPT_MAX_MS);
        } else {
            pause_ms(smaller(backoff, left));
            backoff = smaller(backoff * 2, BACKOFF_MAX_MS);
        }
    }
    if (naq_conn_lost(c))
        return naq_fail(err, NAQ_CONNECTION, "publish to %s: no connection to %s for %lld ms",
                        subject, naq_conn_servers_peek(c), (long long)timeout_ms);
    return naq_wrap(err, "given up after %lld ms", (long long)timeout_ms);
}

naq_status naq_publish(naq_conn *c, const char *subject, const char *msg_id,
                       const naq_header *headers, size_t n_headers, const void *data, size_t len,
                       int64_t timeout_ms, naq_pub_ack *ack, naq_err *err) {
    /* Checked here too: libnats takes an int. */
    int64_t most = naq_conn_max_payload(c);
    if (len > INT_MAX || (most > 0 && (int64_t)len > most))
        return naq_fail(err, NAQ_TOO_LARGE,
                        "publish to %s: %zu bytes are more than the server takes (%lld)", subject,
                        len, (long long)most);
    naq_mailbox *box = NULL;
    if (naq_mailbox_acquire(&box, c, err) != NAQ_OK) return naq_wrap(err, "publish to %s", subject);
    natsMsg *m = NULL;
    natsStatus s = naq_publish_make(&m, subject, naq_mailbox_address(box, 0), msg_id, data, len);
    for (size_t i = 0; s == NATS_OK && i < n_headers; i++)
        s = natsMsgHeader_Add(m, headers[i].name, headers[i].value);
    naq_status status = s == NATS_OK
                            ? publish_until(c, box, m, msg_id != NULL, subject, len,
                                            timeout_ms > 0 ? timeout_ms : BUDGET_MS, ack, err)
                            : naq_from_nats(err, s, 0, "publish to %s", subject);
    natsMsg_Destroy(m);
    naq_mailbox_release(box, c);
    return status;
}
