/* cancel.h -- what a worker knows of cancelled jobs: told by whoever cancels, asked by the threads
 * that run jobs.
 *
 * A cancel is decided by the job's record, which the one who cancels writes (lua/naq/cancel.lua).
 * Before it writes, it asks all workers (contest); when it has written, it tells them (stop):
 *
 *   contest  a job whose end is not decided where the cancel will be written (it leaves no record,
 *            or one in another bucket, because its own definition says so) is made to end there;
 *            one that has just ended elsewhere is told of
 *   stop     a running job is stopped, one that has not begun never will
 *
 * Both are remembered for ten minutes, because the job may be on its way here at that moment, or
 * come back with a server that was killed.
 *
 * A job that is to be deleted without a trace (lua/naq/waiting.lua) has no record that decides:
 * each worker says whether it has begun that message, and if not drops it where it has fetched it.
 */
#ifndef NAQ_RUN_CANCEL_H
#define NAQ_RUN_CANCEL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/id.h"
#include "nats/responder.h"
#include "nats/results.h"

struct naq_crew;

typedef struct naq_cancels {
    const char *worker_id;
    naq_result_class results; /* where records stand whose jobs do not say how long to keep them */
    naq_responder *responder;

    atomic_bool any;    /* something is remembered: else the crew's threads do not look further */
    pthread_mutex_t mu; /* guards the rest */
    struct naq_crew *crew;      /* NULL until it runs */
    struct naq_cancelled *list; /* NULL until the first comes */
    int64_t told_ms;            /* when the latest came */
    uint64_t *ended; /* hashes of jobs that ended where no cancel would see it: a ring, too */
    int next_ended;
    struct naq_dropping *drops; /* a ring, too; NULL until the first comes */
    int next_drop;
    atomic_bool any_drops;
} naq_cancels;

/* On a zeroed struct, before the crew is opened. */
void naq_cancels_init(naq_cancels *c, const char *worker_id, double result_ttl);
/* [blocks] Answers on <prefix>.w.cancel from now on. */
naq_status naq_cancels_listen(naq_cancels *c, naq_conn *conn, const char *prefix,
                              struct naq_crew *crew, naq_err *err);
void naq_cancels_deafen(naq_cancels *c); /* before the crew is closed; safe twice */
void naq_cancels_free(naq_cancels *c);   /* after it was */

/* [blocks] Stop what runs here and was cancelled without this worker hearing of it: it may have
 * been disconnected. Not the I/O thread. */
void naq_cancels_review(naq_cancels *c, naq_conn *conn, const char *prefix);

/* Whether this hop of a job was cancelled, as far as this worker was told. Cheap while nothing is
 * cancelled. */
bool naq_cancels_has(naq_cancels *c, const char *id, int64_t hop);

/* Whether this message is to be dropped, which who asks then has to do. Cheap as the above. */
bool naq_cancels_drops(naq_cancels *c, const char *id, uint64_t seq);

/* The job is about to end where a cancel would not see it. False: it is contested, and must end in
 * the record that a cancel would write. */
bool naq_cancels_end(naq_cancels *c, const char *id, int64_t hop);

#endif
