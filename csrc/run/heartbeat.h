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
    int n_queues;
    int64_t interval_ms;
    int64_t started_us;
    atomic_long done, failed; /* counted by the I/O thread */
    atomic_bool stopping;

    /* Work of the worker's that blocks, and so is not for the I/O thread: called on this thread
     * before every beat, and soon after naq_heartbeat_chore(). */
    void (*chore)(void *ctx);
    void *chore_ctx;
} naq_heartbeat;

/* Everything but service and responder filled in by the caller. */
naq_status naq_heartbeat_start(naq_heartbeat *h, naq_err *err);
void naq_heartbeat_chore(naq_heartbeat *h); /* any thread */
/* [blocks] Joins, then removes the worker's record. Safe when never started. */
void naq_heartbeat_stop(naq_heartbeat *h);

#endif
