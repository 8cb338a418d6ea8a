/* attempt.h -- one attempt at one job, on the thread that runs it: from a slot to a verdict.
 *
 * The success of a job that was delivered for the first time touches the network nowhere here: its
 * record leaves by the hot connection. Everything else (claims, retries, dead letters) is done
 * synchronously on the worker's ordinary connection, in the order that loses nothing. */
#ifndef NAQ_RUN_ATTEMPT_H
#define NAQ_RUN_ATTEMPT_H

#include "base/id.h"
#include "run/cancel.h"
#include "run/slot.h"
#include "run/vm.h"

/* What all attempts of a worker share; read only while it runs. */
typedef struct naq_bench {
    naq_conn *conn; /* the ordinary connection */
    const char *prefix;
    const char *worker_id;
    naq_slots *slots;
    naq_cancels *cancels;
    int max_crashes;
    double result_ttl; /* the default */
    size_t max_payload;
} naq_bench;

enum { NAQ_CLAIM_TEXT = 768 };

/* What an attempt knows about its job, gathered as it goes. Slices point into the slot's message.
 */
typedef struct naq_attempt {
    const naq_bench *at;
    naq_vm *vm;
    naq_slot *slot;
    naq_envelope job;
    char id[NAQ_ID_TEXT], queue[NAQ_ID_TEXT];
    int64_t enqueued_us, started_us, finished_us;
    bool found_record; /* the record was read before the run: slot->expected is its revision */
    bool alone;
    bool claimed;   /* a claim was written, in place of this: */
    int before_len; /* 0: nothing; -1: more than fits */
    char before[NAQ_CLAIM_TEXT];
    /* What the claim says of a job that is given up as crashed; empty otherwise. */
    char crashed_worker[128];
    int64_t crashed_us, crashed_starts;
    uint64_t old_letter; /* of an earlier start, for whoever buries the job; 0: none */
} naq_attempt;

/* a->slot and a->started_us are set: nothing else is known of the job yet. */
void naq_attempt_begin(naq_attempt *a);

/* Where a record of the job stands that is written without asking its definition: a claim, a retry,
 * a cancel. */
naq_result_class naq_attempt_class(const naq_attempt *a);

/* Run what a->slot holds, begun at a->started_us, and set its verdict. Its record is read first
 * where it is suspect, was delivered before, has a hop over 0 or was released late. False: the job
 * was given up as stuck meanwhile, and the attempt and its slot are another thread's. */
bool naq_attempt_run(naq_attempt *a);

/* Take over what an attempt became whose thread could not be stopped: a is a copy of its, with this
 * thread's own vm. */
void naq_attempt_give_up(naq_attempt *a, naq_stop why);

#endif
