/* claim.h -- may this delivery run? The job's record decides.
 *
 * A job delivered for the first time at hop 0 has no record and is run unasked. Everything else
 * reads the record first, from the stream's leader, and claims the job immediately before it runs
 * by writing {worker, starts} under the revision that was read: whoever held the job before, frozen
 * or slow, then fails its own write. */
#ifndef NAQ_RUN_CLAIM_H
#define NAQ_RUN_CLAIM_H

#include "run/attempt.h"

typedef enum naq_permit {
    NAQ_PERMIT_RUN,
    NAQ_PERMIT_DROP,   /* it has ended, and no letter says otherwise, or a later hop is on its way:
                          ack */
    NAQ_PERMIT_LEAVE,  /* somebody else took it, or the record cannot be read: do nothing */
    NAQ_PERMIT_CRASHED /* started too often without an outcome: a dead letter */
} naq_permit;

/* [blocks] claim: write the claim as well (a redelivery, a later hop). Sets slot->expected and
 * slot->result_class to those of the record found. When a claim without outcome was found that
 * is another worker's, the job is made to run alone (naq_slots_alone) and a->alone is set. A dead
 * letter that an earlier start left is taken back, or, of a crashed job, in a->old_letter. */
naq_permit naq_claim(naq_attempt *a, bool claim, naq_result_class preferred);

/* [blocks] The record is again what it was before the claim, if there was one: this start is not
 * counted. */
void naq_claim_undo(naq_attempt *a);

/* [blocks] The same question without consequences: NAQ_PERMIT_RUN, NAQ_PERMIT_DROP, or
 * NAQ_PERMIT_LEAVE when the record cannot be read. */
naq_permit naq_claim_look(naq_attempt *a);

typedef enum naq_standing {
    NAQ_STANDING_OURS,
    NAQ_STANDING_LOST, /* another worker has claimed or ended the job since, or it was cancelled */
    NAQ_STANDING_UNKNOWN /* the record cannot be read */
} naq_standing;

/* [blocks] Whether the record still has the revision that slot->expected says. */
naq_standing naq_claim_standing(naq_attempt *a);

#endif
