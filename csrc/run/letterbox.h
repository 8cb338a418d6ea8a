/* letterbox.h -- dead letters that do not count, taken back.
 *
 * A letter is published before the record that says "failed". Whoever dies or is refused in between
 * leaves a letter of a job that was cancelled, or that ended otherwise in its next run. The job's
 * message is still there then, so the next one to get it looks here before it runs or drops it. */
#ifndef NAQ_RUN_LETTERBOX_H
#define NAQ_RUN_LETTERBOX_H

#include "run/attempt.h"

/* [blocks] The place of the job's letter, if its hop is within these; 0: there is none. */
naq_status naq_letterbox_look(const naq_attempt *a, int64_t first_hop, int64_t last_hop,
                              uint64_t *sequence, naq_err *err);

/* [blocks] Take back the letter in that place; 0 and a place that is empty are fine. */
naq_status naq_letterbox_take(const naq_attempt *a, uint64_t sequence, naq_err *err);

#endif
