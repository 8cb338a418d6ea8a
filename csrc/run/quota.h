/* quota.h -- a worker's share of the limits of its queues: slots and starts, leased from records in
 * <prefix>_control that all workers write by compare-and-set.
 *
 * Two sides: the I/O thread says what it could use and takes what is there (atomics, no waiting);
 * a thread of its own, begun with the first limit, asks NATS. A lease ends by itself: what is not
 * renewed in time may not be used for a new job. */
#ifndef NAQ_RUN_QUOTA_H
#define NAQ_RUN_QUOTA_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/service.h"
#include "nats/conn.h"
#include "nats/kvwatch.h"
#include "run/lease.h"
#include "run/rate.h"

typedef struct naq_quota {
    /* Written by the I/O thread. */
    atomic_int in_hand;    /* jobs that are here and count */
    atomic_int peak;       /* the most of them since the last look */
    atomic_int wants;      /* slots, those in hand among them */
    atomic_int wants_more; /* the same with what could be fetched ahead, if there is plenty */
    atomic_int wants_starts;
    /* Written by the leasing thread. */
    atomic_int allowed;    /* jobs that may be in hand ... */
    atomic_llong until_ms; /* ... before this moment */
    atomic_bool full;      /* no slot is free, for anybody */
    atomic_llong open_ms;  /* no start is to be had before */
    /* Both: added to there, taken from here. */
    atomic_int starts;
    atomic_llong starts_ms; /* when some were added last */

    pthread_mutex_t mu; /* guards what is below */
    int concurrency;
    double rate;
    naq_leases leases;
    int64_t taken_us; /* the rate's line of time */
    uint64_t taken_revision;

    /* The leasing thread alone. */
    int mine;
    int64_t beat, renewed_ms;
    int64_t idle_ms; /* since when it holds more than it needs; 0: it does not */
    naq_hunger hunger;
} naq_quota;

typedef struct naq_quotas {
    naq_conn *conn;
    const char *prefix, *worker_id;
    const char *const *queues;
    int n_queues;
    void (*news)(void *ctx); /* something changed for the I/O thread; on the leasing thread */
    void *ctx;

    naq_quota *all; /* one a queue */
    naq_service service;
    atomic_bool begun;
    pthread_mutex_t mu; /* guards clock */
    naq_server_clock clock;
    int reconnects;
    bool changed; /* the leasing thread: something that the I/O thread has to see */
} naq_quotas;

/* Fill in the fields up to ctx before. */
naq_status naq_quotas_open(naq_quotas *q, naq_err *err);
/* [blocks] Gives back what is held. Safe on a zeroed struct. */
void naq_quotas_close(naq_quotas *q);

/* Any thread: the limits of a queue; 0: none. */
void naq_quotas_limit(naq_quotas *q, int queue, int concurrency, double rate);
/* The I/O thread wants something that it has not got. */
void naq_quotas_nudge(naq_quotas *q);
/* What the watch saw (control.h); kind NULL: the bucket is another one, all is void. */
void naq_quotas_seen(naq_quotas *q, int queue, const char *kind, const naq_kv_event *event,
                     bool live);

#endif
