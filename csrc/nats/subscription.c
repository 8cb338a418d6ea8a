/* subscription.c -- libnats' subscriptions, bounded and safe to end.
 *
 * The plain form is a synchronous subscription: libnats' reader queues, the owner takes, no thread
 * in between, and libnats keeps the bounds. The other form has a libnats thread that does nothing
 * but move messages into the dispatcher, where the bounds are ours. That thread may come once more
 * after the end, so the struct has two holders: its owner, and libnats until "complete". */
#include "nats/subscription.h"

#include <limits.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/patience.h"
#include "nats/events.h"
#include "nats/inbox.h"
#include "nats/nstatus.h"
#include "nats/pool.h"

enum {
    LOOK_MS = 250, /* how often a waiting owner looks whether the server has refused it meanwhile */
    FLUSH_MS = 2000,
    TOLD_MS = 1000 /* until libnats tells of a refusal that it has noted; machines may be busy */
};

struct naq_sub {
    pthread_mutex_t
        mu;         /* keeps conn while libnats' thread tells of drops; events are added under it */
    naq_conn *conn; /* NULL: closed */
    natsSubscription *sub;
    char *subject;
    naq_conn_bounded bounded; /* of the plain form */
    uint64_t denials;
    naq_dispatcher *to; /* NULL: the plain form */
    naq_lane lane;      /* guarded by the dispatcher's lock */
    naq_sub_stats last; /* of the plain form, before libnats forgot them */
    atomic_int holders;
};

static void let_go(naq_sub *s) {
    if (atomic_fetch_sub(&s->holders, 1) > 1) return;
    naq_dispatcher_release(s->to);
    pthread_mutex_destroy(&s->mu);
    free(s->subject);
    free(s);
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *arg) {
    (void)nc;
    (void)sub;
    naq_sub *s = arg;
    if (naq_dispatcher_put(s->to, &s->lane, m) != NAQ_PUT_DROPPED_FIRST) return;
    pthread_mutex_lock(&s->mu);
    if (s->conn != NULL)
        naq_events_add(naq_conn_events_peek(s->conn), NAQ_EVENT_SLOW_CONSUMER, NAQ_WARNING,
                       "the subscription to %s is full: messages are being dropped", s->subject);
    pthread_mutex_unlock(&s->mu);
}

static void on_complete(void *arg) {
    let_go(arg);
}

static natsStatus subscribe(naq_sub *s, const naq_sub_options *o) {
    natsConnection *nc = naq_conn_nats_peek(s->conn);
    natsStatus status;
    if (s->to == NULL && o->queue == NULL) {
        status = natsConnection_SubscribeSync(&s->sub, nc, s->subject);
    } else if (s->to == NULL) {
        status = natsConnection_QueueSubscribeSync(&s->sub, nc, s->subject, o->queue);
    } else {
        atomic_fetch_add(&s->holders, 1);
        status = naq_listen(s->conn, s->subject, o->queue, on_message, on_complete, s, &s->sub);
        /* Subscribed all the same: a struct is lost then, since nobody can tell when libnats'
         * thread has ended. */
        if (status != NATS_OK && s->sub == NULL) atomic_fetch_sub(&s->holders, 1);
        /* The bounds are the lane's. */
        if (status == NATS_OK) return natsSubscription_SetPendingLimits(s->sub, -1, -1);
        return status;
    }
    if (status != NATS_OK) return status;
    s->bounded.sub = s->sub;
    s->bounded.subject = s->subject;
    naq_conn_bounded_add(s->conn, &s->bounded);
    return natsSubscription_SetPendingLimits(
        s->sub, o->max_messages != 0 ? o->max_messages : NAQ_SUB_MESSAGES,
        o->max_bytes != 0 ? o->max_bytes : NAQ_SUB_BYTES);
}

/* Told once: with other permissions libnats' next reconnect may subscribe again. */
static bool refused(naq_sub *s, int64_t wait_ms, naq_err *err) {
    if (!naq_conn_denied_sub(s->conn, s->denials, s->subject, wait_ms, err)) return false;
    s->denials = naq_conn_denials(s->conn);
    return true;
}

/* A refusal comes before the PONG, and libnats notes it before it tells us, a moment later. The
 * note alone may be of an earlier try. */
static bool refused_now(naq_sub *s, naq_err *err) {
    char words[300];
    const char *text = NULL;
    (void)natsConnection_GetLastError(naq_conn_nats_peek(s->conn), &text);
    (void)snprintf(words, sizeof words, "Subscription to \"%s", s->subject);
    bool noted = text != NULL && strstr(text, words) != NULL;
    return refused(s, noted ? TOLD_MS : 0, err);
}

naq_status naq_sub_open(naq_sub **out, naq_conn *c, const char *subject, const naq_sub_options *o,
                        naq_err *err) {
    naq_sub *s = calloc(1, sizeof *s);
    char *copy = strdup(subject);
    if (s == NULL || copy == NULL) {
        free(s);
        free(copy);
        return naq_fail(err, NAQ_CONNECTION, "subscribing to %s: out of memory", subject);
    }
    naq_pool_retain(c);
    s->conn = c;
    s->subject = copy;
    s->denials = naq_conn_denials(c);
    pthread_mutex_init(&s->mu, NULL);
    atomic_init(&s->holders, 1);
    if (o->to != NULL) s->to = naq_dispatcher_retain(o->to);
    s->lane = (naq_lane){
        .id = o->id,
        .max_messages = o->max_messages != 0 ? o->max_messages : NAQ_SUB_MESSAGES,
        .max_bytes = o->max_bytes != 0 ? o->max_bytes : NAQ_SUB_BYTES,
    };
    natsStatus status = subscribe(s, o);
    if (status == NATS_OK && o->limit > 0)
        status = natsSubscription_AutoUnsubscribe(s->sub, o->limit);
    if (status != NATS_OK) {
        naq_from_nats(err, status, 0, "subscribing to %s", subject);
        naq_sub_close(s, false);
        return err->status;
    }
    naq_err ignored;
    if (naq_conn_up(c)) {
        naq_grave *old = naq_graves_take(c);
        bool heard = naq_conn_flush(c, FLUSH_MS, &ignored) == NAQ_OK;
        naq_graves_free_all(old);
        if (heard && refused_now(s, err)) {
            naq_sub_close(s, false);
            return err->status;
        }
    }
    *out = s;
    return NAQ_OK;
}

void naq_sub_close(naq_sub *s, bool wait) {
    /* After a fork there is nothing to end: libnats' threads are the parent's, and one of them may
     * have held a lock. */
    if (s == NULL || !naq_pool_ours(s->conn)) return;
    if (s->to != NULL) naq_lane_close(s->to, &s->lane);
    pthread_mutex_lock(&s->mu);
    naq_conn *conn = s->conn;
    s->conn = NULL;
    pthread_mutex_unlock(&s->mu);
    naq_conn_bounded_remove(conn, &s->bounded);
    if (wait)
        naq_unsubscribe(conn, s->sub);
    else
        naq_unsubscribe_later(conn, s->sub);
    naq_pool_release(conn);
    let_go(s);
}

naq_status naq_sub_check(const naq_sub *s, naq_err *err) {
    return naq_pool_check(s->conn, err);
}

/* NextMsg() ended without a message, and not because of the time. */
static naq_status ended(naq_sub *s, natsStatus status, naq_err *err) {
    if (status == NATS_CONNECTION_CLOSED)
        return naq_fail(err, NAQ_CLOSED, "subscription to %s: its connection is closed",
                        s->subject);
    if (status == NATS_NO_RESPONDERS)
        return naq_fail(err, NAQ_CONNECTION, "nobody answers a request whose answers go to %s",
                        s->subject);
    return naq_fail(err, NAQ_CLOSED, "subscription to %s: it has ended", s->subject);
}

naq_status naq_sub_next(naq_sub *s, int64_t timeout_ms, naq_msg **m, naq_err *err) {
    int64_t end = naq_mono_ms() + timeout_ms;
    for (;;) {
        int64_t left = naq_patience_left(timeout_ms < 0 ? INT64_MAX : end);
        if (left < 0) left = 0;
        int64_t slice = naq_patience_slice(left < LOOK_MS ? left : LOOK_MS);
        natsStatus status = natsSubscription_NextMsg(m, s->sub, slice);
        if (status == NATS_OK) return NAQ_OK;
        if (status == NATS_SLOW_CONSUMER) continue; /* told once; what waits comes next */
        if (status != NATS_TIMEOUT) return ended(s, status, err);
        if (!natsSubscription_IsValid(s->sub)) return ended(s, NATS_INVALID_SUBSCRIPTION, err);
        if (refused(s, 0, err)) return err->status;
        if (left <= slice)
            return naq_fail(err, NAQ_TIMEOUT, "subscription to %s: no message in %lld ms",
                            s->subject, (long long)timeout_ms);
    }
}

/* What has to reach the server waits here for a lost connection, not for libnats' lock. */
static naq_status await_server(naq_sub *s, int64_t ms, naq_err *err) {
    if (ms > 0 && naq_conn_await(s->conn, ms) > 0) return NAQ_OK;
    if (!naq_conn_lost(s->conn)) return NAQ_OK;
    return naq_fail(err, NAQ_CONNECTION, "subscription to %s: the connection to %s is lost",
                    s->subject, naq_conn_servers_peek(s->conn));
}

naq_status naq_sub_limit(naq_sub *s, int n, naq_err *err) {
    if (await_server(s, FLUSH_MS, err) != NAQ_OK) return err->status;
    natsStatus status = natsSubscription_AutoUnsubscribe(s->sub, n);
    if (status == NATS_OK || !natsSubscription_IsValid(s->sub)) return NAQ_OK; /* ended before */
    return naq_from_nats(err, status, 0, "subscription to %s", s->subject);
}

naq_status naq_sub_drain(naq_sub *s, int64_t timeout_ms, naq_err *err) {
    if (await_server(s, timeout_ms < 0 ? FLUSH_MS : timeout_ms, err) != NAQ_OK) return err->status;
    natsStatus status = natsSubscription_Drain(s->sub);
    if (status == NATS_OK || !natsSubscription_IsValid(s->sub)) return NAQ_OK;
    return naq_from_nats(err, status, 0, "draining the subscription to %s", s->subject);
}

void naq_sub_look(naq_sub *s, naq_sub_stats *out) {
    if (s->to != NULL) {
        naq_lane now = naq_lane_look(s->to, &s->lane);
        *out = (naq_sub_stats){.delivered = (int64_t)now.delivered,
                               .dropped = (int64_t)now.dropped,
                               .messages = now.messages,
                               .bytes = now.bytes,
                               .active = natsSubscription_IsValid(s->sub)};
        return;
    }
    int messages = 0, bytes = 0;
    int64_t delivered = 0, dropped = 0;
    bool active = natsSubscription_GetStats(s->sub, &messages, &bytes, NULL, NULL, &delivered,
                                            &dropped) == NATS_OK;
    if (active)
        s->last = (naq_sub_stats){delivered, dropped, messages, bytes, true};
    else
        s->last.messages = s->last.bytes = 0, s->last.active = false;
    *out = s->last;
}
