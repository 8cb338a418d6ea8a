/* crew.c -- take a job, run it, give it back; and what each thread is doing, for those who ask. */
#include "run/crew.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { SLOW_US = 50 }; /* from here on a result is worth a wake-up of its own */

struct naq_hand {
    naq_crew *crew;
    pthread_t thread;
    bool started;

    pthread_mutex_t mu; /* guards doing */
    naq_doing doing;
};

static void set_doing(naq_hand *h, const naq_slot *slot, int64_t now_us) {
    pthread_mutex_lock(&h->mu);
    size_t n = 0;
    if (slot != NULL && !slot->bad_address) {
        n = slot->address.id.len;
        memcpy(h->doing.id, slot->address.id.at, n);
        h->doing.started_us = now_us;
    }
    h->doing.id[n] = '\0';
    pthread_mutex_unlock(&h->mu);
}

void naq_crew_look(naq_crew *crew, int hand, naq_doing *out) {
    naq_hand *h = &crew->hands[hand];
    pthread_mutex_lock(&h->mu);
    *out = h->doing;
    pthread_mutex_unlock(&h->mu);
}

static void work(naq_hand *h, naq_vm *vm) {
    naq_crew *crew = h->crew;
    naq_slots *slots = crew->bench.slots;
    naq_attempt attempt = {.at = &crew->bench, .vm = vm};
    for (naq_slot *slot; (slot = naq_slots_take(slots)) != NULL; set_doing(h, NULL, 0)) {
        while (slot != NULL) {
            attempt.slot = slot;
            attempt.started_us = naq_wall_us();
            set_doing(h, slot, attempt.started_us);
            naq_attempt_run(&attempt);
            bool wake, slow = attempt.finished_us - attempt.started_us > SLOW_US;
            slot = naq_slots_swap(slots, slot, &wake);
            if (wake || slow) naq_loop_wake(crew->loop);
        }
    }
}

static void *hand_main(void *arg) {
    naq_hand *h = arg;
    naq_crew *crew = h->crew;
    naq_vm *vm = NULL;
    naq_err err;
    naq_status status = naq_vm_open(&vm, &crew->vm, &err);
    pthread_mutex_lock(&crew->mu);
    if (status != NAQ_OK && crew->status == NAQ_OK) {
        crew->status = status;
        crew->err = err;
    }
    if (--crew->opening == 0) pthread_cond_signal(&crew->opened);
    pthread_mutex_unlock(&crew->mu);
    if (status == NAQ_OK) work(h, vm);
    naq_vm_close(vm);
    return NULL;
}

/* Signals are the main thread's business: one that landed here would end in the middle of a job. */
static bool start(naq_hand *h) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    h->started = pthread_create(&h->thread, NULL, hand_main, h) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (h->started) pthread_setname_np(h->thread, "naq-lua");
    return h->started;
}

naq_status naq_crew_open(naq_crew *crew, int n, const naq_bench *bench, naq_loop *loop,
                         const naq_vm_options *vm, naq_err *err) {
    memset(crew, 0, sizeof *crew);
    crew->bench = *bench;
    crew->loop = loop;
    crew->vm = *vm;
    pthread_mutex_init(&crew->mu, NULL);
    pthread_cond_init(&crew->opened, NULL);
    crew->hands = calloc((size_t)n, sizeof *crew->hands);
    if (crew->hands == NULL) return naq_fail(err, NAQ_INVALID, "worker: out of memory");
    crew->n = crew->opening = n;
    for (int i = 0; i < n; i++) {
        naq_hand *h = &crew->hands[i];
        h->crew = crew;
        pthread_mutex_init(&h->mu, NULL);
        if (start(h)) continue;
        pthread_mutex_lock(&crew->mu);
        crew->opening--;
        crew->status =
            naq_fail(&crew->err, NAQ_INVALID, "worker: no thread %d of %d to be had", i + 1, n);
        pthread_mutex_unlock(&crew->mu);
    }
    pthread_mutex_lock(&crew->mu);
    while (crew->opening > 0)
        pthread_cond_wait(&crew->opened, &crew->mu);
    *err = crew->err;
    naq_status status = crew->status;
    pthread_mutex_unlock(&crew->mu);
    return status;
}

void naq_crew_close(naq_crew *crew) {
    if (crew->hands == NULL) return;
    for (int i = 0; i < crew->n; i++) {
        naq_hand *h = &crew->hands[i];
        if (h->started) pthread_join(h->thread, NULL);
        pthread_mutex_destroy(&h->mu);
    }
    free(crew->hands);
    pthread_cond_destroy(&crew->opened);
    pthread_mutex_destroy(&crew->mu);
    memset(crew, 0, sizeof *crew);
}
