/* worker.h -- a worker: queues in, jobs run, records out.
 *
 * Threads: the one that calls naq_worker_run() is the I/O thread: it owns the hot connection, the
 * slots and all leases, and runs no Lua. The crew's threads run Lua. The heartbeat has its own.
 * libnats serves the ordinary connection. */
#ifndef NAQ_RUN_WORKER_H
#define NAQ_RUN_WORKER_H

#include "nats/conn.h"
#include "run/plan.h"
#include "run/setting.h"
#include "run/vm.h"

typedef struct naq_worker_options {
    const naq_conn_options *connect;
    const char *prefix;
    const char *const *queues;
    const naq_setting *settings; /* one a queue: what this worker's configuration says */
    int n_queues;
    int threads;
    const char *name; /* NULL: the host's */
    naq_vm_options vm;
    int64_t ack_wait_ms; /* for consumers that do not exist yet */
    int64_t heartbeat_ms, ttl_ms, shutdown_ms;
    int max_crashes;
    double result_ttl;                   /* seconds, where neither the payload nor the job says */
    int64_t failed_age_ms, failed_bytes; /* of the store of dead letters; 0: as in stream.h */
    bool scheduler;                      /* run one beside the jobs */
    int64_t lock_ttl_ms;                 /* of its lease; 0: the default */
    int64_t max_failures;                /* of a schedule in a row; 0: the default */
    naq_misfire misfire;                 /* of schedules that say nothing */
    bool burst;
    long max_jobs; /* 0: no limit */
    bool handle_signals;
} naq_worker_options;

typedef enum naq_stopped {
    NAQ_STOPPED_STOP,   /* naq_worker_stop() */
    NAQ_STOPPED_SIGNAL, /* drained after SIGINT or SIGTERM */
    NAQ_STOPPED_BURST,  /* nothing was left */
    NAQ_STOPPED_MAX_JOBS,
    NAQ_STOPPED_STUCK,   /* too many threads were left in jobs that cannot be stopped */
    NAQ_STOPPED_TIMEOUT, /* drain took longer than shutdown_ms: jobs were cut off and given back */
    NAQ_STOPPED_AT_ONCE  /* second signal: the same, without waiting for it */
} naq_stopped;

typedef struct naq_worker_stats {
    long done, failed, retried;
    naq_stopped why;
    bool abandoned; /* jobs that could not be stopped still run */
} naq_worker_stats;

typedef struct naq_worker naq_worker;

/* [blocks] Connects, creates or checks the layout and the consumers, loads the job files in every
 * thread. All strings of o must stay until close. */
naq_status naq_worker_open(naq_worker **out, const naq_worker_options *o, naq_err *err);
/* [blocks] Serves until stopped; NAQ_JOB_STUCK when it drained because NAQ_LEFT_MAX threads were
 * left. When jobs were abandoned they still run on the
 * crew's threads: the process has to end (_exit), close would wait for them. */
naq_status naq_worker_run(naq_worker *w, naq_worker_stats *stats, naq_err *err);
void naq_worker_stop(naq_worker *w); /* begin to drain; any thread */
void naq_worker_close(naq_worker *w);
const char *naq_worker_id_peek(naq_worker *w);

#endif
