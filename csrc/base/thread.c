/* thread.c -- detached threads, and conditions on the monotonic clock. */
#include "base/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

static void (*_Atomic at_end)(void);

void naq_thread_at_end(void (*forget)(void)) {
    atomic_store(&at_end, forget);
}

void naq_thread_leave(void) {
    void (*forget)(void) = atomic_load(&at_end);
    if (forget != NULL) forget();
}

typedef struct apart {
    void *(*body)(void *);
    void *arg;
} apart;

static void *run(void *arg) {
    apart a = *(apart *)arg;
    free(arg);
    (void)a.body(a.arg);
    naq_thread_leave();
    return NULL;
}

bool naq_thread_apart(void *(*body)(void *), void *arg) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    apart *a = malloc(sizeof *a);
    if (a == NULL) return false;
    *a = (apart){body, arg};
    if (pthread_attr_init(&attr) != 0) {
        free(a);
        return false;
    }
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attr, run, a) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (!started) free(a);
    return started;
}

void naq_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* a clock step must not stretch a wait */
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

struct timespec naq_cond_deadline(int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}
