/* recurring.h -- the leader's other half: puts the runs of recurring schedules on their queues.
 *
 * A thread that sleeps until it is told that its scheduler leads, and until when. Then it follows
 * the bucket <prefix>_schedules, publishes each run at its moment under the id `<schedule>-<due
 * ms>`, and writes what became of it back by compare-and-set. What its lease does not cover it does
 * not send. */
#ifndef NAQ_RUN_RECURRING_H
#define NAQ_RUN_RECURRING_H

#include "nats/conn.h"
#include "run/plan.h"

typedef struct naq_recurring_options {
    naq_conn *conn; /* an ordinary one; both stay until close */
    const char *prefix;
    int64_t max_failures; /* in a row, then it is `failed`; 0: 5 */
    naq_misfire misfire;  /* of schedules that say nothing */
} naq_recurring_options;

typedef struct naq_recurring naq_recurring;

naq_status naq_recurring_open(naq_recurring **out, const naq_recurring_options *o, naq_err *err);
/* Any thread: it leads until this moment of the monotonic clock; 0: no longer. */
void naq_recurring_lead(naq_recurring *r, int64_t until_ms);
/* [blocks a moment] NULL is fine. */
void naq_recurring_close(naq_recurring *r);

#endif
