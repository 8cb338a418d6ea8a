/* outcome.h -- what became of an attempt, stored in the order that loses nothing.
 *
 *   success      the record, then the ack                     (the I/O thread does both)
 *   retry        the next hop in the delayed store, the record that says so, then the ack
 *   dead letter  naq_failed, then the terminal record, then the ack
 *
 * Whatever cannot be stored leaves the message un-acked: its lease runs out and it is delivered
 * again. What is too large to be stored is cut, so that no job stays for ever: its history first;
 * a job that cannot be sent on even so becomes a dead letter. */
#ifndef NAQ_RUN_OUTCOME_H
#define NAQ_RUN_OUTCOME_H

#include "run/attempt.h"

/* The value of a job that ended well becomes the slot's record. */
void naq_outcome_success(naq_attempt *a, const naq_did_what *what);

/* [blocks] A failed attempt: retried when its rules say so, else a dead letter. */
void naq_outcome_failure(naq_attempt *a, const naq_did_what *what);

/* [blocks] Later, at the cost of no attempt. */
void naq_outcome_snooze(naq_attempt *a, double seconds);

/* [blocks] A dead letter: its claims say that it ends no worker's run but the worker. */
void naq_outcome_crashed(naq_attempt *a);

/* [blocks] A dead letter now. traceback may be NULL. */
void naq_outcome_dead(naq_attempt *a, const char *reason, const char *code, const char *message,
                      const char *traceback);

#endif
