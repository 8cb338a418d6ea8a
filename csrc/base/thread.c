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
static pthread_key_t last_word; /* its destructor is what a thread of a library does last */
static bool has_last_word;
static int n_apart;

static void ended_here(void *arg) {
    (void)arg;
    naq_thread_unexpected();
}

static void init(void) {
    naq_cond_init(&none_left);
    has_last_word = pthread_key_create(&last_word, ended_here) == 0;
}

void naq_thread_expected(void) {
    pthread_once(&once, init);
    pthread_mutex_lock(&mu);
    n_apart++;
    pthread_mutex_unlock(&mu);
}

void naq_thread_unexpected(void) {
    pthread_mutex_lock(&mu);
    if (--n_apart == 0) pthread_cond_broadcast(&none_left);
    pthread_mutex_unlock(&mu);
}

void naq_thread_ends_here(void) {
    /* It says one last word, for the last of those that were expected of it. Where there is no room
     * for that it counts no longer, rather than for ever. */
    if (!has_last_word || pthread_getspecific(last_word) != NULL ||
        pthread_setspecific(last_word, &n_apart) != 0)
        naq_thread_unexpected();
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
    naq_thread_unexpected();
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
    naq_thread_expected();
    bool started = pthread_create(&thread, &attr, run, a) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (started) return true;
    naq_thread_unexpected();
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
