/* fetch.c -- a pull request, its messages and its end.
 *
 * One request a fetch: {batch, no_wait, expires, idle_heartbeat}. With no_wait and expires the
 * server (measured on 2.9.10) sends at once what it has and ends the request with a status; when it
 * has nothing it waits for the first message until the request expires. So nothing stays ordered
 * that nobody waits for, but where max_ack_pending holds messages back: then it waits, too.
 *
 * The statuses come to <inbox>.<token>, the messages under their own subjects: a status of an
 * earlier request is known by its token, a late message is as good as any. What a request may go
 * through: a reconnect or a new leader (asked again), silence for longer than two heartbeats (asked
 * again: the server may have lost it), the end of a consumer, which 2.9.10 does not always tell. */
#include "nats/fetch.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/patience.h"
#include "nats/inbox.h"
#include "nats/nstatus.h"
#include "nats/pool.h"
#include "nats/reply.h"
#include "nats/subject.h"

enum {
    LOOK_MS = 100, /* between two looks at the connection */
    SHORT_MS = 50, /* what "now" means to the server */
    HEARTBEAT_FROM_MS = 1000,
    HEARTBEAT_MAX_MS = 5000,
    CHECK_MS = 1000
};

struct naq_fetcher {
    naq_conn *conn;
    natsSubscription *sub;
    char *stream, *consumer;
    char request[640]; /* the subject */
    char inbox[96];    /* "<inbox>.", behind which the token stands */
    uint32_t token;    /* of the latest request */
};

naq_status naq_fetcher_open(naq_fetcher **out, naq_conn *c, const char *stream,
                            const char *consumer, naq_err *err) {
    naq_status status = naq_name_check("stream", stream, strlen(stream), err);
    if (status == NAQ_OK) status = naq_name_check("consumer", consumer, strlen(consumer), err);
    if (status != NAQ_OK) return status;
    naq_fetcher *f = calloc(1, sizeof *f);
    if (f == NULL) return naq_fail(err, NAQ_CONNECTION, "consumer %s: out of memory", consumer);
    f->stream = strdup(stream);
    f->consumer = strdup(consumer);
    (void)snprintf(f->request, sizeof f->request, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream,
                   consumer);
    natsInbox *inbox = NULL;
    natsStatus s =
        f->stream != NULL && f->consumer != NULL ? natsInbox_Create(&inbox) : NATS_NO_MEMORY;
    naq_pool_retain(c);
    f->conn = c;
    if (s == NATS_OK) {
        char wildcard[sizeof f->inbox + 2];
        (void)snprintf(f->inbox, sizeof f->inbox, "%s.", inbox);
        (void)snprintf(wildcard, sizeof wildcard, "%s*", f->inbox);
        status = naq_subscribe(c, wildcard, &f->sub, err);
        natsInbox_Destroy(inbox);
    } else {
        status = naq_from_nats(err, s, 0, "consumer %s", consumer);
    }
    if (status != NAQ_OK) {
        naq_fetcher_close(f, false);
        return status;
    }
    *out = f;
    return NAQ_OK;
}

void naq_fetcher_close(naq_fetcher *f, bool wait) {
    if (f == NULL) return;
    if (naq_pool_ours(f->conn)) {
        if (wait)
            naq_unsubscribe(f->conn, f->sub);
        else
            naq_unsubscribe_later(f->conn, f->sub);
        naq_pool_release(f->conn);
    }
    free(f->stream);
    free(f->consumer);
    free(f);
}

/* One call of naq_fetch(). */
typedef struct fetch {
    naq_fetcher *f;
    naq_msg **out;
    int wanted, got;
    int64_t end_ms;
    int64_t heard_ms;     /* when the server last said anything */
    int64_t heartbeat_ms; /* 0: none were asked for */
    int reconnects;
    uint64_t denials;
    int64_t ask_after_ms;
    bool asked; /* a request is out */
    bool done;  /* the server said that nothing more comes */
    naq_status refused;
    naq_err *err;
} fetch;

static int64_t heartbeat_of(int64_t expires_ms) {
    if (expires_ms < HEARTBEAT_FROM_MS) return 0;
    int64_t beat = expires_ms / 4;
    return beat < HEARTBEAT_MAX_MS ? beat : HEARTBEAT_MAX_MS;
}

static void ask(fetch *t) {
    naq_fetcher *f = t->f;
    int64_t left = t->end_ms - naq_mono_ms();
    /* Its end is to arrive before ours. */
    int64_t expires = left - (left / 10 < LOOK_MS ? left / 10 : LOOK_MS);
    if (expires < SHORT_MS) expires = SHORT_MS;
    t->heartbeat_ms = heartbeat_of(expires);
    char body[160], reply[sizeof f->inbox + 16];
    int n = snprintf(body, sizeof body, "{\"batch\":%d,\"no_wait\":true,\"expires\":%lld",
                     t->wanted - t->got, (long long)expires * 1000000);
    if (t->heartbeat_ms > 0)
        n += snprintf(body + n, sizeof body - (size_t)n, ",\"idle_heartbeat\":%lld",
                      (long long)t->heartbeat_ms * 1000000);
    n += snprintf(body + n, sizeof body - (size_t)n, "}");
    (void)snprintf(reply, sizeof reply, "%s%u", f->inbox, ++f->token);
    t->reconnects = naq_conn_reconnects(f->conn);
    t->heard_ms = naq_mono_ms();
    t->asked = natsConnection_PublishRequest(naq_conn_nats_peek(f->conn), f->request, reply, body,
                                             n) == NATS_OK;
}

/* The token of a status, or 0 of a message. */
static bool is_status(fetch *t, natsMsg *m, uint32_t *token) {
    size_t n = strlen(t->f->inbox);
    const char *subject = natsMsg_GetSubject(m);
    if (strncmp(subject, t->f->inbox, n) != 0) return false;
    *token = (uint32_t)strtoul(subject + n, NULL, 10);
    return true;
}

static void read_status(fetch *t, natsMsg *m) {
    const char *status = naq_msg_header_peek(m, "Status");
    const char *text = naq_msg_header_peek(m, "Description");
    int code = status != NULL ? atoi(status) : 0;
    if (text == NULL) text = "";
    if (code == 100) return; /* a heartbeat */
    if (code == 409 && strstr(text, "Deleted") != NULL) {
        t->refused = naq_fail(t->err, NAQ_KEY_NOT_FOUND, "consumer %s of stream %s was deleted",
                              t->f->consumer, t->f->stream);
    } else if (code == 409 && (strcasestr(text, "leadership") || strcasestr(text, "shutdown"))) {
        t->asked = false; /* again, whoever leads now */
    } else if (code == 400 || (code == 409 && strstr(text, "Exceeded") != NULL)) {
        t->refused = naq_fail(t->err, NAQ_CONFIGURATION, "consumer %s of stream %s: %s",
                              t->f->consumer, t->f->stream, text);
    } else { /* 404 nothing there, 408 expired, 409 for a message too large and the like */
        t->done = true;
    }
}

static void take(fetch *t, natsMsg *m) {
    uint32_t token;
    t->heard_ms = naq_mono_ms();
    if (!is_status(t, m, &token)) {
        t->out[t->got++] = m;
        return;
    }
    if (token == t->f->token && t->asked) read_status(t, m);
    natsMsg_Destroy(m);
}

/* A request may be lost with its connection or its leader. */
static void tend(fetch *t) {
    int64_t now = naq_mono_ms();
    bool lost = t->reconnects != naq_conn_reconnects(t->f->conn);
    bool silent = t->heartbeat_ms > 0 && now - t->heard_ms > 2 * t->heartbeat_ms + LOOK_MS;
    if ((lost || silent) && naq_conn_up(t->f->conn)) t->asked = false;
    if (naq_conn_denied(t->f->conn, t->denials, t->f->request, t->err)) t->refused = NAQ_PERMISSION;
}

/* The time is over without a word: why? */
static naq_status explain_silence(fetch *t, int64_t timeout_ms) {
    naq_fetcher *f = t->f;
    naq_err *err = t->err;
    if (!naq_conn_up(f->conn))
        return naq_fail(err, NAQ_CONNECTION, "consumer %s of stream %s: no connection to %s",
                        f->consumer, f->stream, naq_conn_servers_peek(f->conn));
    char subject[sizeof f->request], why[128];
    naq_buf answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.INFO.%s.%s", f->stream, f->consumer);
    naq_status status = naq_conn_request(f->conn, subject, "", 0, CHECK_MS, &answer, err);
    if (status == NAQ_OK) {
        int js = naq_reply_error((naq_slice){answer.data, answer.len}, why, sizeof why);
        if (js == NAQ_JS_CONSUMER_NOT_FOUND || js == NAQ_JS_STREAM_NOT_FOUND)
            status = naq_fail(err, NAQ_KEY_NOT_FOUND, "there is no consumer %s of stream %s",
                              f->consumer, f->stream);
        else if (js != 0)
            status = naq_from_js(err, js, why, "consumer %s of stream %s", f->consumer, f->stream);
    } else if (status == NAQ_TIMEOUT) {
        status = naq_fail(err, NAQ_TIMEOUT, "consumer %s of stream %s: no answer in %lld ms",
                          f->consumer, f->stream, (long long)timeout_ms);
    } else if (status == NAQ_PERMISSION) {
        status = NAQ_OK; /* may pull but not look: nothing came, that is all there is to say */
    }
    naq_buf_free(&answer);
    return status;
}

/* JetStream is not there; or, since 2.10, the consumer is not, or has no leader just now. */
static void heard_by_nobody(fetch *t, int64_t timeout_ms) {
    naq_status why = explain_silence(t, timeout_ms);
    t->refused = why == NAQ_TIMEOUT ? NAQ_OK : why; /* no leader, which may change in time */
    t->asked = false;
    t->ask_after_ms = naq_mono_ms() + LOOK_MS;
}

naq_status naq_fetch(naq_fetcher *f, int n, int64_t timeout_ms, naq_msg **out, int *got,
                     naq_err *err) {
    *got = 0;
    if (naq_pool_check(f->conn, err) != NAQ_OK) return err->status;
    if (timeout_ms < SHORT_MS + LOOK_MS) timeout_ms = SHORT_MS + LOOK_MS;
    fetch t = {.f = f,
               .out = out,
               .wanted = n,
               .end_ms = naq_mono_ms() + timeout_ms,
               .denials = naq_conn_denials(f->conn),
               .refused = NAQ_OK,
               .err = err};
    natsMsg *m = NULL;
    /* What came too late for an earlier fetch is not left waiting. */
    while (t.got < n && natsSubscription_NextMsg(&m, f->sub, 0) == NATS_OK)
        take(&t, m);
    natsStatus s = NATS_OK;
    while (t.got < n && !t.done && t.refused == NAQ_OK) {
        int64_t left = naq_patience_left(t.end_ms);
        if (left <= 0 || (t.got > 0 && !t.asked && s != NATS_OK)) break;
        if (!t.asked && naq_mono_ms() >= t.ask_after_ms && naq_conn_up(f->conn)) ask(&t);
        s = natsSubscription_NextMsg(&m, f->sub,
                                     naq_patience_slice(left < LOOK_MS ? left : LOOK_MS));
        if (s == NATS_OK) {
            take(&t, m);
        } else if (s == NATS_TIMEOUT) {
            tend(&t);
        } else if (s == NATS_NO_RESPONDERS) {
            heard_by_nobody(&t, timeout_ms);
        } else {
            t.refused =
                naq_from_nats(err, s, 0, "consumer %s of stream %s", f->consumer, f->stream);
        }
    }
    *got = t.got;
    if (t.got > 0 || t.done) return NAQ_OK;
    return t.refused != NAQ_OK ? t.refused : explain_silence(&t, timeout_ms);
}
