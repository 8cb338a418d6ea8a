/* past_run.h -- what has become of a run of a schedule, by its job's id. Blocks; one thread. */
#ifndef NAQ_RUN_PAST_RUN_H
#define NAQ_RUN_PAST_RUN_H

#include "base/id.h"
#include "nats/conn.h"
#include "nats/envelope.h"

/* The id of the run that was, or will be, due then. */
void naq_past_run_id(char out[NAQ_ID_TEXT], const char *schedule, int64_t due_ms);

/* Whether the job has left a record. One that waits, or runs for the first time, has none; nor has
 * one that completed and was to leave none. */
bool naq_past_run_recorded(naq_conn *c, const char *prefix, const char *job);

typedef enum naq_past_run {
    NAQ_PAST_RUN_ENDED, /* also when nothing is left of it */
    NAQ_PAST_RUN_GOES_ON,
    NAQ_PAST_RUN_UNKNOWN /* the server does not say */
} naq_past_run;
naq_past_run naq_past_run_look(naq_conn *c, const char *prefix, const char *queue,
                               naq_priority priority, const char *job);

#endif
