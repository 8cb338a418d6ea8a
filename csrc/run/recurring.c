/* recurring.c -- the thread: follow the schedules, fire what is due, write it back.
 *
 * What is known of a schedule is its record as the watch told it last, and what we did since. A
 * write of ours that was refused, because a program changed the schedule at the same time, is made
 * again on what the watch brings: no run is forgotten, and none is made twice, since a time that is
 * settled (done_until) stays settled. */
#include "run/recurring.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/patience.h"
#include "base/service.h"
#include "nats/kv.h"
#include "nats/kvwatch.h"
#include "nats/publish.h"
#include "run/heap.h"
#include "run/past_run.h"
#include "run/roster.h"

enum {
    MISSED_MS = 60 * 1000,
    BATCH = 512,
    LOOK_MS = 1000,   /* how soon a clock that was set is noticed */
    SLICE_MS = 60000, /* nothing else wakes who has no schedules */
    PAUSE_MS = 500,
    AGAIN_MS = 1000,
    AGAIN_MAX_MS = 60 * 1000,
    SEND_MS = 10 * 1000,
    IDLE_MS = 3600 * 1000,
    MAX_FAILURES = 5
};

/* One run that is being sent. */
typedef struct run {
    naq_entry *entry;
    int64_t due_ms;
    char job[NAQ_ID_TEXT];
    bool told; /* its ack has come, or what there is instead */
    naq_status status;
    char message[200];
} run;

/* A write that is on its way. */
typedef struct write {
    naq_entry *entry;
    naq_status status;
} write;

struct naq_recurring {
    naq_service service;
    naq_conn *conn;
    char prefix[NAQ_ID_TEXT], bucket[96];
    int64_t max_failures;
    naq_misfire misfire;
    _Atomic int64_t until_ms;

    pthread_mutex_t mu; /* guards watch, for who ends its wait */
    naq_kv_watch *watch;

    /* Of one leadership: */
    int64_t began_ms; /* wall clock */
    bool read;        /* all that stood in the bucket has been told */
    bool complained;
    naq_roster roster;
    naq_heap heap;
    naq_zones zones;
    naq_heap unwritten; /* entries whose records are to be written, by when */
    naq_bulk *bulk;
    run runs[BATCH];
    write writes[BATCH];
    int n_runs, n_writes;
};

static int64_t now_ms(void) {
    return naq_wall_us() / 1000;
}

static bool leads(naq_recurring *r) {
    return naq_mono_ms() < atomic_load(&r->until_ms) && !naq_service_stopping(&r->service);
}

static void replace_watch(naq_recurring *r, naq_kv_watch *watch) {
    pthread_mutex_lock(&r->mu);
    naq_kv_watch *old = r->watch;
    r->watch = watch;
    pthread_mutex_unlock(&r->mu);
    naq_kv_watch_close(old);
}

static void forget(naq_recurring *r) {
    replace_watch(r, NULL);
    naq_bulk_close(r->bulk);
    r->bulk = NULL;
    naq_heap_free(&r->heap);
    naq_heap_free(&r->unwritten);
    naq_roster_free(&r->roster);
    naq_zones_free(&r->zones);
    r->read = false;
}

static void queue_at(naq_recurring *r, naq_entry *e, int64_t at_ms) {
    if (at_ms == e->queued_ms) return;
    e->queued_ms = at_ms;
    if (at_ms != INT64_MAX && !naq_heap_push(&r->heap, at_ms, naq_roster_token(e)))
        e->queued_ms = INT64_MAX;
}

static void queue_next(naq_recurring *r, naq_entry *e) {
    int64_t at_ms = naq_plan_due(&e->plan, e->id);
    /* Unless a clock that was set back has made a pause of years of it. */
    bool pausing = e->not_before_ms > at_ms && e->not_before_ms <= now_ms() + AGAIN_MAX_MS;
    queue_at(r, e, pausing ? e->not_before_ms : at_ms);
}

/* Once more, a moment later, whatever the watch brings until then. */
static void queue_again(naq_recurring *r, naq_entry *e, int64_t now, int64_t pause_ms) {
    e->not_before_ms = now + pause_ms;
    queue_at(r, e, e->not_before_ms);
}

/* Its record is to be written, not before this moment of the monotonic clock. */
static void touch(naq_recurring *r, naq_entry *e, int64_t at_ms) {
    e->dirty = true;
    if (e->listed || e->behind) return; /* what the watch brings will list it */
    e->listed = naq_heap_push(&r->unwritten, at_ms, naq_roster_token(e));
}

/* What the watch tells */

/* A record that cannot be followed is marked as failed, once; what is no JSON stays as it is. */
static void refuse(naq_recurring *r, const naq_kv_event *event, const naq_err *why) {
    naq_log(NAQ_ERROR, "schedule %s does not run: %s", event->key, why->message);
    if (why->status == NAQ_SERIALIZATION || !leads(r)) return;
    naq_buf text = {0};
    naq_err err;
    uint64_t revision;
    naq_status status = naq_plan_write_failed(event->value, event->len, why, &text, &err);
    if (status == NAQ_OK)
        status = naq_kv_put(r->conn, r->bucket, event->key, text.data, text.len,
                            (int64_t)event->revision, &revision, &err);
    if (status != NAQ_OK && status != NAQ_WRONG_REVISION)
        naq_log(NAQ_WARNING, "schedule %s could not be marked as failed: %s", event->key,
                err.message);
    naq_buf_free(&text);
}

/* Put what we did and the record does not know into a record that somebody else has written. */
static void merge(naq_entry *e, naq_plan *fresh) {
    const naq_plan *old = &e->plan;
    if (!e->dirty) return;
    if (fresh->done_until_ms >= old->done_until_ms && fresh->failures >= old->failures &&
        old->state != NAQ_PLAN_FAILED) {
        e->dirty = false; /* it was our own write, whose answer was lost */
        e->unsaved_runs = e->unsaved_skipped = 0;
        return;
    }
    fresh->runs += e->unsaved_runs;
    fresh->skipped += e->unsaved_skipped;
    fresh->failures = old->failures;
    fresh->held = old->held && fresh->next_ms == old->next_ms;
    if (old->last_run_ms > fresh->last_run_ms) {
        fresh->last_run_ms = old->last_run_ms;
        memcpy(fresh->last_job, old->last_job, sizeof fresh->last_job);
    }
    for (int64_t i = e->unsaved_runs < old->n_recent ? e->unsaved_runs : old->n_recent; i > 0;
         i--) {
        if (fresh->n_recent == NAQ_PLAN_RECENT)
            memmove(fresh->recent, fresh->recent + 1,
                    sizeof fresh->recent[0] * (size_t)--fresh->n_recent);
        fresh->recent[fresh->n_recent++] = old->recent[old->n_recent - i];
    }
    if (old->done_until_ms > fresh->done_until_ms) fresh->done_until_ms = old->done_until_ms;
    if (fresh->state != NAQ_PLAN_ACTIVE) return;
    if (fresh->next_ms <= fresh->done_until_ms ||
        (fresh->repeat > 0 && fresh->runs >= fresh->repeat))
        naq_plan_settle(fresh, fresh->done_until_ms);
}

static void take_record(naq_recurring *r, const naq_kv_event *event) {
    naq_plan fresh;
    naq_err err;
    int64_t created_ms = event->created_us / 1000;
    naq_entry *e = naq_roster_find(&r->roster, event->key);
    naq_status status =
        naq_plan_read(&fresh, event->key, event->value, event->len, created_ms, &r->zones, &err);
    bool followed = status == NAQ_OK && fresh.state != NAQ_PLAN_OTHER;
    if (status != NAQ_OK) refuse(r, event, &err);
    /* One that was paused while a run of it is not written down yet is kept until it is. */
    if (!followed && (e == NULL || !e->dirty || status != NAQ_OK || fresh.unreadable)) {
        naq_plan_free(&fresh);
        if (e != NULL) naq_roster_remove(&r->roster, e);
        return;
    }
    if (e == NULL && (e = naq_roster_add(&r->roster, event->key)) == NULL) {
        naq_plan_free(&fresh);
        return;
    }
    merge(e, &fresh);
    naq_plan_free(&e->plan);
    e->plan = fresh;
    e->revision = event->revision;
    e->behind = e->unsure = false;
    if (e->dirty) touch(r, e, 0);
    queue_next(r, e);
}

static void handle(naq_recurring *r, const naq_kv_event *event) {
    naq_entry *e;
    switch (event->operation) {
    case NAQ_KV_PUT:
        take_record(r, event);
        break;
    case NAQ_KV_DELETE:
    case NAQ_KV_PURGE:
        if ((e = naq_roster_find(&r->roster, event->key)) != NULL) naq_roster_remove(&r->roster, e);
        break;
    case NAQ_KV_UP_TO_DATE:
        r->read = true;
        break;
    case NAQ_KV_RESET:
        naq_heap_free(&r->heap);
        naq_heap_free(&r->unwritten);
        naq_roster_free(&r->roster);
        r->read = false;
        break;
    }
}

/* Sending */

static void sent(void *ctx, uint32_t index, naq_status status, const char *message,
                 bool duplicate) {
    naq_recurring *r = ctx;
    (void)duplicate; /* the leader before us, or we in another life, sent this very run */
    if (index >= BATCH) {
        r->writes[index - BATCH].status = status;
        return;
    }
    run *one = &r->runs[index];
    one->told = true;
    one->status = status == NAQ_DUPLICATE ? NAQ_OK : status;
    (void)snprintf(one->message, sizeof one->message, "%.199s", message != NULL ? message : "");
}

static naq_status send_run(naq_recurring *r, naq_entry *e, int64_t due_ms) {
    run *one = &r->runs[r->n_runs];
    memset(one, 0, sizeof *one);
    one->entry = e;
    one->due_ms = due_ms;
    naq_past_run_id(one->job, e->id, due_ms);
    char subject[256], msg_id[NAQ_ID_TEXT + 4];
    (void)snprintf(subject, sizeof subject, "%s.q.%s.%s.%s", r->prefix, e->plan.queue,
                   NAQ_PRIORITY_NAMES[e->plan.priority], one->job);
    (void)snprintf(msg_id, sizeof msg_id, "%s:0", one->job);
    naq_buf payload = {0};
    naq_err err;
    naq_next next = {.hop = 0, .attempt = 1, .enqueued_us = naq_wall_us()};
    naq_status status =
        naq_envelope_step(e->plan.payload.at, e->plan.payload.len, &next, &payload, &err);
    uint32_t index = (uint32_t)r->n_runs++;
    if (status == NAQ_OK)
        status = naq_bulk_push(r->bulk, index, subject, msg_id, NULL, 0, payload.data, payload.len,
                               &err);
    naq_buf_free(&payload);
    if (status != NAQ_OK && !one->told) sent(r, index, status, err.message, false);
    return status;
}

/* A time before we led may have been run by who led then: the job knows. */
static bool was_sent(naq_recurring *r, const naq_entry *e, int64_t due_ms, char *job) {
    naq_past_run_id(job, e->id, due_ms);
    return due_ms <= r->began_ms && naq_past_run_recorded(r->conn, r->prefix, job);
}

/* The same before a time is left out: the run may still be on its queue, too. */
static bool may_have_been_sent(naq_recurring *r, const naq_entry *e, int64_t due_ms) {
    char job[NAQ_ID_TEXT];
    const naq_plan *p = &e->plan;
    if (due_ms > r->began_ms) return false;
    return was_sent(r, e, due_ms, job) ||
           naq_past_run_look(r->conn, r->prefix, p->queue, p->priority, job) ==
               NAQ_PAST_RUN_GOES_ON;
}

/* Whether the run before has ended. */
static naq_past_run run_before(naq_recurring *r, const naq_plan *p) {
    if (p->last_job[0] == '\0') return NAQ_PAST_RUN_ENDED;
    return naq_past_run_look(r->conn, r->prefix, p->queue, p->priority, p->last_job);
}

/* Times that are settled without a run. */
static void leave_out(naq_recurring *r, naq_entry *e, int64_t until_ms) {
    e->plan.skipped++;
    e->unsaved_skipped++;
    e->plan.done_until_ms = until_ms;
    touch(r, e, 0);
    naq_plan_settle(&e->plan, until_ms);
    queue_next(r, e);
}

/* Of a schedule whose time has come: which of its times runs now. False: none, and it is queued
 * anew. */
static bool choose(naq_recurring *r, naq_entry *e, int64_t now, int64_t *due_ms) {
    naq_plan *p = &e->plan;
    int64_t late_from = now - MISSED_MS - p->jitter_ms;
    *due_ms = p->next_ms;
    bool missed = p->next_ms < late_from && !p->held;
    if ((missed || p->overlap != NAQ_OVERLAP_ALLOW) && may_have_been_sent(r, e, p->next_ms))
        return true;
    if (missed) {
        naq_misfire policy = p->misfire >= 0 ? (naq_misfire)p->misfire : r->misfire;
        int64_t latest = p->next_ms;
        (void)naq_recurrence_back(&p->when, p->next_ms - 1, late_from - 1,
                                  policy == NAQ_MISFIRE_ALL ? NAQ_RECURRENCE_BACK : 1, &latest);
        if (policy == NAQ_MISFIRE_SKIP) {
            leave_out(r, e, latest);
            return false;
        }
        *due_ms = latest;
    }
    if (p->overlap == NAQ_OVERLAP_ALLOW) return true;
    naq_past_run before = run_before(r, p);
    if (before == NAQ_PAST_RUN_ENDED) return true;
    if (before == NAQ_PAST_RUN_GOES_ON && p->overlap == NAQ_OVERLAP_SKIP) {
        leave_out(r, e, *due_ms);
        return false;
    }
    if (before == NAQ_PAST_RUN_GOES_ON && !p->held) {
        p->held = true;
        p->next_ms = *due_ms;
        touch(r, e, 0);
    }
    queue_again(r, e, now, AGAIN_MS);
    return false;
}

static void ran(naq_recurring *r, naq_entry *e, int64_t due_ms, const char *job, int64_t now) {
    naq_plan *p = &e->plan;
    /* One that waited for the run before it stands for all that came meanwhile. */
    int64_t until = p->held && now > due_ms ? now : due_ms;
    naq_plan_ran(p, due_ms, job, now);
    p->held = false;
    p->done_until_ms = until;
    e->not_before_ms = 0;
    e->unsaved_runs++;
    touch(r, e, 0);
    naq_plan_settle(p, until);
    queue_next(r, e);
}

static bool of_the_connection(naq_status status) {
    return status == NAQ_CONNECTION || status == NAQ_TIMEOUT || status == NAQ_CLOSED ||
           status == NAQ_FORKED || status == NAQ_AUTH;
}

static void failed(naq_recurring *r, naq_entry *e, const run *one, int64_t now) {
    naq_plan *p = &e->plan;
    if (of_the_connection(one->status)) {
        queue_again(r, e, now, AGAIN_MS);
        return;
    }
    p->failures++;
    touch(r, e, 0);
    if (p->failures >= r->max_failures || one->status == NAQ_UNDECODABLE) {
        naq_log(NAQ_ERROR, "schedule %s is given up after %" PRId64 " failures: %s", e->id,
                p->failures, one->message);
        naq_plan_fail(p, one->status, one->message);
        queue_at(r, e, INT64_MAX);
        return;
    }
    naq_log(NAQ_WARNING,
            "schedule %s: its run could not be put on queue %s, and is tried again: %s", e->id,
            p->queue, one->message);
    int64_t wait = AGAIN_MS << (p->failures < 7 ? p->failures - 1 : 6);
    queue_again(r, e, now, wait < AGAIN_MAX_MS ? wait : AGAIN_MAX_MS);
}

static void send_write(naq_recurring *r, naq_entry *e) {
    char subject[160], revision[24];
    (void)snprintf(subject, sizeof subject, "$KV.%s.%s", r->bucket, e->id);
    (void)snprintf(revision, sizeof revision, "%" PRIu64, e->revision);
    naq_header expect = {"Nats-Expected-Last-Subject-Sequence", revision};
    naq_buf text = {0};
    naq_err err;
    write *w = &r->writes[r->n_writes];
    *w = (write){.entry = e, .status = NAQ_TIMEOUT};
    naq_status status = naq_plan_write(&e->plan, &text, &err);
    if (status == NAQ_OK)
        status = naq_bulk_push(r->bulk, (uint32_t)(BATCH + r->n_writes), subject, NULL, &expect, 1,
                               text.data, text.len, &err);
    if (status != NAQ_OK) w->status = status;
    r->n_writes++;
    naq_buf_free(&text);
}

static void send_writes(naq_recurring *r) {
    int64_t mono = naq_mono_ms();
    while (r->n_writes < BATCH && r->unwritten.n > 0 && naq_heap_top(&r->unwritten).key <= mono &&
           leads(r)) {
        naq_entry *e = naq_roster_at(&r->roster, naq_heap_pop(&r->unwritten).value);
        if (e == NULL) continue;
        e->listed = false;
        if (e->dirty && !e->behind) send_write(r, e);
    }
}

static void written(naq_recurring *r, naq_entry *e, naq_status status, int64_t mono) {
    e->unsure = of_the_connection(status);
    if (status == NAQ_OK || status == NAQ_WRONG_REVISION) {
        e->behind = true;
        if (status != NAQ_OK) return;
        e->dirty = false;
        e->unsaved_runs = e->unsaved_skipped = 0;
        return;
    }
    touch(r, e, mono + AGAIN_MS);
}

static void settle_batch(naq_recurring *r) {
    int64_t now = now_ms(), mono = naq_mono_ms();
    for (int i = 0; i < r->n_writes; i++)
        written(r, r->writes[i].entry, r->writes[i].status, mono);
    for (int i = 0; i < r->n_runs; i++) {
        run *one = &r->runs[i];
        if (!one->told) one->status = NAQ_TIMEOUT;
        if (one->status == NAQ_OK)
            ran(r, one->entry, one->due_ms, one->job, now);
        else
            failed(r, one->entry, one, now);
    }
}

/* A batch of what is due, then the records of what ran before. False: nothing was left to do. */
static bool turn(naq_recurring *r) {
    int64_t now = now_ms();
    naq_err err;
    if (r->bulk == NULL) {
        if (naq_bulk_open(&r->bulk, r->conn, sent, r, &err) != NAQ_OK) return false;
        naq_bulk_mix(r->bulk, 2 * BATCH, SEND_MS);
    }
    r->n_runs = r->n_writes = 0;
    while (r->n_runs < BATCH && r->heap.n > 0 && naq_heap_top(&r->heap).key <= now && leads(r)) {
        naq_heap_entry top = naq_heap_pop(&r->heap);
        naq_entry *e = naq_roster_at(&r->roster, top.value);
        int64_t due_ms;
        if (e == NULL || e->queued_ms != top.key) continue;
        e->queued_ms = INT64_MAX;
        if (e->plan.state != NAQ_PLAN_ACTIVE || e->plan.next_ms == INT64_MAX) continue;
        if (e->unsure) {
            queue_again(r, e, now, AGAIN_MS);
        } else if (choose(r, e, now, &due_ms)) {
            char job[NAQ_ID_TEXT];
            if (was_sent(r, e, due_ms, job))
                ran(r, e, due_ms, job, due_ms);
            else
                (void)send_run(r, e, due_ms);
        }
    }
    send_writes(r);
    if (r->n_runs == 0 && r->n_writes == 0) return false;
    bool fine = naq_bulk_finish(r->bulk, &err) == NAQ_OK;
    settle_batch(r);
    if (!fine) {
        naq_bulk_close(r->bulk);
        r->bulk = NULL;
    }
    return true;
}

/* Until the next run: what the watch tells ends the wait, too. */
static int64_t wait_ms(naq_recurring *r) {
    if (!r->read || r->heap.n == 0) return SLICE_MS;
    int64_t us = naq_heap_top(&r->heap).key * 1000 - naq_wall_us();
    if (us <= 0) return 0;
    if (us >= 1000) return us / 1000 < LOOK_MS ? us / 1000 : LOOK_MS;
    struct timespec t = {.tv_nsec = us * 1000};
    (void)nanosleep(&t, NULL);
    return 0;
}

static void wake(naq_recurring *r) {
    pthread_mutex_lock(&r->mu);
    if (r->watch != NULL) naq_kv_watch_end(r->watch);
    pthread_mutex_unlock(&r->mu);
}

static bool leads_no_more(void *ctx) {
    return !leads(ctx);
}

/* Nobody can end a watch that is being opened, so that its thread looks itself: whoever stops a
 * worker whose server is away would wait for that as well. */
static naq_status open_watch(naq_recurring *r, naq_err *err) {
    naq_kv_watch *watch = NULL;
    naq_kv_watch_options options = {.slice_ms = SLICE_MS, .heartbeat_ms = SLICE_MS};
    naq_patience_ends(leads_no_more, r);
    naq_status status = naq_kv_watch_open(&watch, r->conn, r->bucket, ">", &options, err);
    naq_patience_ends(NULL, NULL);
    r->began_ms = now_ms();
    if (status != NAQ_OK) return status;
    replace_watch(r, watch);
    if (!leads(r)) wake(r); /* who ended the leadership found none to end */
    return NAQ_OK;
}

static void follow(naq_recurring *r) {
    naq_err err;
    naq_status status = r->watch == NULL ? open_watch(r, &err) : NAQ_OK;
    naq_kv_event event;
    int64_t wait = wait_ms(r);
    for (int n = 0; status == NAQ_OK && n < BATCH; n++, wait = 0) {
        status = naq_kv_watch_next(r->watch, wait, &event, &err);
        if (status == NAQ_OK) handle(r, &event);
    }
    if (status != NAQ_OK && status != NAQ_TIMEOUT && leads(r)) {
        if (!r->complained) naq_log(NAQ_WARNING, "schedules: %s", err.message);
        r->complained = true;
        forget(r);
        (void)naq_service_sleep(&r->service, PAUSE_MS);
        return;
    }
    r->complained = false;
    /* Records are written a turn after their runs; then the watch is to be heard. */
    while (r->read && leads(r) && turn(r) && r->n_runs > 0)
        continue;
}

static void body(naq_service *service) {
    naq_recurring *r = service->ctx;
    while (!naq_service_stopping(service)) {
        if (leads(r)) {
            follow(r);
        } else {
            forget(r);
            (void)naq_service_sleep(service, IDLE_MS);
        }
    }
    forget(r);
}

naq_status naq_recurring_open(naq_recurring **out, const naq_recurring_options *o, naq_err *err) {
    naq_recurring *r = calloc(1, sizeof *r);
    *out = NULL;
    if (r == NULL) return naq_fail(err, NAQ_INVALID, "schedules: out of memory");
    r->conn = o->conn;
    (void)snprintf(r->prefix, sizeof r->prefix, "%s", o->prefix);
    (void)snprintf(r->bucket, sizeof r->bucket, "%s_schedules", o->prefix);
    r->max_failures = o->max_failures > 0 ? o->max_failures : MAX_FAILURES;
    r->misfire = o->misfire;
    pthread_mutex_init(&r->mu, NULL);
    naq_service_init(&r->service, "naq-recurring", body, r);
    naq_status status = naq_service_start(&r->service, err);
    if (status != NAQ_OK) {
        pthread_mutex_destroy(&r->mu);
        free(r);
        return status;
    }
    *out = r;
    return NAQ_OK;
}

void naq_recurring_lead(naq_recurring *r, int64_t until_ms) {
    int64_t before = atomic_exchange(&r->until_ms, until_ms);
    if (until_ms == 0 && before != 0) wake(r);
    if (before == 0 || before <= naq_mono_ms()) naq_service_nudge(&r->service);
}

void naq_recurring_close(naq_recurring *r) {
    if (r == NULL) return;
    atomic_store(&r->until_ms, 0);
    wake(r);
    naq_service_stop(&r->service);
    pthread_mutex_destroy(&r->mu);
    free(r);
}
