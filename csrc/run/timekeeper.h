/* timekeeper.h -- watches the clocks of all jobs of a worker, so that no job has to.
 *
 * One thread. It sleeps until the next deadline that it knows of; a job with a later one costs it
 * nothing, which is how it is for jobs with the same timeout one after the other. A job that does
 * not end within NAQ_GRACE_MS of being stopped (NAQ_CUT_OFF_MS, when its worker ends) is reported
 * as stuck, once, and watched no more. Time in which the process stood still does not count. */
#ifndef NAQ_RUN_TIMEKEEPER_H
#define NAQ_RUN_TIMEKEEPER_H

#include "base/service.h"
#include "run/limits.h"

enum { NAQ_GRACE_MS = 2000, NAQ_CUT_OFF_MS = 500 };

typedef struct naq_timekeeper {
    naq_service service;
    atomic_int_least64_t wake_ms; /* when it looks next, at the latest */
    pthread_mutex_t mu;           /* guards first and the list behind it; held during given_up */
    naq_limits *first;
} naq_timekeeper;

naq_status naq_timekeeper_start(naq_timekeeper *t, naq_err *err);
/* Joins. Safe when never started, on a zeroed struct. */
void naq_timekeeper_stop(naq_timekeeper *t);

/* Watch l until it is removed or given up. given_up is called on the timekeeper's thread, once the
 * job is l's thread's no more: nothing that it was given may be used by that thread from then on.
 */
void naq_timekeeper_add(naq_timekeeper *t, naq_limits *l, void (*given_up)(void *ctx, naq_stop why),
                        void *ctx);
void naq_timekeeper_remove(naq_timekeeper *t, naq_limits *l);

/* Something may be to do at this time (monotonic ms). Cheap when it looks earlier anyway. */
void naq_timekeeper_expect(naq_timekeeper *t, int64_t at_ms);

#endif
