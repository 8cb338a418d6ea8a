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

/* How many there are. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t none_left;
static int n_apart;

static void init(void) {
    naq_cond_init(&none_left);
}

static void begun(void) {
    pthread_once(&once, init);
    pthread_mutex_lock(&mu);
    n_apart++;
    pthread_mutex_unlock(&mu);
}

static void ended(void) {
    pthread_mutex_lock(&mu);
    if (--n_apart == 0) pthread_cond_broadcast(&none_left);
    pthread_mutex_unlock(&mu);
}

void naq_thread_await_apart(int64_t ms) {
    struct timespec until = naq_cond_deadline(ms);
    pthread_once(&once, init);
    pthread_mutex_lock(&mu);
    while (n_apart > 0 && pthread_cond_timedwait(&none_left, &mu, &until) == 0)
        ;
    pthread_mutex_unlock(&mu);
}

static void *run(void *arg) {
    apart a = *(apart *)arg;
    free(arg);
    (void)a.body(a.arg);
    naq_thread_leave();
    ended();
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
    begun();
    bool started = pthread_create(&thread, &attr, run, a) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (started) return true;
    ended();
    free(a);
    return false;
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
