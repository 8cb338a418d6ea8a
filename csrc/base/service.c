/* service.c -- the one start/stop contract of the core's loops. */
#include "base/service.h"

#include <signal.h>
#include <string.h>

#include "base/thread.h"

void naq_service_init(naq_service *s, const char *name, void (*body)(naq_service *), void *ctx) {
    memset(s, 0, sizeof *s);
    s->name = name;
    s->body = body;
    s->ctx = ctx;
    pthread_mutex_init(&s->mu, NULL);
    naq_cond_init(&s->wake);
}

static void *thread_main(void *arg) {
    naq_service *s = arg;
    s->body(s);
    naq_thread_leave();
    return NULL;
}

naq_status naq_service_start(naq_service *s, naq_err *err) {
    pthread_mutex_lock(&s->mu);
    naq_status status = NAQ_OK;
    if (s->started || s->stopping) {
        status = naq_fail(err, NAQ_INVALID, "service %s was started before", s->name);
    } else {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&s->thread, NULL, thread_main, s) == 0) {
            pthread_setname_np(s->thread, s->name);
            s->started = true;
        } else {
            status = naq_fail(err, NAQ_INVALID, "service %s: no thread to be had", s->name);
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_mutex_unlock(&s->mu);
    return status;
}

bool naq_service_stopping(naq_service *s) {
    pthread_mutex_lock(&s->mu);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->mu);
    return stopping;
}

bool naq_service_sleep(naq_service *s, int64_t ms) {
    struct timespec until = naq_cond_deadline(ms);
    pthread_mutex_lock(&s->mu);
    /* One wait, not a loop: a nudge and a spurious wake-up both only make the body look again. */
    if (!s->stopping && !s->nudged) pthread_cond_timedwait(&s->wake, &s->mu, &until);
    s->nudged = false;
    bool on = !s->stopping;
    pthread_mutex_unlock(&s->mu);
    return on;
}

void naq_service_nudge(naq_service *s) {
    pthread_mutex_lock(&s->mu);
    s->nudged = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
}

void naq_service_stop(naq_service *s) {
    pthread_mutex_lock(&s->mu);
    s->stopping = true;
    bool join = s->started;
    s->started = false;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->mu);
    if (join) pthread_join(s->thread, NULL);
}
