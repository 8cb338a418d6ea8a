/* kvwatch.c -- the ordered consumer behind a watch. The caller's thread does everything but taking
 * messages off the socket.
 *
 *   first ──start──> INITIAL ──as many as were pending──> CURRENT
 *                      │  ▲                                 │  ▲
 *                      └──┴── gap, silence, reconnect: a ───┴──┘
 *                             consumer from seen + 1
 *
 * Each consumer has an inbox and a subscription of its own, so nothing of an earlier one is ever
 * seen. (A wildcard inbox will not do: the server delivers only where somebody subscribes to the
 * very subject.) */
#include "nats/kvwatch.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/patience.h"
#include "nats/delivery.h"
#include "nats/inbox.h"
#include "nats/kv.h"
#include "nats/kvask.h"
#include "nats/nstatus.h"
#include "nats/pool.h"
#include "nats/reply.h"
#include "nats/stream.h"

enum {
    SLICE_MS = 250,
    FLUSH_MS = 2000,
    HEARTBEAT_MS = 3000,
    CLUSTER_HEARTBEAT_MS = 5000,
    SILENCE_MS = 1000,  /* beyond two heartbeats */
    LEAST_ASK_MS = 500, /* a new consumer takes a round trip, however short the caller's time */
    MOST_ASK_MS = 5000,
    FIRST_PAUSE_MS = 20,
    LAST_PAUSE_MS = 500,
    /* The server stops at 32 MB that were not taken. Heartbeats still come then: past these limits
     * libnats drops, which is a gap. */
    BUFFER_MESSAGES = 1 << 19,
    BUFFER_BYTES = 64 << 20
};

struct naq_kv_watch {
    naq_conn *c;
    char bucket[NAQ_KV_BUCKET_MAX + 1];
    char filter[NAQ_KV_KEY_MAX + 1];
    naq_kv_watch_options options;
    naq_conn_listener listener;
    pthread_mutex_t mu; /* guards sub against naq_kv_watch_end() and reconnected() */
    natsSubscription *sub;
    atomic_bool ended;
    atomic_bool interrupted; /* sub was ended by reconnected() */
    size_t skip;             /* bytes of "$KV.<bucket>." */
    natsMsg *held;           /* the last event's */

    bool live;                        /* there is a consumer that delivers, as far as known */
    char consumer[96];                /* its name */
    char made[40];                    /* when the bucket was made */
    uint64_t consumer_sequence, seen; /* the last delivered; the last in the stream */
    bool initial;
    int64_t expected, received; /* while initial */
    bool tell_reset, tell_up_to_date;
    int reconnects;
    int unanswered; /* consumers that were asked for */
    int64_t heard_ms, pause_ms;
    int64_t heartbeat_ms; /* of the present consumer */
};

static naq_status ask(naq_kv_watch *w, const char *api, const naq_buf *request, int64_t ms,
                      naq_buf *answer, naq_err *err) {
    char subject[NAQ_KV_BUCKET_MAX + 64], text[256];
    (void)snprintf(subject, sizeof subject, "$JS.API.%s.KV_%s", api, w->bucket);
    naq_status status = naq_conn_request(w->c, subject, request != NULL ? request->data : "",
                                         request != NULL ? request->len : 0, ms, answer, err);
    if (status != NAQ_OK) return naq_wrap(err, "watching bucket %s", w->bucket);
    int js = naq_reply_error((naq_slice){answer->data, answer->len}, text, sizeof text);
    return js == 0 ? NAQ_OK : naq_from_js(err, js, text, "watching bucket %s", w->bucket);
}

/* A bucket of another age, or one that ends before what was seen of it, has nothing to do with what
 * was told so far. */
static naq_status look_at_bucket(naq_kv_watch *w, int64_t ms, naq_err *err) {
    naq_buf answer = {0};
    char made[sizeof w->made];
    naq_status status = ask(w, "STREAM.INFO", NULL, ms, &answer, err);
    if (status == NAQ_OK) {
        naq_slice info = {answer.data, answer.len};
        uint64_t last = (uint64_t)naq_reply_int(naq_reply_member(info, "state"), "last_seq", 0);
        naq_reply_text(info, "created", made, sizeof made);
        bool first = w->made[0] == '\0';
        if (!first && (strcmp(made, w->made) != 0 || last < w->seen)) {
            w->tell_reset = true;
            w->initial = true;
            w->seen = 0;
        }
        if (first && w->options.updates_only) {
            w->seen = last;
            w->initial = false;
        }
        memcpy(w->made, made, sizeof made);
    }
    naq_buf_free(&answer);
    return status;
}

/* On a cluster the consumer may stand on another server than the one connected to, and go with it:
 * only the heartbeats tell. Else it goes with the connection. */
static int64_t heartbeat_ms(const naq_kv_watch *w) {
    int64_t wanted = w->options.heartbeat_ms > 0 ? w->options.heartbeat_ms : HEARTBEAT_MS;
    bool sooner = wanted > CLUSTER_HEARTBEAT_MS && naq_conn_clustered(w->c);
    return sooner ? CLUSTER_HEARTBEAT_MS : wanted;
}

/* How long a wait may last before somebody looks whether all is well. */
static int64_t slice_ms(const naq_kv_watch *w) {
    int64_t wanted = w->options.slice_ms > 0 ? w->options.slice_ms : SLICE_MS;
    return wanted < w->heartbeat_ms ? wanted : w->heartbeat_ms;
}

static void write_request(const naq_kv_watch *w, const char *inbox, naq_buf *out) {
    naq_buf_printf(out, "{\"stream_name\":\"KV_%s\",\"config\":{\"deliver_subject\":\"%s\"",
                   w->bucket, inbox);
    naq_buf_printf(out, ",\"filter_subject\":\"$KV.%s.%s\"", w->bucket, w->filter);
    if (w->initial && !w->options.history)
        naq_buf_puts(out, ",\"deliver_policy\":\"last_per_subject\"");
    else
        naq_buf_printf(out, ",\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":%llu",
                       (unsigned long long)w->seen + 1);
    if (w->options.headers_only) naq_buf_puts(out, ",\"headers_only\":true");
    naq_buf_printf(out,
                   ",\"ack_policy\":\"none\",\"replay_policy\":\"instant\",\"max_deliver\":-1,"
                   "\"mem_storage\":true,\"num_replicas\":1,\"flow_control\":true,"
                   "\"idle_heartbeat\":%lld000000}}",
                   (long long)w->heartbeat_ms);
}

static void remove_consumer(naq_kv_watch *w) {
    char subject[256];
    naq_err ignored;
    if (w->consumer[0] == '\0') return;
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.KV_%s.%s", w->bucket,
                   w->consumer);
    (void)naq_conn_publish(w->c, subject, "", 0, &ignored); /* it goes by itself in 5 s */
    w->consumer[0] = '\0';
}

static natsSubscription *replace(naq_kv_watch *w, natsSubscription *sub) {
    pthread_mutex_lock(&w->mu);
    natsSubscription *old = w->sub;
    w->sub = sub;
    pthread_mutex_unlock(&w->mu);
    return old;
}

/* On libnats' thread. What was waited for on the old connection is waited for in vain, and whoever
 * waits need not look for that now and then. */
static void reconnected(void *ctx) {
    naq_kv_watch *w = ctx;
    if (naq_conn_lost(w->c)) return;
    pthread_mutex_lock(&w->mu);
    if (w->sub != NULL && !atomic_load(&w->ended) && !atomic_exchange(&w->interrupted, true))
        (void)natsSubscription_Unsubscribe(w->sub);
    pthread_mutex_unlock(&w->mu);
}

/* Ends the wait for the next message at once, and for good. The reader may still hold it, and is
 * waited for; see inbox.c. */
static void end_subscription(naq_kv_watch *w) {
    naq_err ignored;
    natsSubscription *old = replace(w, NULL);
    if (atomic_exchange(&w->interrupted, false) && !naq_conn_lost(w->c) && !naq_conn_mute(w->c))
        (void)naq_conn_flush(w->c, FLUSH_MS, &ignored);
    naq_unsubscribe(w->c, old);
}

/* A new subscription in place of the old one. */
static naq_status subscribe(naq_kv_watch *w, char *inbox, size_t size, naq_err *err) {
    natsInbox *fresh = NULL;
    natsSubscription *sub = NULL;
    end_subscription(w);
    natsStatus s = natsInbox_Create(&fresh);
    if (s != NATS_OK) return naq_from_nats(err, s, 0, "watching bucket %s", w->bucket);
    (void)snprintf(inbox, size, "%s", fresh);
    natsInbox_Destroy(fresh);
    naq_status status = naq_subscribe(w->c, inbox, &sub, err);
    if (status != NAQ_OK) return status;
    (void)replace(w, sub);
    s = natsSubscription_SetPendingLimits(w->sub, BUFFER_MESSAGES, BUFFER_BYTES);
    return s == NATS_OK ? NAQ_OK : naq_from_nats(err, s, 0, "watching bucket %s", w->bucket);
}

/* One that is not answered has an inbox that is not listened to any more. */
static naq_status ask_for_consumer(naq_kv_watch *w, int64_t ms, naq_buf *answer, naq_err *err) {
    char inbox[96];
    naq_buf request = {0};
    naq_status status = subscribe(w, inbox, sizeof inbox, err);
    if (status == NAQ_OK) {
        write_request(w, inbox, &request);
        status = ask(w, "CONSUMER.CREATE", &request, ms, answer, err);
        w->unanswered = status == NAQ_TIMEOUT ? w->unanswered + 1 : 0;
    }
    naq_buf_free(&request);
    return status;
}

static naq_status create_consumer(naq_kv_watch *w, int64_t ms, naq_err *err) {
    naq_buf answer = {0};
    int64_t end = naq_mono_ms() + ms, left = ms;
    naq_status status;
    do {
        bool clustered = naq_conn_clustered(w->c);
        int64_t within = naq_consumer_patience(clustered, w->unanswered, left);
        status = ask_for_consumer(w, within, &answer, err);
        left = naq_patience_left(end);
    } while (status == NAQ_TIMEOUT && left > 0 && !atomic_load(&w->ended));
    if (status == NAQ_OK) {
        naq_slice a = {answer.data, answer.len};
        naq_reply_text(a, "name", w->consumer, sizeof w->consumer);
        w->expected = naq_reply_int(a, "num_pending", 0);
    }
    naq_buf_free(&answer);
    return status;
}

/* A new consumer behind what was seen. */
static naq_status start(naq_kv_watch *w, int64_t ms, naq_err *err) {
    remove_consumer(w);
    w->heartbeat_ms = heartbeat_ms(w);
    w->reconnects = naq_conn_reconnects(w->c);
    naq_status status = look_at_bucket(w, ms, err);
    if (status == NAQ_OK) status = create_consumer(w, ms, err);
    if (status != NAQ_OK) return status;
    w->consumer_sequence = 0;
    w->received = 0;
    if (w->initial && w->expected == 0) {
        w->initial = false;
        w->tell_up_to_date = true;
    }
    w->live = true;
    w->heard_ms = naq_mono_ms();
    w->pause_ms = FIRST_PAUSE_MS;
    return NAQ_OK;
}

static bool passing(const naq_kv_watch *w, naq_status status) {
    return (status == NAQ_TIMEOUT || status == NAQ_CONNECTION || status == NAQ_NO_JETSTREAM) &&
           !naq_conn_dead(w->c);
}

/* The same from within next(): what passes by itself is waited for, as long as there is time. */
static naq_status start_again(naq_kv_watch *w, int64_t rest, naq_err *err) {
    int64_t ms = rest < LEAST_ASK_MS ? LEAST_ASK_MS : rest;
    w->live = false;
    if (!naq_conn_up(w->c) && !naq_conn_dead(w->c)) {
        (void)naq_fail(err, NAQ_CONNECTION, "watching bucket %s: not connected", w->bucket);
    } else {
        naq_status status = start(w, ms < MOST_ASK_MS ? ms : MOST_ASK_MS, err);
        if (status == NAQ_OK || !passing(w, status)) return status;
    }
    int64_t pause = w->pause_ms < rest ? w->pause_ms : rest;
    struct timespec t = {.tv_sec = pause / 1000, .tv_nsec = pause % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
    w->pause_ms = w->pause_ms * 2 > LAST_PAUSE_MS ? LAST_PAUSE_MS : w->pause_ms * 2;
    return NAQ_OK;
}

/* Heartbeats and flow control. A heartbeat says how far the consumer is: behind a gap at the end
 * nothing else would show it. */
static void take_status(naq_kv_watch *w, natsMsg *m) {
    const char *value = NULL, *reply = natsMsg_GetReply(m);
    naq_err ignored;
    if (natsMsgHeader_Get(m, "Status", &value) != NATS_OK) return;
    w->heard_ms = naq_mono_ms();
    if (strcmp(value, "100") != 0) {
        w->live = false; /* 409: the consumer was deleted, or its server shuts down */
    } else if (reply != NULL && reply[0] != '\0') {
        (void)naq_conn_publish(w->c, reply, "", 0, &ignored); /* this much was taken */
    } else {
        if (natsMsgHeader_Get(m, "Nats-Consumer-Stalled", &value) == NATS_OK)
            (void)naq_conn_publish(w->c, value, "", 0, &ignored);
        if (natsMsgHeader_Get(m, "Nats-Last-Consumer", &value) == NATS_OK &&
            strtoull(value, NULL, 10) != w->consumer_sequence)
            w->live = false;
    }
}

static naq_kv_operation operation_of(natsMsg *m) {
    const char *value = NULL;
    if (natsMsgHeader_Get(m, "KV-Operation", &value) == NATS_OK)
        return strcmp(value, "PURGE") == 0 ? NAQ_KV_PURGE : NAQ_KV_DELETE;
    /* Left by newer servers where a key expired or was removed. */
    if (natsMsgHeader_Get(m, "Nats-Marker-Reason", &value) == NATS_OK)
        return strcmp(value, "Remove") == 0 ? NAQ_KV_DELETE : NAQ_KV_PURGE;
    return NAQ_KV_PUT;
}

/* True when m is an event; it then belongs to the watch. */
static bool take(naq_kv_watch *w, natsMsg *m, naq_kv_event *event) {
    naq_delivery d;
    if (!naq_delivery_read(natsMsg_GetReply(m), &d)) {
        take_status(w, m);
        return false;
    }
    w->heard_ms = naq_mono_ms();
    if (d.consumer_sequence != w->consumer_sequence + 1) {
        w->live = false; /* something was dropped in between */
        return false;
    }
    w->consumer_sequence = d.consumer_sequence;
    w->received++;
    if (w->initial && (d.left == 0 || w->received >= w->expected)) {
        w->initial = false;
        w->tell_up_to_date = true;
    }
    if (d.sequence <= w->seen) return false; /* an earlier consumer brought it */
    w->seen = d.sequence;
    naq_kv_operation operation = operation_of(m);
    if (operation != NAQ_KV_PUT && w->options.ignore_deletes) return false;
    *event = (naq_kv_event){.operation = operation,
                            .key = natsMsg_GetSubject(m) + w->skip,
                            .value = natsMsg_GetData(m),
                            .len = (size_t)natsMsg_GetDataLength(m),
                            .revision = d.sequence,
                            .created_us = d.time_us};
    w->held = m;
    return true;
}

static bool tell(bool *flag, naq_kv_operation operation, naq_kv_event *event) {
    if (!*flag) return false;
    *flag = false;
    *event = (naq_kv_event){.operation = operation, .key = ""};
    return true;
}

/* Whether the consumer has to be made anew before anything can be waited for. */
static bool must_start(const naq_kv_watch *w) {
    return !w->live || naq_conn_reconnects(w->c) != w->reconnects;
}

/* Nothing came in a slice. The queue was empty then, so nothing has come since what was heard last,
 * however long ago the caller asked before. */
static void nothing_came(naq_kv_watch *w) {
    if (naq_mono_ms() - w->heard_ms > 2 * w->heartbeat_ms + SILENCE_MS) w->live = false;
}

naq_status naq_kv_watch_next(naq_kv_watch *w, int64_t timeout_ms, naq_kv_event *event,
                             naq_err *err) {
    int64_t rest = timeout_ms, end = naq_mono_ms() + timeout_ms;
    naq_status status = naq_pool_check(w->c, err);
    natsMsg_Destroy(w->held);
    w->held = NULL;
    while (status == NAQ_OK) {
        if (atomic_load(&w->ended))
            return naq_fail(err, NAQ_CLOSED, "watching bucket %s: ended", w->bucket);
        if (tell(&w->tell_reset, NAQ_KV_RESET, event)) return NAQ_OK;
        /* Behind the last of the initial values, which was returned in the call before. */
        if (tell(&w->tell_up_to_date, NAQ_KV_UP_TO_DATE, event)) return NAQ_OK;
        natsMsg *m = NULL;
        natsStatus s = NATS_TIMEOUT;
        if (must_start(w))
            status = start_again(w, rest, err);
        else
            s = natsSubscription_NextMsg(
                &m, w->sub, naq_patience_slice(rest < slice_ms(w) ? rest : slice_ms(w)));
        if (s == NATS_OK) {
            if (take(w, m, event)) return NAQ_OK;
            natsMsg_Destroy(m);
        } else if (naq_conn_dead(w->c) && naq_conn_check(w->c, err) != NAQ_OK) {
            return err->status;
        } else if (s == NATS_TIMEOUT) {
            if (w->live) nothing_came(w);
        } else {
            w->live = false; /* the buffer overflowed, or the connection is being replaced */
        }
        rest = naq_patience_left(end);
        if (rest < 0) rest = 0;
        bool more = s == NATS_OK || w->tell_reset || w->tell_up_to_date;
        if (status == NAQ_OK && rest == 0 && !more)
            return naq_fail(err, NAQ_TIMEOUT, "watching bucket %s: nothing in %lld ms", w->bucket,
                            (long long)timeout_ms);
    }
    return status;
}

naq_status naq_kv_watch_open(naq_kv_watch **out, naq_conn *c, const char *bucket,
                             const char *filter, const naq_kv_watch_options *o, naq_err *err) {
    naq_status status = naq_kv_check_filter(bucket, filter, err);
    if (status != NAQ_OK) return status;
    naq_kv_watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return naq_fail(err, NAQ_CONNECTION, "watching bucket %s: out of memory", bucket);
    w->c = c;
    naq_pool_retain(c);
    pthread_mutex_init(&w->mu, NULL);
    w->listener = (naq_conn_listener){.reconnected = reconnected, .ctx = w};
    naq_conn_listen(c, &w->listener);
    (void)snprintf(w->bucket, sizeof w->bucket, "%s", bucket);
    (void)snprintf(w->filter, sizeof w->filter, "%s", filter);
    w->skip = strlen(bucket) + sizeof "$KV.." - 1;
    w->options = *o;
    w->initial = true;
    w->pause_ms = FIRST_PAUSE_MS;
    naq_kv_patience patience = naq_kv_patience_begin(0);
    while (status == NAQ_OK) {
        status = start(w, MOST_ASK_MS, err);
        if (status == NAQ_OK) break;
        if (naq_kv_again(&patience, c, status)) status = NAQ_OK;
    }
    if (status == NAQ_OK)
        *out = w;
    else
        naq_kv_watch_close(w);
    return status;
}

void naq_kv_watch_end(naq_kv_watch *w) {
    pthread_mutex_lock(&w->mu);
    /* Whoever waits for its next message is told; nothing else ends that wait, whatever becomes of
     * the connection. */
    if (!atomic_exchange(&w->ended, true) && w->sub != NULL)
        (void)natsSubscription_Unsubscribe(w->sub);
    pthread_mutex_unlock(&w->mu);
}

static void let_go(naq_kv_watch *w) {
    pthread_mutex_destroy(&w->mu);
    natsMsg_Destroy(w->held);
    naq_pool_release(w->c);
    free(w);
}

void naq_kv_watch_close(naq_kv_watch *w) {
    if (w == NULL) return;
    if (naq_pool_ours(w->c)) {
        naq_conn_unlisten(w->c, &w->listener);
        remove_consumer(w);
        if (atomic_load(&w->ended)) atomic_store(&w->interrupted, true);
        end_subscription(w);
    }
    let_go(w);
}

void naq_kv_watch_drop(naq_kv_watch *w) {
    if (w == NULL) return;
    if (naq_pool_ours(w->c)) naq_conn_unlisten(w->c, &w->listener);
    if (w->sub != NULL && naq_pool_ours(w->c)) {
        natsMsg *m = NULL;
        while (natsSubscription_NextMsg(&m, w->sub, 0) == NATS_OK)
            natsMsg_Destroy(m); /* the subscription may live for long, what it holds is large */
        naq_unsubscribe_later(w->c, w->sub);
    }
    let_go(w);
}
