/* scheduler.h -- releases what is due: one thread, one connection of its own while it leads.
 *
 * Any number may run, in workers or by themselves; leader.h decides which one works. */
#ifndef NAQ_RUN_SCHEDULER_H
#define NAQ_RUN_SCHEDULER_H

#include "nats/conn.h"
#include "run/plan.h"

typedef struct naq_scheduler_options {
    const naq_conn_options *connect;
    const char *prefix;
    const char *id;        /* NULL: made of host and process */
    int64_t ttl_ms;        /* of the lease; 0: 5000 */
    int64_t stragglers_ms; /* how often to look for them; 0: as stragglers.h says */
    int64_t max_failures;  /* of a schedule in a row; 0: 5 */
    naq_misfire misfire;   /* of schedules that say nothing */
    bool alone;            /* open fails while another leads */
} naq_scheduler_options;

typedef struct naq_scheduler naq_scheduler;

/* [blocks] Connects and starts. The layout must be there. Prefix and servers are copied. alone:
 * NAQ_NOT_LEADER, naming who leads. */
naq_status naq_scheduler_open(naq_scheduler **out, const naq_scheduler_options *o, naq_err *err);
/* [blocks a moment] Hands over to the next one. NULL is fine. */
void naq_scheduler_close(naq_scheduler *s);
bool naq_scheduler_leads(naq_scheduler *s); /* any thread; known a moment late */
const char *naq_scheduler_id_peek(const naq_scheduler *s);

#endif
