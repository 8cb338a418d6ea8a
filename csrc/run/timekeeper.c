/* timekeeper.c -- one look at every thread that runs Lua, and a sleep until the next is due. */
#include "run/timekeeper.h"

#include "base/clock.h"

enum {
    LONGEST_MS = 3600 * 1000,
    /* The signal is repeated: one that came while the job was between two coroutines, or in a call
     * that it did not end, is not the last. */
    REPEAT_MS = 20,
    /* Of the time between two looks at most so much counts for the grace. When this thread was kept
     * from looking (the process was stopped, the machine overloaded), so was the job's from
     * stopping. */
    COUNTS_MS = 5 * REPEAT_MS
};

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* What a job gets to be stopped. A worker that ends has less time to give. */
static int64_t grace_of(naq_stop why) {
    return why == NAQ_STOP_CUT_OFF ? NAQ_CUT_OFF_MS : NAQ_GRACE_MS;
}

/* A job that runs and was not stopped: is it time? */
static int64_t look_at_clocks(naq_limits *l, naq_limits_view seen, int64_t now) {
    int64_t deadline = atomic_load(&l->deadline_ms), cpu = atomic_load(&l->cpu_deadline_ms);
    int64_t cancel = atomic_load(&l->cancel_ms), next = earlier(deadline, cancel);
    naq_stop why = now >= cancel     ? NAQ_STOP_CANCELLED
                   : now >= deadline ? NAQ_STOP_TIMEOUT
                                     : NAQ_STOP_NONE;
    if (why == NAQ_STOP_NONE && cpu != INT64_MAX) {
        int64_t left = cpu - naq_limits_cpu_ms(l);
        if (left <= 0)
            why = NAQ_STOP_CPU;
        else
            next = earlier(next, now + left);
    }
    if (why == NAQ_STOP_NONE) return next;
    if (!naq_limits_strike(l, seen, why)) return now; /* it ended, or is another job: look again */
    naq_limits_signal(l);
    return now;
}

/* When to look at l again, INT64_MAX: when it calls. *lost: it was given up. */
static int64_t look(naq_limits *l, int64_t now, bool *lost) {
    naq_limits_view seen = naq_limits_look(l);
    *lost = false;
    if (!seen.running) {
        /* What is announced for a job that has not begun yet strikes when it has. */
        int64_t cancel = atomic_load(&l->cancel_ms);
        return !seen.begun || cancel == INT64_MAX ? INT64_MAX : now + REPEAT_MS;
    }
    if (seen.why == NAQ_STOP_NONE) return look_at_clocks(l, seen, now);
    if (l->seen != seen.state) {
        l->seen = seen.state;
        l->waited_ms = 0;
    } else {
        l->waited_ms += earlier(now - l->looked_ms, COUNTS_MS);
    }
    l->looked_ms = now;
    if (l->waited_ms >= grace_of(seen.why) && !seen.borrowing) {
        *lost = naq_limits_strike(l, seen, NAQ_STOP_STUCK);
        return now;
    }
    naq_limits_signal(l);
    return now + REPEAT_MS;
}

static int64_t look_at_all(naq_timekeeper *t) {
    int64_t now = naq_mono_ms(), next = INT64_MAX;
    pthread_mutex_lock(&t->mu);
    for (naq_limits **at = &t->first; *at != NULL;) {
        /* All that is needed of l when it turns out to be lost: it is its thread's to free then. */
        naq_limits *l = *at, *behind = l->next;
        void (*given_up)(void *ctx, naq_stop why) = l->given_up;
        void *ctx = l->ctx;
        naq_stop why = naq_limits_look(l).why;
        bool lost;
        int64_t again = look(l, now, &lost);
        if (lost) {
            *at = behind;
            given_up(ctx, why);
            continue;
        }
        next = earlier(next, again);
        at = &l->next;
    }
    pthread_mutex_unlock(&t->mu);
    return next;
}

static void body(naq_service *service) {
    naq_timekeeper *t = service->ctx;
    int64_t ms;
    do {
        /* Before looking: a deadline that is set behind the look then wakes this thread. */
        atomic_store(&t->wake_ms, INT64_MAX);
        int64_t next = look_at_all(t);
        atomic_store(&t->wake_ms, next);
        ms = next == INT64_MAX ? LONGEST_MS : next - naq_mono_ms();
        if (ms > LONGEST_MS) ms = LONGEST_MS;
        if (ms < 1) ms = 1;
    } while (naq_service_sleep(service, ms));
}

naq_status naq_timekeeper_start(naq_timekeeper *t, naq_err *err) {
    pthread_mutex_init(&t->mu, NULL);
    t->first = NULL;
    atomic_store(&t->wake_ms, INT64_MAX);
    naq_service_init(&t->service, "naq-time", body, t);
    return naq_service_start(&t->service, err);
}

void naq_timekeeper_stop(naq_timekeeper *t) {
    if (t->service.body == NULL) return;
    naq_service_stop(&t->service);
}

void naq_timekeeper_add(naq_timekeeper *t, naq_limits *l, void (*given_up)(void *ctx, naq_stop why),
                        void *ctx) {
    l->keeper = t;
    l->given_up = given_up;
    l->ctx = ctx;
    pthread_mutex_lock(&t->mu);
    l->next = t->first;
    t->first = l;
    pthread_mutex_unlock(&t->mu);
}

void naq_timekeeper_remove(naq_timekeeper *t, naq_limits *l) {
    pthread_mutex_lock(&t->mu);
    for (naq_limits **at = &t->first; *at != NULL; at = &(*at)->next) {
        if (*at != l) continue;
        *at = l->next;
        break;
    }
    pthread_mutex_unlock(&t->mu);
}

void naq_timekeeper_expect(naq_timekeeper *t, int64_t at_ms) {
    if (at_ms < atomic_load(&t->wake_ms)) naq_service_nudge(&t->service);
}
