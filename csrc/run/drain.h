/* drain.h -- a worker that takes no more: quiet, draining, cutting off. Private to worker.c; all on
 * the I/O thread.
 *
 *   serving <--SIGTSTP, SIGCONT--> quiet
 *      `---------------.-------------'
 *                      v  SIGTERM, SIGINT, nothing left, ...
 *                  draining --shutdown timeout, second signal--> cutting off --> ended
 *                      `---------- all jobs are done ----------------------------^
 */
#ifndef NAQ_RUN_DRAIN_H
#define NAQ_RUN_DRAIN_H

#include "run/worker_state.h"

/* Once a turn: is it time to drain? */
void naq_drain_look(naq_worker *w, int64_t now);
/* Whether the worker's loop ends here; naq_drain_look() came before. Cuts jobs off when their time
 * is over. */
bool naq_drain_ended(naq_worker *w, int64_t now);
/* When one of the two has something to do. */
int64_t naq_drain_deadline(const naq_worker *w);

#endif
