/* scheduler.c -- the thread: wait for the lease, lead while it lasts, hand it over.
 *
 * A leadership is two connections and one set of tables. Whatever puts them in doubt ends it: a
 * reconnect (what was on its way is gone), a lease that was lost or not confirmed in time, a store
 * that cannot be read. The next one begins with the lease and reads everything anew.
 *
 * Two connections, because the server (2.9, 2.10) does what one asks for in the order it came, and
 * what is asked of the delayed store may take long: at a million jobs a consumer is made in 0.3 s,
 * a look for stragglers takes a second, and a get waits for either. What is due, and the lease,
 * goes by a connection on which nothing is in the way. */
#include "run/scheduler.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alarm.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/service.h"
#include "base/thread.h"
#include "nats/pool.h"
#include "nats/reply.h"
#include "nats/stream.h"
#include "run/leader.h"
#include "run/recurring.h"
#include "run/release.h"
#include "run/stragglers.h"
#include "run/takeover.h"

enum {
    TTL_MS = 5000,
    AGAIN_MS = 500,   /* after a leadership that failed */
    SETTLE_MS = 1000, /* for what is under way when it stops */
    FLUSH_MS = 1000,
    HEARD_MS = 1000, /* who withdraws a job waits no longer for us */
    SPAN_MAX_MS = 5000
};

/* One leadership. */
typedef struct reign {
    naq_loop *loop;  /* publishes what is due, renews the lease */
    naq_loop *store; /* all about the delayed store; joined to the first */
    naq_alarm alarm;
    naq_errands errands;
    naq_buckets buckets;
    naq_release release;
    naq_stragglers stragglers;
    naq_takeover takeover;
    int64_t begun_ms;
    bool ready, cut;
} reign;

struct naq_scheduler {
    naq_service service;
    naq_conn_settings *settings;
    naq_conn *conn;
    char prefix[NAQ_ID_MAX + 1], id[192];
    int64_t stragglers_ms;
    naq_leader leader;
    naq_responder *cancels, *withdrawals;
    naq_recurring *recurring;
    reign reign;

    pthread_mutex_t mu;   /* guards loop, withdrawn, told_n and heard_n */
    naq_loop *loop;       /* of the reign, for who wakes it */
    naq_buf withdrawn;    /* ids, each ended by NUL */
    uint64_t told_n;      /* ids so far, */
    uint64_t heard_n;     /* and how many of them the loop knows */
    pthread_cond_t heard; /* heard_n has grown, or the reign is over */
    atomic_bool stop, leads, told;
};

/* The loop's handlers */

static void delivered(void *ctx, naq_msg *m) {
    naq_scheduler *s = ctx;
    naq_release_delivered(&s->reign.release, m, naq_loop_now(s->reign.store));
    naq_loop_bury(s->reign.store, m);
}

static void answered(void *ctx, uint32_t token, const naq_answer *answer) {
    naq_scheduler *s = ctx;
    if (token & NAQ_LEADER_TOKEN)
        naq_leader_answered(&s->leader, token, answer);
    else
        naq_release_answered(&s->reign.release, token, answer);
}

static void replied(void *ctx, uint32_t token, naq_msg *m) {
    naq_scheduler *s = ctx;
    if (token & NAQ_ERRAND_TOKEN)
        naq_errands_replied(&s->reign.errands, token, m);
    else
        naq_release_replied(&s->reign.release, token, m);
}

static void unheard(void *ctx) {
    naq_scheduler *s = ctx;
    int64_t now = naq_loop_now(s->reign.loop);
    naq_buckets_unheard(&s->reign.buckets, now);
    naq_release_unheard(&s->reign.release, now);
}

static void pull_status(void *ctx, uint32_t token, int status, int64_t pending, const char *text) {
    naq_scheduler *s = ctx;
    naq_buckets_pull_status(&s->reign.buckets, token, status, pending, text,
                            naq_loop_now(s->reign.store));
}

static void restored(void *ctx) {
    naq_scheduler *s = ctx;
    s->reign.cut = true;
}

static bool busy(void *ctx) {
    naq_scheduler *s = ctx;
    return atomic_load(&s->stop) || atomic_load(&s->told);
}

static void rang(void *ctx) {
    naq_scheduler *s = ctx;
    naq_alarm_rang(&s->reign.alarm);
}

/* Jobs that are taken out of the store while their payload may be here already. */

/* Its number; 0: there is nobody here to be told. */
static uint64_t tell_loop_locked(naq_scheduler *s, const char *id, size_t len) {
    if (s->loop == NULL || !naq_id_valid(id, len)) return 0;
    naq_buf_put(&s->withdrawn, id, len);
    naq_buf_putc(&s->withdrawn, '\0');
    atomic_store(&s->told, true);
    naq_loop_wake(s->loop);
    return ++s->told_n;
}

/* Answered by the leader once its loop knows: what it holds of the job is compared with the store
 * from then on, and what it sent before is on its way to the server. */
static void hear_withdrawal(void *ctx, const char *data, size_t len, naq_buf *out) {
    naq_scheduler *s = ctx;
    struct timespec until = naq_cond_deadline(HEARD_MS);
    int waited = 0;
    pthread_mutex_lock(&s->mu);
    uint64_t n = tell_loop_locked(s, data, len);
    while (n > s->heard_n && s->loop != NULL && waited == 0)
        waited = pthread_cond_timedwait(&s->heard, &s->mu, &until);
    if (n > 0 && n <= s->heard_n) naq_buf_puts(out, "heard");
    pthread_mutex_unlock(&s->mu);
}

/* {"id":...}, told to the workers; answering is their business. */
static void hear_cancel(void *ctx, const char *data, size_t len, naq_buf *out) {
    char id[NAQ_ID_TEXT + 1];
    naq_scheduler *s = ctx;
    (void)out;
    naq_reply_text((naq_slice){data, len}, "id", id, sizeof id);
    pthread_mutex_lock(&s->mu);
    (void)tell_loop_locked(s, id, strlen(id));
    pthread_mutex_unlock(&s->mu);
}

static void take_withdrawn(naq_scheduler *s) {
    if (!atomic_exchange(&s->told, false)) return;
    pthread_mutex_lock(&s->mu);
    naq_buf ids = s->withdrawn;
    uint64_t n = s->told_n;
    s->withdrawn = (naq_buf){0};
    pthread_mutex_unlock(&s->mu);
    for (size_t at = 0; !ids.failed && at < ids.len; at += strlen(ids.data + at) + 1)
        naq_release_withdraw(&s->reign.release, ids.data + at);
    pthread_mutex_lock(&s->mu);
    if (!ids.failed) s->heard_n = n;
    pthread_cond_broadcast(&s->heard);
    pthread_mutex_unlock(&s->mu);
    naq_buf_free(&ids);
}

/* A reign */

static void set_loop(naq_scheduler *s, naq_loop *loop) {
    pthread_mutex_lock(&s->mu);
    s->loop = loop;
    pthread_cond_broadcast(&s->heard);
    pthread_mutex_unlock(&s->mu);
}

/* Requests for what is delayed end together with every second renewal of the lease, or a moment
 * earlier: one wake for both. */
static int64_t span_ms(const naq_scheduler *s) {
    int64_t span = s->leader.ttl_ms < SPAN_MAX_MS ? s->leader.ttl_ms : SPAN_MAX_MS;
    return span - span / 50;
}

static naq_status begin_reign(naq_scheduler *s, naq_err *err) {
    reign *r = &s->reign;
    memset(r, 0, sizeof *r);
    r->alarm.fd = -1;
    r->begun_ms = naq_mono_ms();
    naq_loop_handlers handlers = {.ctx = s,
                                  .delivered = delivered,
                                  .answered = answered,
                                  .replied = replied,
                                  .unheard = unheard,
                                  .pull_status = pull_status,
                                  .restored = restored,
                                  .busy = busy};
    /* By its own end at the latest, a lease that we cannot use is another's. */
    naq_conn_options o = *naq_conn_settings_peek(s->settings);
    o.open_within_ms = s->leader.ttl_ms / 2;
    char **further = naq_conn_cluster(s->conn);
    o.further = (const char *const *)further;
    naq_status status = naq_loop_open(&r->loop, &o, &handlers, err);
    o.open_within_ms -= naq_mono_ms() - r->begun_ms;
    if (o.open_within_ms < 1) o.open_within_ms = 1;
    if (status == NAQ_OK) status = naq_loop_open(&r->store, &o, &handlers, err);
    if (status == NAQ_OK) status = naq_loop_join(r->loop, r->store, err);
    naq_conn_cluster_free(further);
    if (status == NAQ_OK) status = naq_alarm_open(&r->alarm, err);
    if (status == NAQ_OK) status = naq_loop_watch(r->loop, r->alarm.fd, rang, s, err);
    if (status != NAQ_OK) return status;
    naq_errands_init(&r->errands, r->store);
    naq_buckets_init(&r->buckets, r->store, &r->errands, s->prefix, span_ms(s),
                     naq_conn_clustered(s->conn));
    naq_stragglers_init(&r->stragglers, &r->buckets, &r->errands, s->stragglers_ms);
    status =
        naq_release_open(&r->release, r->loop, r->store, &r->buckets, &r->errands, s->prefix, err);
    if (status != NAQ_OK) return status;
    naq_takeover_begin(&r->takeover, &r->buckets, &r->errands, &r->stragglers, s->prefix);
    set_loop(s, r->loop);
    return NAQ_OK;
}

static void end_reign(naq_scheduler *s) {
    set_loop(s, NULL);
    naq_release_close(&s->reign.release);
    naq_loop_close(s->reign.loop, FLUSH_MS);
    naq_loop_close(s->reign.store, FLUSH_MS);
    naq_alarm_close(&s->reign.alarm);
    s->reign.loop = s->reign.store = NULL;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void sleep_until_something(naq_scheduler *s, int64_t now_ms) {
    reign *r = &s->reign;
    int64_t alarm_us =
        earlier(naq_release_alarm_us(&r->release), naq_buckets_alarm_us(&r->buckets));
    int64_t at = naq_leader_deadline(&s->leader);
    at = earlier(at, naq_errands_deadline(&r->errands));
    at = earlier(at, naq_buckets_deadline(&r->buckets, now_ms));
    at = earlier(at, naq_release_deadline(&r->release));
    at = earlier(at, r->stragglers.next_ms);
    bool at_once = alarm_us != INT64_MAX && alarm_us <= naq_wall_us();
    if (!at_once) naq_alarm_set(&r->alarm, alarm_us);
    naq_loop_turn(r->loop, at, !at_once && !busy(s));
}

static void look_for_rivals(naq_scheduler *s) {
    reign *r = &s->reign;
    if (naq_buckets_missing(&r->buckets)) naq_leader_confirm(&s->leader);
    if (!r->buckets.stranger) return;
    r->buckets.stranger = false;
    naq_leader_confirm(&s->leader);
    naq_takeover_again(&r->takeover);
}

static void tell_ready(naq_scheduler *s, int64_t now_ms) {
    reign *r = &s->reign;
    if (r->ready || !naq_buckets_read(&r->buckets)) return;
    r->ready = true;
    naq_log(NAQ_INFO, "scheduler %s: ready after %" PRId64 " ms, jobs due soon: %zu", s->id,
            now_ms - r->begun_ms, r->release.far.n + r->release.near.n);
}

static bool turn(naq_scheduler *s) {
    reign *r = &s->reign;
    int64_t now_ms = naq_mono_ms();
    if (!naq_leader_leads(&s->leader, now_ms)) {
        naq_log(NAQ_WARNING, "scheduler %s: its lease is gone; it releases nothing any more",
                s->id);
        return false;
    }
    if (r->cut || r->takeover.failed || naq_loop_closed(r->loop) || naq_loop_closed(r->store))
        return false;
    naq_leader_tick(&s->leader, r->loop, now_ms);
    naq_recurring_lead(s->recurring, s->leader.until_ms);
    naq_errands_tick(&r->errands, now_ms);
    take_withdrawn(s);
    naq_release_turn(&r->release, &s->leader);
    naq_buckets_turn(&r->buckets, naq_wall_us(), now_ms, s->leader.renewed_ms);
    if (r->buckets.skipped) naq_stragglers_look(&r->stragglers, now_ms);
    r->buckets.skipped = false;
    naq_stragglers_turn(&r->stragglers, now_ms);
    look_for_rivals(s);
    tell_ready(s, now_ms);
    sleep_until_something(s, now_ms);
    return true;
}

/* What was published gets its ack, so that the next leader need not look at it. */
static void settle(naq_scheduler *s) {
    int64_t end_ms = naq_mono_ms() + SETTLE_MS;
    while ((!naq_release_settle(&s->reign.release) || s->leader.unanswered) &&
           naq_mono_ms() < end_ms && !s->reign.cut)
        naq_loop_turn(s->reign.loop, naq_mono_ms() + 5, true);
    (void)naq_release_settle(&s->reign.release);
}

static void lead(naq_scheduler *s) {
    naq_err err;
    naq_log(NAQ_INFO, "scheduler %s: leads", s->id);
    if (begin_reign(s, &err) != NAQ_OK) {
        naq_log(NAQ_WARNING, "scheduler %s: %s (%s)", s->id, err.message,
                naq_status_code(err.status));
        end_reign(s);
        (void)naq_service_sleep(&s->service, AGAIN_MS);
        return;
    }
    atomic_store(&s->leads, true);
    while (!atomic_load(&s->stop) && turn(s)) {
    }
    atomic_store(&s->leads, false);
    naq_recurring_lead(s->recurring, 0);
    bool stopped = atomic_load(&s->stop), failed = s->reign.takeover.failed;
    if (stopped) settle(s);
    end_reign(s);
    if (stopped) {
        naq_leader_resign(&s->leader);
        naq_log(NAQ_INFO, "scheduler %s: leads no more", s->id);
    } else if (failed) {
        naq_layout_options layout = {.prefix = s->prefix};
        (void)naq_layout_ensure(s->conn, &layout, NULL, NULL, &err);
        (void)naq_service_sleep(&s->service, AGAIN_MS);
    }
}

static void body(naq_service *service) {
    naq_scheduler *s = service->ctx;
    naq_status last = NAQ_OK;
    while (!naq_service_stopping(service)) {
        naq_err err;
        int64_t wait_ms;
        naq_status status = naq_leader_take(&s->leader, &wait_ms, &err);
        if (status == NAQ_OK) {
            lead(s);
        } else if (!naq_service_stopping(service)) {
            if (status == NAQ_NOT_LEADER && status != last)
                naq_log(NAQ_INFO, "%s", err.message);
            else if (status != NAQ_NOT_LEADER && status != last && status != NAQ_CONNECTION)
                naq_log(NAQ_WARNING, "scheduler %s: whether it may lead is not known: %s (%s)",
                        s->id, err.message, naq_status_code(status));
            (void)naq_service_sleep(service, wait_ms);
        }
        last = status;
    }
}

/* Opening and closing */

static void make_id(naq_scheduler *s, const char *given) {
    char host[80];
    if (gethostname(host, sizeof host - 1) != 0) (void)snprintf(host, sizeof host, "host");
    host[sizeof host - 1] = '\0';
    if (given != NULL)
        (void)snprintf(s->id, sizeof s->id, "%s", given);
    else
        (void)snprintf(s->id, sizeof s->id, "%.64s-%d", host, (int)getpid());
}

/* The bucket's own TTL was fixed when it was made; our lease is what is configured, and the bucket
 * forgets a dead leader's key whenever it does. */
static naq_status open_leader(naq_scheduler *s, const naq_scheduler_options *o, naq_err *err) {
    char subject[128];
    int64_t ttl_ms = o->ttl_ms > 0 ? o->ttl_ms : TTL_MS;
    naq_status status =
        naq_leader_open(&s->leader, s->conn, s->prefix, s->id, ttl_ms, &s->service, err);
    (void)snprintf(subject, sizeof subject, "%s.w.withdrawn", s->prefix);
    if (status == NAQ_OK)
        status = naq_responder_open(&s->withdrawals, s->conn, subject, hear_withdrawal, s, err);
    (void)snprintf(subject, sizeof subject, "%s.w.cancel", s->prefix);
    if (status == NAQ_OK)
        status = naq_responder_open(&s->cancels, s->conn, subject, hear_cancel, s, err);
    return status;
}

/* A lease that is there may be a dead one's, and then it is not renewed. */
static naq_status take_alone(naq_scheduler *s, naq_err *err) {
    int64_t wait_ms;
    naq_status status = naq_leader_take(&s->leader, &wait_ms, err);
    while (status == NAQ_NOT_LEADER && !naq_leader_renewed(&s->leader, wait_ms))
        status = naq_leader_take(&s->leader, &wait_ms, err);
    return status;
}

naq_status naq_scheduler_open(naq_scheduler **out, const naq_scheduler_options *o, naq_err *err) {
    naq_scheduler *s = calloc(1, sizeof *s);
    if (s == NULL) return naq_fail(err, NAQ_INVALID, "scheduler: out of memory");
    s->reign.alarm.fd = -1;
    (void)snprintf(s->prefix, sizeof s->prefix, "%s", o->prefix);
    s->stragglers_ms = o->stragglers_ms;
    make_id(s, o->id);
    pthread_mutex_init(&s->mu, NULL);
    naq_cond_init(&s->heard);
    naq_service_init(&s->service, "naq-scheduler", body, s);
    naq_status status = NAQ_OK;
    s->settings = naq_conn_settings_new(o->connect);
    if (s->settings == NULL) status = naq_fail(err, NAQ_INVALID, "scheduler: out of memory");
    if (status == NAQ_OK) status = naq_pool_acquire(&s->conn, o->connect, err);
    if (status == NAQ_OK) status = open_leader(s, o, err);
    naq_recurring_options recurring = {s->conn, s->prefix, o->max_failures, o->misfire};
    if (status == NAQ_OK) status = naq_recurring_open(&s->recurring, &recurring, err);
    if (status == NAQ_OK && o->alone) status = take_alone(s, err);
    if (status == NAQ_OK) status = naq_service_start(&s->service, err);
    if (status != NAQ_OK) {
        naq_scheduler_close(s);
        return status;
    }
    *out = s;
    return NAQ_OK;
}

void naq_scheduler_close(naq_scheduler *s) {
    if (s == NULL) return;
    atomic_store(&s->stop, true);
    pthread_mutex_lock(&s->mu);
    if (s->loop != NULL) naq_loop_wake(s->loop);
    pthread_mutex_unlock(&s->mu);
    naq_service_stop(&s->service);
    naq_recurring_close(s->recurring);
    naq_responder_close(s->withdrawals);
    naq_responder_close(s->cancels);
    naq_leader_close(&s->leader);
    naq_pool_release(s->conn);
    naq_conn_settings_free(s->settings);
    naq_buf_free(&s->withdrawn);
    pthread_cond_destroy(&s->heard);
    pthread_mutex_destroy(&s->mu);
    free(s);
}

bool naq_scheduler_leads(naq_scheduler *s) {
    return atomic_load(&s->leads);
}

const char *naq_scheduler_id_peek(const naq_scheduler *s) {
    return s->id;
}
