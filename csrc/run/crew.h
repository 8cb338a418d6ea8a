/* crew.h -- the threads that run Lua: one state each, one job at a time. */
#ifndef NAQ_RUN_CREW_H
#define NAQ_RUN_CREW_H

#include "run/attempt.h"

typedef struct naq_hand naq_hand;

typedef struct naq_crew {
    naq_hand *hands;
    int n;
    naq_bench bench;
    naq_loop *loop; /* woken when results wait */
    naq_vm_options vm;

    pthread_mutex_t mu; /* guards opening, status, err */
    pthread_cond_t opened;
    int opening; /* threads whose state is not open yet */
    naq_status status;
    naq_err err; /* of the first that could not be opened */
} naq_crew;

/* [reads files] Start n threads; each opens its own state, all at the same time. Returns when all
 * have: NAQ_CONFIGURATION with the fault of the first that could not. vm's strings must stay until
 * close. */
naq_status naq_crew_open(naq_crew *crew, int n, const naq_bench *bench, naq_loop *loop,
                         const naq_vm_options *vm, naq_err *err);
/* Joins all: the slots must be shut. Safe after a failed open, and on a zeroed struct. */
void naq_crew_close(naq_crew *crew);

/* What a hand does now. Any thread. */
typedef struct naq_doing {
    char id[NAQ_ID_TEXT]; /* "" when idle */
    int64_t started_us;
} naq_doing;
void naq_crew_look(naq_crew *crew, int hand, naq_doing *out);

#endif
