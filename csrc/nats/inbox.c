/* inbox.c -- short-lived subscriptions and concurrent requests on ordinary connections. */
#include "nats/inbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/patience.h"
#include "base/thread.h"
#include "nats/nstatus.h"

enum { FLUSH_MS = 2000, LOOK_MS = 100 };

naq_status naq_subscribe(naq_conn *c, const char *subject, natsSubscription **out, naq_err *err) {
    natsStatus s = natsConnection_SubscribeSync(out, naq_conn_nats_peek(c), subject);
    if (s == NATS_OK) s = natsSubscription_SetPendingLimits(*out, -1, -1);
    if (s == NATS_OK) return NAQ_OK;
    naq_from_nats(err, s, 0, "subscribing to %s", subject);
    naq_unsubscribe(c, *out);
    *out = NULL;
    return err->status;
}

typedef struct listener {
    natsOnCompleteCB over;
    void *closure;
} listener;

static void completed(void *arg) {
    listener l = *(listener *)arg;
    free(arg);
    l.over(l.closure);
    naq_thread_ends_here();
}

natsStatus naq_listen(naq_conn *c, const char *subject, const char *queue,
                      natsMsgHandler on_message, natsOnCompleteCB over, void *closure,
                      natsSubscription **out) {
    natsConnection *nc = naq_conn_nats_peek(c);
    listener *l = malloc(sizeof *l);
    if (l == NULL) return NATS_NO_MEMORY;
    *l = (listener){over, closure};
    naq_thread_expected();
    natsStatus s =
        queue == NULL ? natsConnection_Subscribe(out, nc, subject, on_message, closure)
                      : natsConnection_QueueSubscribe(out, nc, subject, queue, on_message, closure);
    /* Refused only when the connection was closed in between. */
    if (s == NATS_OK) s = natsSubscription_SetOnCompleteCB(*out, completed, l);
    if (s == NATS_OK) return s;
    naq_thread_unexpected();
    free(l);
    return s;
}

/* On a lost connection the lock of libnats may be held for as long as connecting takes. */
static bool put_off(naq_conn *c) {
    return naq_conn_lost(c);
}

/* Unsubscribed first: then the reader does not find it any more. It may hold it still for the
 * message at hand; the PONG of a flush comes through the same reader, so after it that is over.
 * Without a PONG the connection is being closed or replaced, and with it the reader. Who has no
 * time for it, or has just waited in vain, leaves the subscription to somebody's later flush. */
void naq_unsubscribe(naq_conn *c, natsSubscription *sub) {
    naq_err ignored;
    if (sub == NULL) return;
    if (put_off(c) || naq_conn_mute(c) || naq_patience_over()) {
        naq_unsubscribe_later(c, sub);
        return;
    }
    naq_grave *old = naq_graves_take(c);
    if (natsSubscription_Unsubscribe(sub) == NATS_OK && !naq_conn_lost(c))
        (void)naq_conn_flush(c, FLUSH_MS, &ignored);
    natsSubscription_Destroy(sub);
    naq_graves_free_all(old);
}

void naq_unsubscribe_later(naq_conn *c, natsSubscription *sub) {
    if (sub == NULL) return;
    naq_grave *grave = malloc(sizeof *grave);
    bool now = grave == NULL || !put_off(c);
    if (now) (void)natsSubscription_Unsubscribe(sub);
    if (grave == NULL) return; /* out of memory: a leak is better than a crash of the reader */
    grave->sub = sub;
    grave->ended = now;
    naq_conn_graves_put(c, grave);
    if (!now && !put_off(c)) naq_graves_settle(c); /* it came back in between */
}

static void end_all(naq_grave *first) {
    for (naq_grave *grave = first; grave != NULL; grave = grave->next) {
        if (!grave->ended) (void)natsSubscription_Unsubscribe(grave->sub);
        grave->ended = true;
    }
}

naq_grave *naq_graves_take(naq_conn *c) {
    naq_grave *all = naq_conn_graves_take(c);
    end_all(all);
    return all;
}

void naq_graves_settle(naq_conn *c) {
    naq_grave *all = naq_graves_take(c);
    while (all != NULL) {
        naq_grave *grave = all;
        all = grave->next;
        naq_conn_graves_put(c, grave);
    }
}

void naq_graves_free_all(naq_grave *first) {
    while (first != NULL) {
        naq_grave *grave = first;
        first = grave->next;
        natsSubscription_Destroy(grave->sub);
        free(grave);
    }
}

static natsStatus open_inbox(natsConnection *nc, natsSubscription **sub, char *prefix, size_t size,
                             char *wildcard, size_t wildcard_size) {
    natsInbox *inbox = NULL;
    natsStatus s = natsInbox_Create(&inbox);
    if (s != NATS_OK) return s;
    (void)snprintf(prefix, size, "%s.", inbox);
    (void)snprintf(wildcard, wildcard_size, "%s.*", inbox);
    natsInbox_Destroy(inbox);
    s = natsConnection_SubscribeSync(sub, nc, wildcard);
    if (s == NATS_OK) s = natsSubscription_SetPendingLimits(*sub, -1, -1);
    return s;
}

/* What was asked on a connection that is lost then is not answered any more: to be told at once,
 * not when the time is over. What was asked while there was none is sent after the next reconnect,
 * and answered. */
typedef struct watch {
    int reconnects;
    bool lost;
} watch;

static watch watch_begin(naq_conn *c) {
    watch w = {.reconnects = naq_conn_reconnects(c), .lost = naq_conn_lost(c)};
    return w;
}

static bool broke(naq_conn *c, const watch *w) {
    int since = naq_conn_reconnects(c) - w->reconnects - (w->lost ? 1 : 0);
    return since > 0 || (since == 0 && naq_conn_lost(c));
}

static naq_status was_lost(naq_conn *c, const char *subject, naq_err *err) {
    return naq_fail(err, NAQ_CONNECTION, "%s: the connection was lost before %s was answered",
                    naq_conn_servers_peek(c), subject);
}

static naq_status first_missing(naq_conn *c, const naq_ask *asks, size_t n, uint64_t mark,
                                naq_err *err, bool *denied) {
    const naq_ask *missing = NULL;
    *denied = false;
    for (size_t i = 0; i < n; i++) {
        if (asks[i].answer != NULL) continue;
        if (missing == NULL) missing = &asks[i];
        if (naq_conn_denied(c, mark, asks[i].subject, err)) {
            *denied = true;
            return err->status;
        }
    }
    return naq_fail(err, NAQ_TIMEOUT, "%s: no answer to %s", naq_conn_servers_peek(c),
                    missing != NULL ? missing->subject : "a request");
}

naq_status naq_ask_all(naq_conn *c, naq_ask *asks, size_t n, int64_t timeout_ms, naq_err *err) {
    natsConnection *nc = naq_conn_nats_peek(c);
    natsSubscription *sub = NULL;
    char prefix[96], wildcard[96], reply[128];
    naq_status status = NAQ_OK;
    uint64_t mark = naq_conn_denials(c);
    int64_t end = naq_mono_ms() + timeout_ms;
    watch w = watch_begin(c);
    natsStatus s = open_inbox(nc, &sub, prefix, sizeof prefix, wildcard, sizeof wildcard);
    for (size_t i = 0; s == NATS_OK && i < n; i++) {
        (void)snprintf(reply, sizeof reply, "%s%zu", prefix, i);
        s = natsConnection_PublishRequest(
            nc, asks[i].subject, reply, asks[i].data != NULL ? asks[i].data : "", (int)asks[i].len);
    }
    size_t left = n;
    bool denied = false;
    while (s == NATS_OK && left > 0 && !denied) {
        int64_t rest = naq_patience_left(end);
        natsMsg *m = NULL;
        if (rest <= 0) {
            s = NATS_TIMEOUT;
            break;
        }
        /* Answers NATS_NO_RESPONDERS when the server says that nobody listens (503). */
        s = natsSubscription_NextMsg(&m, sub, naq_patience_slice(rest < LOOK_MS ? rest : LOOK_MS));
        if (s == NATS_TIMEOUT) {
            s = broke(c, &w) ? NATS_CONNECTION_DISCONNECTED : NATS_OK;
            (void)first_missing(c, asks, n, mark, err, &denied);
            continue;
        }
        if (s != NATS_OK) break;
        size_t i = strtoul(natsMsg_GetSubject(m) + strlen(prefix), NULL, 10);
        if (i < n && asks[i].answer == NULL) {
            asks[i].answer = m;
            left--;
        } else {
            natsMsg_Destroy(m);
        }
    }
    if (s == NATS_NO_RESPONDERS)
        status = naq_fail(err, NAQ_NO_JETSTREAM,
                          "%s: JetStream is not enabled there or for this account (nobody answers "
                          "%s)",
                          naq_conn_servers_peek(c), n > 0 ? asks[0].subject : "it");
    else if (s == NATS_TIMEOUT || denied)
        status = first_missing(c, asks, n, mark, err, &denied);
    else if (s == NATS_CONNECTION_DISCONNECTED)
        status = was_lost(c, n > 0 ? asks[0].subject : "it", err);
    else if (s != NATS_OK)
        status = naq_from_nats(err, s, 0, "asking %s", n > 0 ? asks[0].subject : "nobody");
    naq_unsubscribe(c, sub);
    return status;
}

void naq_asks_free(naq_ask *asks, size_t n) {
    for (size_t i = 0; i < n; i++) {
        natsMsg_Destroy(asks[i].answer);
        asks[i].answer = NULL;
    }
}

naq_slice naq_ask_answer(const naq_ask *ask) {
    if (ask->answer == NULL) return (naq_slice){0};
    return (naq_slice){natsMsg_GetData(ask->answer), (size_t)natsMsg_GetDataLength(ask->answer)};
}

naq_status naq_ask_many(naq_conn *c, const char *subject, const void *data, size_t len,
                        int64_t timeout_ms,
                        bool (*collect)(void *ctx, const char *data, size_t len), void *ctx,
                        naq_err *err) {
    natsConnection *nc = naq_conn_nats_peek(c);
    natsSubscription *sub = NULL;
    char prefix[96], wildcard[96], reply[128];
    uint64_t mark = naq_conn_denials(c);
    int64_t end = naq_mono_ms() + timeout_ms;
    watch w = watch_begin(c);
    natsStatus s = open_inbox(nc, &sub, prefix, sizeof prefix, wildcard, sizeof wildcard);
    if (s == NATS_OK) {
        (void)snprintf(reply, sizeof reply, "%sm", prefix);
        s = natsConnection_PublishRequest(nc, subject, reply, data != NULL ? data : "", (int)len);
    }
    naq_status status = NAQ_OK;
    for (bool more = true; s == NATS_OK && more;) {
        int64_t rest = naq_patience_left(end);
        int64_t slice = naq_patience_slice(rest < LOOK_MS ? rest : LOOK_MS);
        natsMsg *m = NULL;
        s = rest > 0 ? natsSubscription_NextMsg(&m, sub, slice) : NATS_TIMEOUT;
        if (s == NATS_TIMEOUT && rest > slice && !naq_conn_denied(c, mark, subject, err)) {
            s = broke(c, &w) ? NATS_CONNECTION_DISCONNECTED : NATS_OK;
            continue;
        }
        if (s != NATS_OK) break;
        more = collect(ctx, natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m));
        natsMsg_Destroy(m);
    }
    if (s == NATS_TIMEOUT)
        status = naq_conn_denied(c, mark, subject, err) ? err->status : NAQ_OK;
    else if (s == NATS_CONNECTION_DISCONNECTED)
        status = was_lost(c, subject, err);
    else if (s != NATS_OK && s != NATS_NO_RESPONDERS) /* nobody there: no answers */
        status = naq_from_nats(err, s, 0, "asking %s", subject);
    naq_unsubscribe(c, sub);
    return status;
}
