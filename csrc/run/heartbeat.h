/* heartbeat.h -- tells the world about a worker: its record in <prefix>_workers, and answers to
 * "who runs this job?". Leases are the I/O thread's business, not its. */
#ifndef NAQ_RUN_HEARTBEAT_H
#define NAQ_RUN_HEARTBEAT_H

#include "base/service.h"
#include "nats/responder.h"
#include "run/crew.h"

typedef struct naq_heartbeat {
    naq_service service;
    naq_responder *responder;
    naq_crew *crew;
    naq_conn *conn;
    const char *prefix, *worker_id, *host;
    const char *const *queues;
    int n_queues, threads;
    int64_t interval_ms;
    int64_t started_us;
    atomic_long done, failed; /* counted by the I/O thread */
    atomic_bool ready;        /* before that the crew is not looked at */
    atomic_bool stopping;     /* takes no jobs */

    /* Work of the worker's that blocks, and so is not for the I/O thread: called on this thread
     * before every beat, and soon after naq_heartbeat_chore(). */
    void (*chore)(void *ctx);
    void *chore_ctx;
} naq_heartbeat;

/* Everything but service and responder filled in by the caller. */
naq_status naq_heartbeat_start(naq_heartbeat *h, naq_err *err);
/* The crew is open: no more "starting". Any thread, as the next two. */
void naq_heartbeat_ready(naq_heartbeat *h);
/* The worker takes no jobs, or does again; told at once. */
void naq_heartbeat_stopping(naq_heartbeat *h, bool stopping);
void naq_heartbeat_chore(naq_heartbeat *h);
/* [blocks] Joins, then removes the worker's record. Safe when never started. */
void naq_heartbeat_stop(naq_heartbeat *h);

#endif
