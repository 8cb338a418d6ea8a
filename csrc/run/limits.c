/* limits.c -- the reason to stop, the hook that carries it out, the memory cap.
 *
 * state: generation << 8 | BEGUN | RUNNING | BORROWING | reason. Every change but begin is one
 * atomic step from what was seen.
 *
 *   idle --begin--> begun --enter--> running --leave--> idle
 *                     |                |  reason set
 *                     | reason set     v
 *                     +--enter--x    stopping --finish--> idle
 *                                      | a grace time (timekeeper.h)
 *                                      v
 *                                    stuck: the thread owns nothing any more
 */
#include "run/limits.h"

#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/patience.h"
#include "run/coroutine.h"
#include "run/timekeeper.h"

enum {
    BEGUN = 0x80,
    RUNNING = 0x40,
    BORROWING = 0x20,
    REASON = 0x0F,
    GENERATION_SHIFT = 8,
    STEP = 1000, /* instructions between two looks at max_instructions */
    WHERE_LEVELS = 16
};

/* What the signal handler and the hook, which get no argument of ours, look at. Touched by
 * naq_limits_open() before the first signal can come: a handler must not be the first to ask for a
 * thread's own variables. */
static __thread naq_limits *mine;

/* The signal: process-wide, as its handler is. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int signal_number;

static naq_stop reason_of(uint64_t state) {
    return (naq_stop)(state & REASON);
}

/* Where the job stands, as luaL_traceback would say it, but without a single allocation: this runs
 * while memory is out, too. */
static void note_where(naq_limits *l, lua_State *L) {
    if (l->where[0] != '\0') return;
    size_t len = (size_t)snprintf(l->where, sizeof l->where, "stack traceback:");
    lua_Debug ar;
    for (int level = 0; level < WHERE_LEVELS && lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sln", &ar)) break;
        char line[160];
        int n = snprintf(line, sizeof line, "\n\t%s:", ar.short_src);
        if (ar.currentline > 0)
            n += snprintf(line + n, sizeof line - (size_t)n, "%d:", ar.currentline);
        n += snprintf(line + n, sizeof line - (size_t)n, " in ");
        if (ar.name != NULL)
            (void)snprintf(line + n, sizeof line - (size_t)n, "%s '%.60s'", ar.namewhat, ar.name);
        else if (*ar.what == 'C')
            (void)snprintf(line + n, sizeof line - (size_t)n, "?");
        else if (*ar.what == 'm')
            (void)snprintf(line + n, sizeof line - (size_t)n, "main chunk");
        else
            (void)snprintf(line + n, sizeof line - (size_t)n, "function <%.60s:%d>", ar.short_src,
                           ar.linedefined);
        n = (int)strlen(line);
        if (len + (size_t)n >= sizeof l->where) break;
        memcpy(l->where + len, line, (size_t)n + 1);
        len += (size_t)n;
    }
}

/* lua_error() with the very string that Lua has for memory errors raises one of those: it calls no
 * message handler. So an xpcall whose handler never returns is left as well. The collector stands
 * still from here on, or it would run finalizers of the job, in which no hook is called. */
static int raise_stop(lua_State *L) {
    lua_gc(L, LUA_GCSTOP);
    lua_pushliteral(L, "not enough memory");
    return lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *ar);

/* Count 1: raises at every instruction, so that a pcall in a loop gets nowhere. */
static void hook_all(naq_limits *l) {
    for (naq_frame *f = l->frames; f != NULL; f = f->outer)
        lua_sethook(f->L, on_count, LUA_MASKCOUNT, 1);
}

/* The hook of a job that nobody stopped: is there a reason by now? */
static naq_stop look_again(naq_limits *l, lua_State *L, bool running) {
    if (running && l->refused) return NAQ_STOP_MEMORY; /* and the job caught the error */
    if (!running || l->ceilings.instructions == 0) {
        lua_sethook(L, NULL, 0, 0); /* also of a coroutine that outlived a job that was counted */
        return NAQ_STOP_NONE;
    }
    int step = lua_gethookcount(L);
    l->counted += step;
    if (l->counted >= l->ceilings.instructions) return NAQ_STOP_INSTRUCTIONS;
    if (step != l->step) lua_sethook(L, on_count, LUA_MASKCOUNT, l->step);
    return NAQ_STOP_NONE;
}

static void on_count(lua_State *L, lua_Debug *ar) {
    (void)ar;
    naq_limits *l = mine;
    uint64_t state = atomic_load(&l->state);
    if (reason_of(state) == NAQ_STOP_NONE) {
        naq_stop why = look_again(l, L, (state & RUNNING) != 0);
        if (why == NAQ_STOP_NONE) return;
        naq_limits_interrupt(l, why);
        hook_all(l);
    }
    note_where(l, L);
    (void)raise_stop(L);
}

static void on_signal(int number) {
    (void)number;
    naq_limits *l = mine;
    if (l == NULL) return;
    uint64_t state = atomic_load(&l->state);
    if (state & RUNNING && reason_of(state) != NAQ_STOP_NONE) hook_all(l);
}

/* The first real-time signal that nobody in this process uses. */
static void choose_signal(void) {
    for (int number = SIGRTMIN + 3; number <= SIGRTMAX; number++) {
        struct sigaction before;
        if (sigaction(number, NULL, &before) != 0 || before.sa_handler != SIG_DFL) continue;
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        sigemptyset(&action.sa_mask);
        if (sigaction(number, &action, NULL) != 0) continue;
        signal_number = number;
        return;
    }
}

/* A call of ours that waits, inside the job. Behind the call the hook is waiting. */
static bool told_to_stop(void *ctx) {
    const naq_limits *l = ctx;
    uint64_t state = atomic_load(&l->state);
    return state & RUNNING && reason_of(state) != NAQ_STOP_NONE;
}

bool naq_limits_open(naq_limits *l) {
    memset(l, 0, sizeof *l);
    atomic_store(&l->deadline_ms, INT64_MAX);
    atomic_store(&l->cpu_deadline_ms, INT64_MAX);
    atomic_store(&l->cancel_ms, INT64_MAX);
    l->cap = SIZE_MAX;
    l->tid = (pid_t)syscall(SYS_gettid);
    pthread_once(&once, choose_signal);
    if (signal_number == 0 || pthread_getcpuclockid(pthread_self(), &l->cpu_clock) != 0)
        return false;
    mine = l;
    naq_patience_ends(told_to_stop, l);
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, signal_number);
    return pthread_sigmask(SIG_UNBLOCK, &ours, NULL) == 0;
}

void naq_limits_close(naq_limits *l) {
    if (mine != l) return;
    mine = NULL;
    naq_patience_ends(NULL, NULL);
}

/* Memory */

/* After the first refusal Lua collects garbage and asks for the same once more, and nothing of the
 * job runs in between. Refused again, or refused without being asked again (buffers of the C
 * library's string functions do not), the job is over its limit, whatever it makes of the error. */
static void *refuse(naq_limits *l, const void *block, size_t bytes) {
    if (l->frames == NULL) return NULL;
    if (!l->refused || l->refused_block != block || l->refused_bytes != bytes) {
        l->refused = true;
        l->refused_block = block;
        l->refused_bytes = bytes;
        note_where(l, l->frames->L);
    } else {
        naq_limits_interrupt(l, NAQ_STOP_MEMORY);
    }
    hook_all(l);
    return NULL;
}

/* The same request came again, and this time there was room. */
static void forget_refusal(naq_limits *l, const void *block, size_t bytes) {
    if (l->refused_block != block || l->refused_bytes != bytes) return;
    l->refused = false;
    l->where[0] = '\0';
}

static void *allocate(void *ud, void *block, size_t before, size_t bytes) {
    naq_limits *l = ud;
    if (block == NULL) before = 0; /* it is a type's number then */
    if (bytes == 0) {
        l->used -= before;
        free(block);
        return NULL;
    }
    if (bytes > before && l->used - before + bytes > l->cap) return refuse(l, block, bytes);
    if (l->refused) forget_refusal(l, block, bytes);
    void *p = realloc(block, bytes);
    if (p == NULL) return NULL;
    l->used = l->used - before + bytes;
    return p;
}

void naq_limits_rebase(naq_limits *l, lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT);
    l->baseline = l->used;
}

/* Coroutines. The list is read by the signal handler, which sees it before or after a change. */

void naq_limits_push(naq_frame *f, lua_State *L) {
    naq_limits *l = mine;
    f->L = L;
    f->outer = l->frames;
    atomic_signal_fence(memory_order_seq_cst);
    l->frames = f;
    atomic_signal_fence(memory_order_seq_cst);
    /* One made before the stop, or by an earlier job, has no hook yet. A signal that comes from
     * here on finds it on the list. */
    if (reason_of(atomic_load(&l->state)) != NAQ_STOP_NONE)
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    else if (l->ceilings.instructions > 0 && lua_gethook(L) == NULL)
        lua_sethook(L, on_count, LUA_MASKCOUNT, l->step);
}

void naq_limits_pop(naq_frame *f) {
    mine->frames = f->outer;
    atomic_signal_fence(memory_order_seq_cst);
}

static int no_hooks(lua_State *L) {
    return luaL_error(L, "debug.sethook() is not for jobs: the worker stops them by a hook");
}

void naq_limits_attach(naq_limits *l, lua_State *L) {
    naq_coroutine_open(L);
    lua_getglobal(L, "debug");
    lua_pushcfunction(L, no_hooks);
    lua_setfield(L, -2, "sethook");
    lua_pop(L, 1);
    l->used = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
    l->baseline = 0;
    lua_setallocf(L, allocate, l);
}

/* A job's life */

void naq_limits_begin(naq_limits *l) {
    uint64_t generation =
        (atomic_load_explicit(&l->state, memory_order_relaxed) >> GENERATION_SHIFT) + 1;
    atomic_store_explicit(&l->cancelled, false, memory_order_relaxed);
    atomic_store_explicit(&l->looked, false, memory_order_relaxed);
    l->tidying = false;
    atomic_store_explicit(&l->cancel_ms, INT64_MAX, memory_order_relaxed);
    atomic_store_explicit(&l->state, generation << GENERATION_SHIFT | BEGUN, memory_order_release);
}

bool naq_limits_enter(naq_limits *l, lua_State *L) {
    uint64_t state = atomic_load(&l->state);
    if (!(state & BEGUN)) { /* a call outside of a crew */
        naq_limits_begin(l);
        state = atomic_load(&l->state);
    }
    l->where[0] = '\0';
    l->refused = false;
    l->main.L = L;
    l->main.outer = NULL;
    l->frames = &l->main;
    /* Once: it fails only when a reason has come. */
    return reason_of(state) == NAQ_STOP_NONE &&
           atomic_compare_exchange_strong(&l->state, &state, state | RUNNING | BORROWING);
}

void naq_limits_own(naq_limits *l) {
    atomic_fetch_and(&l->state, ~(uint64_t)BORROWING);
}

/* A limit of a thousand years is as good as none, and no arithmetic overflows with it. */
static int64_t ms_of(double seconds) {
    return 1 + (int64_t)((seconds < 3e10 ? seconds : 3e10) * 1000); /* never early */
}

void naq_limits_set(naq_limits *l, lua_State *L, const naq_ceilings *c) {
    l->ceilings = *c;
    if (c->memory > 0) {
        /* Garbage of earlier jobs is collected before anything is refused, so it may stand above
         * the baseline; what survives belongs to the state. */
        if (l->baseline == 0 || l->used > l->baseline + c->memory / 4) naq_limits_rebase(l, L);
        l->cap = c->memory < SIZE_MAX / 2 ? l->baseline + c->memory : SIZE_MAX;
    }
    if (c->instructions > 0) {
        l->counted = 0;
        l->step = c->instructions < STEP ? (int)c->instructions : STEP;
        lua_sethook(L, on_count, LUA_MASKCOUNT, l->step);
    }
    int64_t next = INT64_MAX;
    if (c->timeout > 0) {
        next = naq_mono_ms() + ms_of(c->timeout);
        atomic_store(&l->deadline_ms, next);
    }
    if (c->cpu > 0) {
        int64_t ms = ms_of(c->cpu);
        atomic_store(&l->cpu_deadline_ms, naq_limits_cpu_ms(l) + ms);
        /* No thread uses CPU faster than time passes. */
        int64_t at = naq_mono_ms() + ms;
        if (at < next) next = at;
    }
    if (next != INT64_MAX && l->keeper != NULL) naq_timekeeper_expect(l->keeper, next);
}

/* Back to what costs nothing. */
static void lift(naq_limits *l, lua_State *L) {
    const naq_ceilings *c = &l->ceilings;
    l->cap = SIZE_MAX;
    if (c->timeout > 0) atomic_store(&l->deadline_ms, INT64_MAX);
    if (c->cpu > 0) atomic_store(&l->cpu_deadline_ms, INT64_MAX);
    if (c->instructions > 0) lua_sethook(L, NULL, 0, 0);
    memset(&l->ceilings, 0, sizeof l->ceilings);
}

naq_stop naq_limits_leave(naq_limits *l, lua_State *L) {
    if (l->refused) naq_limits_interrupt(l, NAQ_STOP_MEMORY);
    uint64_t state = atomic_load(&l->state);
    if (reason_of(state) == NAQ_STOP_NONE &&
        atomic_compare_exchange_strong(&l->state, &state,
                                       state >> GENERATION_SHIFT << GENERATION_SHIFT)) {
        l->frames = NULL;
        if (memcmp(&l->ceilings, &(naq_ceilings){0}, sizeof l->ceilings) != 0) lift(l, L);
        return NAQ_STOP_NONE;
    }
    /* From here on no signal touches the state, which is about to be closed; hooks of its own must
     * not disturb that. */
    l->frames = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    lua_sethook(L, NULL, 0, 0);
    l->cap = SIZE_MAX;
    naq_limits_own(l);
    return reason_of(atomic_load(&l->state));
}

naq_stop naq_limits_finish(naq_limits *l) {
    uint64_t state = atomic_load(&l->state);
    do {
        if (reason_of(state) == NAQ_STOP_STUCK) return NAQ_STOP_STUCK;
    } while (!atomic_compare_exchange_weak(&l->state, &state,
                                           state >> GENERATION_SHIFT << GENERATION_SHIFT));
    atomic_store(&l->deadline_ms, INT64_MAX);
    atomic_store(&l->cpu_deadline_ms, INT64_MAX);
    memset(&l->ceilings, 0, sizeof l->ceilings);
    return reason_of(state);
}

/* From outside */

bool naq_limits_interrupt(naq_limits *l, naq_stop why) {
    uint64_t state = atomic_load(&l->state);
    do {
        if (!(state & BEGUN) || reason_of(state) != NAQ_STOP_NONE) return false;
    } while (!atomic_compare_exchange_weak(&l->state, &state, state | (uint64_t)why));
    if (state & RUNNING) {
        if (mine != l) naq_limits_signal(l);
        if (l->keeper != NULL) naq_timekeeper_expect(l->keeper, 0); /* its grace time begins */
    }
    return true;
}

/* The time is set before the job is told, so that one that asks just now finds it and puts it off.
 */
bool naq_limits_announce(naq_limits *l, naq_stop why, int64_t advance_ms) {
    if (advance_ms <= 0 || l->keeper == NULL) {
        atomic_store(&l->cancelled, true);
        return naq_limits_interrupt(l, why);
    }
    uint64_t state = atomic_load(&l->state);
    if (!(state & BEGUN) || reason_of(state) != NAQ_STOP_NONE) return false;
    int64_t at = naq_mono_ms() + (atomic_load(&l->looked) ? NAQ_TIDY_MS : advance_ms);
    int64_t none = INT64_MAX; /* told twice, it has the time it had */
    if (!atomic_compare_exchange_strong(&l->cancel_ms, &none, at)) return true;
    atomic_store(&l->cancelled, true);
    naq_timekeeper_expect(l->keeper, at);
    return true;
}

bool naq_limits_asked(naq_limits *l) {
    atomic_store(&l->looked, true);
    if (!atomic_load(&l->cancelled)) return false;
    if (!l->tidying) atomic_store(&l->cancel_ms, naq_mono_ms() + NAQ_TIDY_MS);
    l->tidying = true;
    return true;
}

naq_limits_view naq_limits_look(naq_limits *l) {
    naq_limits_view view = {.state = atomic_load(&l->state)};
    view.begun = (view.state & BEGUN) != 0;
    view.borrowing = (view.state & BORROWING) != 0;
    view.running = (view.state & RUNNING) != 0;
    view.why = reason_of(view.state);
    return view;
}

bool naq_limits_strike(naq_limits *l, naq_limits_view seen, naq_stop why) {
    uint64_t next = (seen.state & ~(uint64_t)REASON) | (uint64_t)why;
    return atomic_compare_exchange_strong(&l->state, &seen.state, next);
}

/* By thread id: a thread that has ended meanwhile is an error that means nothing. */
void naq_limits_signal(naq_limits *l) {
    (void)syscall(SYS_tgkill, getpid(), l->tid, signal_number);
}

int64_t naq_limits_cpu_ms(const naq_limits *l) {
    struct timespec t;
    if (clock_gettime(l->cpu_clock, &t) != 0) return 0;
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
