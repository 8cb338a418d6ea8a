/* crew.h -- the threads that run Lua: one state each, one job at a time.
 *
 * A thread whose job cannot be stopped is left: its seat goes to a new thread with a new state,
 * which first settles that job's attempt. The thread that was left owns nothing but its state and
 * itself; should its call ever return, it closes the one and ends. */
#ifndef NAQ_RUN_CREW_H
#define NAQ_RUN_CREW_H

#include "run/attempt.h"
#include "run/timekeeper.h"

/* So many threads left behind at the same time, and the worker has to end (worker.c): each keeps a
 * stack, a state and whatever its call holds. */
enum { NAQ_LEFT_MAX = 4 };

typedef struct naq_seat naq_seat;
typedef struct naq_left naq_left;

typedef struct naq_crew {
    naq_seat *seats;
    int n;
    naq_bench bench;
    naq_loop *loop; /* woken when results wait */
    naq_vm_options vm;
    char *strings[3];  /* vm's */
    naq_codebase code; /* the same */
    naq_timekeeper keeper;
    naq_left *left; /* shared with the threads that were left */

    pthread_mutex_t mu; /* guards opening, status, err, working */
    pthread_cond_t changed;
    int opening; /* threads whose state is not open yet */
    int working; /* threads that have a seat and have not ended */
    naq_status status;
    naq_err err; /* of the first that could not be opened */
} naq_crew;

/* [reads files] Start n threads; each opens its own state, all at the same time. Returns when all
 * have: NAQ_CONFIGURATION with the fault of the first that could not. */
naq_status naq_crew_open(naq_crew *crew, int n, const naq_bench *bench, naq_loop *loop,
                         const naq_vm_options *vm, naq_err *err);
/* Joins all that were not left: the slots must be shut. Safe after a failed open, and on a zeroed
 * struct. */
void naq_crew_close(naq_crew *crew);

/* What a seat's thread does now. Any thread. */
typedef struct naq_doing {
    char id[NAQ_ID_TEXT]; /* "" when idle */
    char queue[NAQ_ID_TEXT];
    int64_t started_us;
} naq_doing;
void naq_crew_look(naq_crew *crew, int seat, naq_doing *out);

/* Stop a job that runs here, if it does: its loops, coroutines and pcalls end within a millisecond,
 * a call into C when it returns, or it is given up. Its outcome is what `why` says: for
 * NAQ_STOP_CANCELLED none, so its record has to be written before. With advance_ms > 0
 * job:cancelled() turns true at once, and the job gets that long to end by itself. Any thread.
 * False: it does not run here, or is being stopped already. */
bool naq_crew_interrupt(naq_crew *crew, const char *id, naq_stop why, int64_t advance_ms);

/* Stop all jobs that run here, whatever they are: they go back to their queues. Once more does no
 * harm. */
void naq_crew_cut_off(naq_crew *crew);

/* Threads that were left and have not come back. Any thread. */
int naq_crew_left(naq_crew *crew);

#endif
