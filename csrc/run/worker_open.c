/* worker_open.c -- bringing a worker up, in the order that gets the first job begun soonest, and
 * down. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/pool.h"
#include "nats/stream.h"
#include "run/worker_state.h"

enum {
    STORING = 1024,    /* jobs that ran and whose records are on their way */
    QUEUES_MAX = 1000, /* pull indexes have 12 bits, three a queue */
    FLUSH_MS = 2000
};

/* Room for what is prefetched, running and being stored at full speed, and no more: each slot ever
 * used keeps its memory, so a table beyond that would grow by a little at each stall of the server.
 * Twice the threads, because as many slots are held back for jobs that come uncounted. */
static uint32_t slots_wanted(int threads) {
    return NAQ_PREFETCH_MAX + STORING + 2 * (uint32_t)threads;
}

static void make_id(naq_worker *w) {
    if (gethostname(w->host, sizeof w->host) != 0) (void)snprintf(w->host, sizeof w->host, "host");
    w->host[sizeof w->host - 1] = '\0';
    uint32_t tail = 0;
    if (getrandom(&tail, sizeof tail, 0) != (ssize_t)sizeof tail) tail = (uint32_t)naq_wall_us();
    (void)snprintf(w->id, sizeof w->id, "%.64s-%d-%06x", w->o.name != NULL ? w->o.name : w->host,
                   (int)getpid(), tail & 0xFFFFFF);
    /* It is a key and part of JSON texts: whatever a host may be called, the id is plain. */
    for (char *c = w->id; *c != '\0'; c++)
        if (!naq_id_valid(c, 1) && *c != '.') *c = '-';
}

/* Blocked before any thread starts, so that all inherit it and the signals wait for the I/O thread.
 */
static naq_status open_signals(naq_worker *w, naq_err *err) {
    w->signal_fd = -1;
    if (!w->o.handle_signals) return NAQ_OK;
    sigset_t mask;
    sigemptyset(&mask);
    static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT};
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++)
        sigaddset(&mask, SIGNALS[i]);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    w->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (w->signal_fd < 0) return naq_fail(err, NAQ_INVALID, "worker: signals cannot be watched");
    return NAQ_OK;
}

static int64_t wanted_ack_wait(naq_worker *w, int queue) {
    int64_t own = naq_control_setting(&w->control, queue).ack_wait_ms;
    return own > 0 ? own : w->o.ack_wait_ms;
}

static naq_status open_consumers(naq_worker *w, naq_err *err) {
    w->n_pulls = w->o.n_queues * NAQ_PRIORITIES;
    w->pulls = calloc((size_t)w->n_pulls, sizeof *w->pulls);
    w->watched = calloc((size_t)w->n_pulls, sizeof *w->watched);
    if (w->pulls == NULL || w->watched == NULL)
        return naq_fail(err, NAQ_INVALID, "worker: out of memory");
    w->ack_wait_ms = INT64_MAX;
    for (int i = 0; i < w->n_pulls; i++) {
        const char *queue = w->o.queues[i / NAQ_PRIORITIES];
        naq_priority priority = (naq_priority)(i % NAQ_PRIORITIES);
        int64_t ack_wait_ms = wanted_ack_wait(w, i / NAQ_PRIORITIES);
        naq_consumer_info info;
        naq_status status =
            naq_consumer_ensure(w->conn, w->o.prefix, queue, priority, ack_wait_ms, &info, err);
        if (status != NAQ_OK) return status;
        if (info.ack_wait_ms != ack_wait_ms && priority == NAQ_NORMAL)
            naq_log(NAQ_WARNING, "queue %s: its ack_wait is %.3g s and stays so, not %.3g s", queue,
                    (double)info.ack_wait_ms / 1000, (double)ack_wait_ms / 1000);
        bool remember = false;
        if (info.pending == 0 && info.ack_pending == 0) naq_doubt_empty(&w->doubt, i, &remember);
        (void)remember; /* the heartbeat does it before its first beat */
        if (info.ack_wait_ms < w->ack_wait_ms) w->ack_wait_ms = info.ack_wait_ms;
    }
    return NAQ_OK;
}

static void init_pulls(naq_worker *w) {
    char stream[96], consumer[140];
    (void)snprintf(stream, sizeof stream, "%s_jobs", w->o.prefix);
    for (int i = 0; i < w->n_pulls; i++) {
        (void)snprintf(consumer, sizeof consumer, "%s_%s", w->o.queues[i / NAQ_PRIORITIES],
                       NAQ_PRIORITY_NAMES[i % NAQ_PRIORITIES]);
        naq_pull_init(&w->pulls[i], w->loop, (uint16_t)i, stream, consumer);
        if (i % NAQ_PRIORITIES == 0) w->gates[i / NAQ_PRIORITIES].pulls = &w->pulls[i];
    }
    for (int k = 0; k < NAQ_RESULT_CLASSES; k++)
        naq_results_subject(w->o.prefix, (naq_result_class)k, w->record_subjects[k],
                            sizeof w->record_subjects[k]);
    (void)snprintf(w->notice_subject, sizeof w->notice_subject, "%s.n.", w->o.prefix);
}

static naq_layout_options layout_of(const naq_worker_options *o) {
    return (naq_layout_options){.prefix = o->prefix,
                                .worker_ttl_ms = o->ttl_ms,
                                .leader_ttl_ms = o->lock_ttl_ms,
                                .failed_age_ms = o->failed_age_ms,
                                .failed_bytes = o->failed_bytes};
}

static void make_consumers_again(naq_worker *w) {
    naq_err err;
    naq_layout_options layout = layout_of(&w->o);
    naq_status status = naq_layout_ensure(w->conn, &layout, NULL, NULL, &err);
    for (int i = 0; i < w->n_pulls && status == NAQ_OK; i++) {
        naq_consumer_info info;
        status = naq_consumer_ensure(w->conn, w->o.prefix, w->o.queues[i / NAQ_PRIORITIES],
                                     (naq_priority)(i % NAQ_PRIORITIES),
                                     wanted_ack_wait(w, i / NAQ_PRIORITIES), &info, &err);
    }
    if (status != NAQ_OK)
        naq_log(NAQ_ERROR, "worker %s: its consumers cannot be made: %s (%s)", w->id, err.message,
                naq_status_code(err.status));
    atomic_store(&w->repaired, true); /* the next silence asks again */
    naq_loop_wake(w->loop);
}

/* On the heartbeat's thread, because it blocks. */
static void chore(void *ctx) {
    naq_worker *w = ctx;
    char stream[96];
    (void)snprintf(stream, sizeof stream, "%s_jobs", w->o.prefix);
    if (naq_watchdog_look(w->watched, w->pulls, w->n_pulls, w->conn, stream, naq_mono_ms())) {
        make_consumers_again(w); /* one of them may have been deleted as beyond help */
        naq_loop_wake(w->loop);
    }
    if (atomic_exchange(&w->consumers_wanted, false)) make_consumers_again(w);
    naq_doubt_clear(&w->doubt);
    naq_cancels_review(&w->cancels, w->conn, w->o.prefix);
}

static naq_status open_heartbeat(naq_worker *w, naq_err *err) {
    naq_heartbeat *h = &w->heartbeat;
    h->crew = &w->crew;
    h->conn = w->conn;
    h->prefix = w->o.prefix;
    h->worker_id = w->id;
    h->host = w->host;
    h->queues = w->o.queues;
    h->n_queues = w->o.n_queues;
    h->threads = w->o.threads;
    h->interval_ms = w->o.heartbeat_ms;
    h->chore = chore;
    h->chore_ctx = w;
    return naq_heartbeat_start(h, err);
}

static naq_status open_scheduler(naq_worker *w, naq_err *err) {
    if (!w->o.scheduler) return NAQ_OK;
    naq_scheduler_options o = {.connect = w->o.connect,
                               .prefix = w->o.prefix,
                               .id = w->id,
                               .ttl_ms = w->o.lock_ttl_ms,
                               .max_failures = w->o.max_failures,
                               .misfire = w->o.misfire};
    return naq_scheduler_open(&w->scheduler, &o, err);
}

static naq_status open_crew(naq_worker *w, naq_err *err) {
    naq_bench bench = {.conn = w->conn,
                       .prefix = w->o.prefix,
                       .worker_id = w->id,
                       .slots = &w->slots,
                       .cancels = &w->cancels,
                       .max_crashes = w->o.max_crashes,
                       .result_ttl = w->o.result_ttl,
                       .max_payload = (size_t)naq_conn_max_payload(w->conn)};
    return naq_crew_open(&w->crew, w->o.threads, &bench, w->loop, &w->o.vm, err);
}

naq_status naq_worker_open(naq_worker **out, const naq_worker_options *o, naq_err *err) {
    if (o->n_queues > QUEUES_MAX)
        return naq_fail(err, NAQ_CONFIGURATION, "worker: %d queues, at most %d", o->n_queues,
                        QUEUES_MAX);
    naq_worker *w = calloc(1, sizeof *w);
    if (w == NULL) return naq_fail(err, NAQ_INVALID, "worker: out of memory");
    w->o = *o;
    make_id(w);
    naq_cancels_init(&w->cancels, w->id, o->result_ttl);
    naq_layout_options layout = layout_of(o);
    naq_loop_handlers handlers = {.ctx = w,
                                  .delivered = naq_worker_delivered,
                                  .answered = naq_worker_answered,
                                  .unheard = naq_worker_unheard,
                                  .pull_status = naq_worker_pull_status,
                                  .restored = naq_worker_restored,
                                  .busy = naq_worker_busy};
    naq_status status = open_signals(w, err);
    if (status == NAQ_OK) status = naq_slots_open(&w->slots, slots_wanted(o->threads), err);
    if (status == NAQ_OK) status = naq_pool_acquire(&w->conn, o->connect, err);
    if (status == NAQ_OK) status = naq_loop_open(&w->loop, o->connect, &handlers, err);
    if (status == NAQ_OK) status = naq_layout_ensure(w->conn, &layout, NULL, NULL, err);
    if (status == NAQ_OK)
        status = naq_doubt_open(&w->doubt, w->conn, o->prefix, o->queues, o->n_queues, err);
    if (status == NAQ_OK) status = naq_worker_open_gates(w, err);
    if (status == NAQ_OK) status = open_consumers(w, err);
    if (status == NAQ_OK) {
        init_pulls(w);
        status = open_heartbeat(w, err); /* says "starting" while job files are loaded */
    }
    if (status == NAQ_OK) status = open_crew(w, err);
    if (status == NAQ_OK) {
        naq_heartbeat_ready(&w->heartbeat);
        w->reload.vm = &w->crew.vm;
        w->reload.loop = w->loop;
    }
    if (status == NAQ_OK)
        status = naq_cancels_listen(&w->cancels, w->conn, o->prefix, &w->crew, err);
    if (status == NAQ_OK) status = open_scheduler(w, err);
    if (status == NAQ_OK && w->signal_fd >= 0)
        status = naq_loop_watch(w->loop, w->signal_fd, naq_worker_signalled, w, err);
    if (status != NAQ_OK) {
        naq_worker_close(w);
        return status;
    }
    *out = w;
    return NAQ_OK;
}

void naq_worker_close(naq_worker *w) {
    if (w == NULL) return;
    naq_scheduler_close(w->scheduler);
    if (w->slots.all != NULL) {
        naq_slots_shut(&w->slots);
        naq_slots_over(&w->slots);
    }
    naq_heartbeat_stop(&w->heartbeat); /* it looks at the crew */
    naq_reload_close(&w->reload);
    naq_cancels_deafen(&w->cancels);
    naq_crew_close(&w->crew);
    naq_cancels_free(&w->cancels);
    naq_worker_close_gates(w);
    naq_loop_close(w->loop, FLUSH_MS); /* the last acks are on their way before the process ends */
    naq_doubt_close(&w->doubt);
    naq_pool_release(w->conn);
    naq_slots_close(&w->slots);
    free(w->watched);
    free(w->pulls);
    if (w->signal_fd >= 0) close(w->signal_fd);
    free(w);
}
