/* crew.c -- take a job, run it, give it back; who does what, for those who ask; and new threads for
 * those that cannot be had back.
 *
 * A hand is one thread: it belongs to its seat until it is given up, then to itself. What hands
 * over is the timekeeper's callback give_up(): the old hand's attempt is copied to the new one,
 * which settles it before anything else. */
#include "run/crew.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

enum {
    SLOW_US = 50,  /* from here on a result is worth a wake-up of its own */
    PAUSE_MS = 200 /* between two tries to open a state, after a limit cost the last one */
};

typedef struct naq_hand {
    naq_seat *seat;
    naq_left *left;
    pthread_t thread;
    naq_vm *vm;
    naq_attempt attempt;
    bool inherits; /* attempt was given up by the seat's last hand, for this reason */
    naq_stop why;
    bool complained; /* the log says that its state cannot be opened */
    /* Under left->mu. */
    bool handed_over; /* nothing of this hand is needed by others any more */
    bool closed;      /* its state is closed */
    bool orphan;      /* nobody waited for that: the hand frees itself */
} naq_hand;

struct naq_seat {
    naq_crew *crew;
    pthread_mutex_t mu; /* guards doing, hand; above limits' generation: see set_doing() */
    naq_doing doing;
    naq_hand *hand;
};

/* Outlives the crew as long as a thread that was left may come back. */
struct naq_left {
    pthread_mutex_t mu; /* guards refs, and what is said so of all hands */
    pthread_cond_t changed;
    int refs;
    atomic_int n;
};

static naq_left *new_left(void) {
    naq_left *left = calloc(1, sizeof *left);
    if (left == NULL) return NULL;
    pthread_mutex_init(&left->mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&left->changed, &attr);
    pthread_condattr_destroy(&attr);
    left->refs = 1;
    return left;
}

static void release_left(naq_left *left) {
    if (left == NULL) return;
    pthread_mutex_lock(&left->mu);
    bool last = --left->refs == 0;
    pthread_mutex_unlock(&left->mu);
    if (!last) return;
    pthread_cond_destroy(&left->changed);
    pthread_mutex_destroy(&left->mu);
    free(left);
}

int naq_crew_left(naq_crew *crew) {
    return crew->left != NULL ? atomic_load_explicit(&crew->left->n, memory_order_relaxed) : 0;
}

/* The job's id and its generation change together, so that an interrupt by id hits that job. */
static void set_doing(naq_hand *h, const naq_slot *slot, int64_t now_us) {
    naq_seat *seat = h->seat;
    pthread_mutex_lock(&seat->mu);
    size_t n = 0;
    if (slot != NULL && !slot->bad_address) {
        n = slot->address.id.len;
        memcpy(seat->doing.id, slot->address.id.at, n);
        memcpy(seat->doing.queue, slot->address.queue.at, slot->address.queue.len);
        seat->doing.queue[slot->address.queue.len] = '\0';
        seat->doing.started_us = now_us;
    }
    seat->doing.id[n] = '\0';
    if (slot != NULL) naq_limits_begin(naq_vm_limits(h->vm));
    pthread_mutex_unlock(&seat->mu);
}

void naq_crew_look(naq_crew *crew, int index, naq_doing *out) {
    naq_seat *seat = &crew->seats[index];
    pthread_mutex_lock(&seat->mu);
    *out = seat->doing;
    pthread_mutex_unlock(&seat->mu);
}

bool naq_crew_interrupt(naq_crew *crew, const char *id, naq_stop why, int64_t advance_ms) {
    bool found = false;
    for (int i = 0; i < crew->n && !found; i++) {
        naq_seat *seat = &crew->seats[i];
        pthread_mutex_lock(&seat->mu);
        if (seat->hand != NULL && seat->hand->vm != NULL && *id != '\0' &&
            strcmp(seat->doing.id, id) == 0)
            found = naq_limits_announce(naq_vm_limits(seat->hand->vm), why, advance_ms);
        pthread_mutex_unlock(&seat->mu);
    }
    return found;
}

void naq_crew_cut_off(naq_crew *crew) {
    for (int i = 0; i < crew->n; i++) {
        naq_seat *seat = &crew->seats[i];
        pthread_mutex_lock(&seat->mu);
        if (seat->hand != NULL && seat->hand->vm != NULL)
            (void)naq_limits_interrupt(naq_vm_limits(seat->hand->vm), NAQ_STOP_CUT_OFF);
        pthread_mutex_unlock(&seat->mu);
    }
}

/* Running jobs */

/* A state to run jobs in. It is missing after a limit struck, and stays so while what job files do
 * at load fails: then this hand's jobs go back, to others who loaded them in time. */
static bool ready(naq_hand *h) {
    naq_err err;
    if (naq_vm_ready(h->vm, &err) == NAQ_OK) {
        h->complained = false;
        return true;
    }
    if (!h->complained)
        naq_log(NAQ_ERROR, "a thread has no Lua state: %s (%s); it is tried again", err.message,
                naq_status_code(err.status));
    h->complained = true;
    struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    nanosleep(&pause, NULL);
    return false;
}

static naq_slot *give_back(naq_hand *h, naq_slot *slot, bool slow) {
    naq_crew *crew = h->seat->crew;
    bool wake;
    naq_slot *next = naq_slots_swap(crew->bench.slots, slot, &wake);
    if (wake || slow) naq_loop_wake(crew->loop);
    return next;
}

/* Between two jobs, when job files were reloaded. False: the thread was given up meanwhile. */
static bool renew(naq_hand *h, bool *stopped) {
    naq_attempt *a = &h->attempt;
    naq_attempt_begin(a); /* for who may have to take it over */
    naq_stop why = naq_vm_renew(h->vm);
    *stopped = why != NAQ_STOP_NONE;
    if (!*stopped) set_doing(h, a->slot, a->started_us);
    return why != NAQ_STOP_STUCK;
}

/* False: the job was given up while it ran, and this hand with it. */
static bool run(naq_hand *h, naq_slot *slot) {
    while (slot != NULL) {
        naq_attempt *a = &h->attempt;
        bool stopped = false;
        a->slot = slot;
        a->started_us = a->finished_us = naq_wall_us();
        set_doing(h, slot, a->started_us);
        if (naq_vm_behind(h->vm) && !renew(h, &stopped)) return false;
        if (!stopped && ready(h)) {
            if (!naq_attempt_run(a)) return false;
        } else {
            slot->verdict = NAQ_VERDICT_RETURN;
        }
        slot = give_back(h, slot, a->finished_us - a->started_us > SLOW_US);
    }
    set_doing(h, NULL, 0);
    return true;
}

static naq_slot *inherit(naq_hand *h) {
    if (!h->inherits) return NULL;
    h->attempt.vm = h->vm;
    naq_attempt_give_up(&h->attempt, h->why);
    return give_back(h, h->attempt.slot, true);
}

static void report_opened(naq_crew *crew, naq_status status, const naq_err *err) {
    pthread_mutex_lock(&crew->mu);
    if (status != NAQ_OK && crew->status == NAQ_OK) {
        crew->status = status;
        crew->err = *err;
    }
    if (--crew->opening == 0) pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->mu);
}

/* The end of a thread that was left and came back after all. */
static void end_left(naq_hand *h) {
    naq_left *left = h->left;
    pthread_mutex_lock(&left->mu);
    while (!h->handed_over)
        pthread_cond_wait(&left->changed, &left->mu);
    pthread_mutex_unlock(&left->mu);
    naq_log(NAQ_INFO, "a thread that was left in a job came back and ends");
    naq_vm_close(h->vm);
    free(h);
    atomic_fetch_sub(&left->n, 1);
    release_left(left);
}

static void give_up(void *ctx, naq_stop why);

/* False: the hand was left. */
static bool work(naq_hand *h) {
    naq_crew *crew = h->seat->crew;
    naq_timekeeper_add(&crew->keeper, naq_vm_limits(h->vm), give_up, h);
    naq_slot *slot = inherit(h);
    do {
        if (!run(h, slot)) return false;
    } while ((slot = naq_slots_take(crew->bench.slots)) != NULL);
    naq_timekeeper_remove(&crew->keeper, naq_vm_limits(h->vm));
    return true;
}

/* The state holds finalizers of jobs, which may not end: who closes the crew does not wait for
 * ever.
 */
static void end(naq_hand *h, naq_vm *vm) {
    naq_left *left = h->left;
    naq_vm_close(vm);
    pthread_mutex_lock(&left->mu);
    bool orphan = h->orphan;
    h->closed = true;
    pthread_cond_broadcast(&left->changed);
    pthread_mutex_unlock(&left->mu);
    if (!orphan) return;
    free(h);
    release_left(left);
}

static bool wait_until_closed(naq_hand *h) {
    naq_left *left = h->left;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += NAQ_GRACE_MS / 1000;
    pthread_mutex_lock(&left->mu);
    while (!h->closed && pthread_cond_timedwait(&left->changed, &left->mu, &until) == 0)
        ;
    bool closed = h->closed;
    if (!closed) {
        h->orphan = true;
        left->refs++;
    }
    pthread_mutex_unlock(&left->mu);
    return closed;
}

static void serve(naq_hand *h) {
    naq_crew *crew = h->seat->crew;
    naq_err err;
    naq_vm *vm = naq_vm_new(&crew->vm);
    naq_status status =
        vm != NULL ? NAQ_OK
                   : naq_fail(&err, NAQ_INVALID, "worker: no memory, or no signal, for a thread");
    pthread_mutex_lock(&h->seat->mu);
    h->vm = h->attempt.vm = vm;
    pthread_mutex_unlock(&h->seat->mu);
    if (!h->inherits) {
        if (status == NAQ_OK) status = naq_vm_ready(vm, &err);
        report_opened(crew, status, &err);
    } else if (status != NAQ_OK) {
        naq_log(NAQ_ERROR, "%s", err.message); /* its job's lease ends with the worker */
    }
    if (status == NAQ_OK && !work(h)) {
        end_left(h);
        return;
    }
    pthread_mutex_lock(&h->seat->mu); /* whoever stops jobs looks here */
    h->vm = NULL;
    pthread_mutex_unlock(&h->seat->mu);
    pthread_mutex_lock(&crew->mu); /* the crew is not touched behind this */
    if (--crew->working == 0) pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->mu);
    end(h, vm);
}

static void *hand_main(void *arg) {
    serve(arg);
    naq_thread_leave();
    return NULL;
}

/* Signals are the main thread's business: one that landed here would end in the middle of a job. */
static bool start(naq_hand *h) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&h->thread, NULL, hand_main, h) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) pthread_setname_np(h->thread, "naq-lua");
    return started;
}

static naq_hand *new_hand(naq_seat *seat) {
    naq_hand *h = calloc(1, sizeof *h);
    if (h == NULL) return NULL;
    h->seat = seat;
    h->left = seat->crew->left;
    h->attempt.at = &seat->crew->bench;
    return h;
}

/* On the timekeeper's thread: the seat's job is stuck. From here on its thread touches neither the
 * slot nor the crew. */
static void give_up(void *ctx, naq_stop why) {
    naq_hand *old = ctx;
    naq_seat *seat = old->seat;
    naq_left *left = old->left;
    naq_log(NAQ_ERROR, "job %s cannot be stopped; its thread is left to itself", old->attempt.id);
    pthread_detach(old->thread);
    naq_hand *h = new_hand(seat);
    if (h != NULL) {
        h->inherits = true;
        h->why = why;
        h->attempt = old->attempt;
    }
    pthread_mutex_lock(&seat->mu);
    seat->hand = h;
    bool started = h != NULL && start(h);
    if (!started) seat->hand = NULL;
    pthread_mutex_unlock(&seat->mu);
    /* Without a thread the job stays where it is, and the worker ends: its lease moves it. */
    atomic_fetch_add(&left->n, started ? 1 : NAQ_LEFT_MAX);
    if (!started) {
        free(h);
        naq_crew *crew = seat->crew;
        pthread_mutex_lock(&crew->mu);
        if (--crew->working == 0) pthread_cond_broadcast(&crew->changed);
        pthread_mutex_unlock(&crew->mu);
    }
    naq_loop_wake(seat->crew->loop); /* it looks at how many were left */
    pthread_mutex_lock(&left->mu);
    left->refs++;
    old->handed_over = true;
    pthread_cond_broadcast(&left->changed);
    pthread_mutex_unlock(&left->mu);
}

/* Opening and closing */

static bool copy_strings(naq_crew *crew) {
    const char **const fields[] = {&crew->vm.path, &crew->vm.cpath, &crew->vm.runner};
    for (int i = 0; i < 3; i++) {
        if (*fields[i] == NULL) continue;
        *fields[i] = crew->strings[i] = strdup(*fields[i]);
        if (*fields[i] == NULL) return false;
    }
    return true;
}

static bool start_seat(naq_seat *seat) {
    naq_hand *h = new_hand(seat);
    if (h == NULL) return false;
    pthread_mutex_lock(&seat->mu); /* its thread comes here, too, and finds itself there */
    seat->hand = h;
    bool started = start(h);
    if (!started) {
        free(h);
        seat->hand = NULL;
    }
    pthread_mutex_unlock(&seat->mu);
    return started;
}

naq_status naq_crew_open(naq_crew *crew, int n, const naq_bench *bench, naq_loop *loop,
                         const naq_vm_options *vm, naq_err *err) {
    memset(crew, 0, sizeof *crew);
    crew->bench = *bench;
    crew->loop = loop;
    crew->vm = *vm;
    pthread_mutex_init(&crew->mu, NULL);
    pthread_cond_init(&crew->changed, NULL);
    naq_codebase_init(&crew->code);
    crew->vm.code = &crew->code;
    crew->left = new_left();
    crew->seats = calloc((size_t)n, sizeof *crew->seats);
    if (crew->seats == NULL || crew->left == NULL || !copy_strings(crew))
        return naq_fail(err, NAQ_INVALID, "worker: out of memory");
    naq_status status = naq_timekeeper_start(&crew->keeper, err);
    if (status != NAQ_OK) return status;
    crew->n = crew->opening = crew->working = n;
    for (int i = 0; i < n; i++) {
        naq_seat *seat = &crew->seats[i];
        seat->crew = crew;
        pthread_mutex_init(&seat->mu, NULL);
        if (start_seat(seat)) continue;
        pthread_mutex_lock(&crew->mu);
        crew->opening--;
        crew->working--;
        crew->status =
            naq_fail(&crew->err, NAQ_INVALID, "worker: no thread %d of %d to be had", i + 1, n);
        pthread_mutex_unlock(&crew->mu);
    }
    pthread_mutex_lock(&crew->mu);
    while (crew->opening > 0)
        pthread_cond_wait(&crew->changed, &crew->mu);
    *err = crew->err;
    status = crew->status;
    pthread_mutex_unlock(&crew->mu);
    return status;
}

void naq_crew_close(naq_crew *crew) {
    if (crew->bench.slots == NULL) return; /* never opened */
    pthread_mutex_lock(&crew->mu);
    while (crew->working > 0)
        pthread_cond_wait(&crew->changed, &crew->mu);
    pthread_mutex_unlock(&crew->mu);
    naq_timekeeper_stop(&crew->keeper);
    for (int i = 0; i < crew->n; i++) {
        naq_seat *seat = &crew->seats[i];
        naq_hand *h = seat->hand;
        pthread_mutex_destroy(&seat->mu);
        if (h == NULL) continue;
        pthread_t thread = h->thread; /* an orphan may be gone by now */
        if (wait_until_closed(h)) {
            pthread_join(thread, NULL);
            free(h);
        } else {
            naq_log(NAQ_WARNING, "a Lua state does not close: a finalizer of a job's does not end");
            pthread_detach(thread);
        }
    }
    free(crew->seats);
    for (int i = 0; i < 3; i++)
        free(crew->strings[i]);
    release_left(crew->left);
    naq_codebase_close(&crew->code);
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->mu);
    memset(crew, 0, sizeof *crew);
}
