/* limits.h -- ceilings for one call in a Lua state, and the way to stop it from outside.
 *
 * Nothing is paid for a limit before it strikes: no hook is set, no timer runs. Whoever finds that
 * a job has to stop (the timekeeper, another thread that cancels it, the allocator) writes the
 * reason and sends the thread a real-time signal; its handler sets a hook on every coroutine that
 * is under way, which raises at each instruction until the job's call is left. The error is the one
 * that Lua raises when memory is out, because that one passes message handlers by; what the job
 * makes of it does not matter, since the reason decides what became of the attempt. A state in
 * which a limit struck is not used again.
 *
 * Only max_instructions has a price: a hook every thousand instructions, for the job that sets it.
 *
 * One struct a thread. Its life for one job: begin (a job is taken) -> enter (Lua runs from here
 * on) -> own (the job itself) -> leave or, once stopped, finish. */
#ifndef NAQ_RUN_LIMITS_H
#define NAQ_RUN_LIMITS_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "run/stop.h"

enum { NAQ_WHERE_MAX = 1536, NAQ_TIDY_MS = 5000 };

/* One Lua call inside another: the main state, and a coroutine for each resume under way. */
typedef struct naq_frame {
    lua_State *L;
    struct naq_frame *outer;
} naq_frame;

typedef struct naq_limits {
    /* Any thread. The generation of the job, whether Lua runs, and the reason to stop, in one word:
     * so a reason meant for one job never hits the next. */
    atomic_uint_least64_t state;
    atomic_bool cancelled; /* told to the job, which may stop by itself */
    atomic_bool looked;    /* it asks whether it is cancelled: it means to stop by itself */
    /* Valid while Lua runs; INT64_MAX: none. */
    atomic_int_least64_t deadline_ms;     /* monotonic */
    atomic_int_least64_t cpu_deadline_ms; /* of the thread's CPU clock */
    atomic_int_least64_t cancel_ms;       /* monotonic: announced for then */
    pid_t tid;
    clockid_t cpu_clock;
    naq_ceilings ceilings;         /* written before Lua runs */
    struct naq_timekeeper *keeper; /* NULL: nobody watches */

    /* The timekeeper's own, see there. */
    struct naq_limits *next;
    void (*given_up)(void *ctx, naq_stop why);
    void *ctx;
    uint64_t seen;
    int64_t looked_ms, waited_ms;

    /* The thread's own; frames are read by the signal handler as well. */
    naq_frame *volatile frames;
    naq_frame main;
    size_t used, cap, baseline;
    bool tidying; /* it was told, and has its time */
    bool refused; /* memory; and that request did not come again with more luck */
    const void *refused_block;
    size_t refused_bytes;
    int64_t counted;
    int step;
    char where[NAQ_WHERE_MAX]; /* a traceback, "" when nothing struck */
} naq_limits;

/* The calling thread becomes the one that l is about. False when no signal is to be had. */
bool naq_limits_open(naq_limits *l);
void naq_limits_close(naq_limits *l); /* its thread */
/* Another state begins its life: what it needs (naq.core's own coroutine functions, no
 * debug.sethook), its memory counted from here on. May raise; standard libraries are open. */
void naq_limits_attach(naq_limits *l, lua_State *L);
/* What is used now is the state's own: limits count from here. Collects garbage. */
void naq_limits_rebase(naq_limits *l, lua_State *L);

/* A coroutine begins to run inside what runs already, or ends. f is the caller's, between the two.
 */
void naq_limits_push(naq_frame *f, lua_State *L);
void naq_limits_pop(naq_frame *f);

/* A job is taken. From here on it can be stopped. */
void naq_limits_begin(naq_limits *l);
/* Lua runs from here on. False when the job was stopped before: it must not run. */
bool naq_limits_enter(naq_limits *l, lua_State *L);
/* From here on the call uses nothing that its caller lent it, so that it may be given up. */
void naq_limits_own(naq_limits *l);
/* The job's ceilings, once entered. */
void naq_limits_set(naq_limits *l, lua_State *L, const naq_ceilings *ceilings);
/* The call is over. NAQ_STOP_NONE: it ended by itself. Anything else: it was stopped, and stays
 * watched until naq_limits_finish(): close the state before that, which may run code of the job. */
naq_stop naq_limits_leave(naq_limits *l, lua_State *L);
/* NAQ_STOP_STUCK: closing took too long as well, the job is somebody else's by now. */
naq_stop naq_limits_finish(naq_limits *l);

/* Stop the job that runs, or is about to. Any thread, as long as l is there. False when there is
 * none, or it is being stopped already. The job's id is the caller's business (crew.h). */
bool naq_limits_interrupt(naq_limits *l, naq_stop why);

/* The same, told to the job (naq_limits_asked) at once and carried out in advance_ms; 0: now. A job
 * that has asked before, or asks within that time, gets NAQ_TIDY_MS. */
bool naq_limits_announce(naq_limits *l, naq_stop why, int64_t advance_ms);

/* The job asks whether it is to stop. Its thread only. */
bool naq_limits_asked(naq_limits *l);

/* The timekeeper's side. */
typedef struct naq_limits_view {
    uint64_t state;
    bool begun, running; /* Lua code */
    bool borrowing;
    naq_stop why;
} naq_limits_view;
naq_limits_view naq_limits_look(naq_limits *l);
/* From exactly what was seen; false when it changed since. */
bool naq_limits_strike(naq_limits *l, naq_limits_view seen, naq_stop why);
void naq_limits_signal(naq_limits *l);
int64_t naq_limits_cpu_ms(const naq_limits *l);

#endif
