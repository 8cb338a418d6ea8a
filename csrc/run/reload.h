/* reload.h -- new job files for a worker that runs: proved on a thread of their own, then offered.
 *
 * The I/O thread asks for it and takes what came of it. A job file may do anything while it is
 * loaded, take for ever, too: nobody waits for the thread. */
#ifndef NAQ_RUN_RELOAD_H
#define NAQ_RUN_RELOAD_H

#include "nats/loop.h"
#include "run/vm.h"

typedef struct naq_trial naq_trial;

/* All functions: I/O thread. Zeroed: nothing is wanted. */
typedef struct naq_reload {
    const naq_vm_options *vm; /* of the worker's states */
    naq_loop *loop;           /* woken when a trial has ended */
    bool wanted;
    naq_trial *trial; /* under way */
} naq_reload;

void naq_reload_want(naq_reload *r);

typedef enum naq_reloaded {
    NAQ_RELOAD_NOTHING, /* nothing was wanted, or it takes its time */
    NAQ_RELOAD_PROVED,  /* *code, with a reference; jobs says their names */
    NAQ_RELOAD_BROKEN   /* err, with file and line */
} naq_reloaded;

/* Once a turn: begins a trial that is wanted, looks after the one under way. */
naq_reloaded naq_reload_turn(naq_reload *r, naq_code **code, char *jobs, size_t size, naq_err *err);
void naq_reload_close(naq_reload *r);

#endif
