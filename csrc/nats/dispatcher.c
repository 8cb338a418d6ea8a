/* dispatcher.c -- one list, one lock, one condition. */
#include "nats/dispatcher.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/patience.h"
#include "base/thread.h"

enum { LONGEST_MS = 3600 * 1000 };

typedef struct entry {
    struct entry *next;
    naq_lane *lane;
    naq_msg *m;
    int64_t bytes;
} entry;

struct naq_dispatcher {
    pthread_mutex_t mu; /* guards the rest, and all lanes; a leaf */
    pthread_cond_t filled;
    entry *first, **last;
    size_t n;
    bool woken;
    int holders;
};

naq_dispatcher *naq_dispatcher_new(void) {
    naq_dispatcher *d = calloc(1, sizeof *d);
    if (d == NULL) return NULL;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->filled, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&d->mu, NULL);
    d->last = &d->first;
    d->holders = 1;
    return d;
}

naq_dispatcher *naq_dispatcher_retain(naq_dispatcher *d) {
    pthread_mutex_lock(&d->mu);
    d->holders++;
    pthread_mutex_unlock(&d->mu);
    return d;
}

void naq_dispatcher_release(naq_dispatcher *d) {
    if (d == NULL) return;
    pthread_mutex_lock(&d->mu);
    bool last = --d->holders == 0;
    pthread_mutex_unlock(&d->mu);
    if (!last) return;
    while (d->first != NULL) {
        entry *e = d->first;
        d->first = e->next;
        naq_msg_free(e->m);
        free(e);
    }
    pthread_cond_destroy(&d->filled);
    pthread_mutex_destroy(&d->mu);
    free(d);
}

static bool has_room(const naq_lane *lane, int64_t bytes) {
    return !lane->closed && (lane->max_messages < 0 || lane->messages < lane->max_messages) &&
           (lane->max_bytes < 0 || lane->bytes + bytes <= lane->max_bytes);
}

naq_put naq_dispatcher_put(naq_dispatcher *d, naq_lane *lane, naq_msg *m) {
    size_t len;
    (void)naq_msg_data_peek(m, &len);
    entry *e = malloc(sizeof *e);
    naq_put result = NAQ_PUT_DROPPED;
    pthread_mutex_lock(&d->mu);
    if (e != NULL && has_room(lane, (int64_t)len)) {
        *e = (entry){.lane = lane, .m = m, .bytes = (int64_t)len};
        *d->last = e;
        d->last = &e->next;
        d->n++;
        lane->messages++;
        lane->bytes += e->bytes;
        lane->full = false;
        pthread_cond_signal(&d->filled);
        result = NAQ_PUT;
    } else if (!lane->closed) {
        if (!lane->full) result = NAQ_PUT_DROPPED_FIRST;
        lane->full = true;
        lane->dropped++;
    }
    pthread_mutex_unlock(&d->mu);
    if (result == NAQ_PUT) return result;
    free(e);
    naq_msg_free(m);
    return result;
}

void naq_lane_close(naq_dispatcher *d, naq_lane *lane) {
    entry *gone = NULL;
    pthread_mutex_lock(&d->mu);
    lane->closed = true;
    for (entry **at = &d->first; *at != NULL;) {
        entry *e = *at;
        if (e->lane != lane) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        if (e->next == NULL) d->last = at;
        e->next = gone;
        gone = e;
        d->n--;
    }
    lane->messages = lane->bytes = 0;
    pthread_mutex_unlock(&d->mu);
    while (gone != NULL) {
        entry *e = gone;
        gone = e->next;
        naq_msg_free(e->m);
        free(e);
    }
}

naq_lane naq_lane_look(naq_dispatcher *d, const naq_lane *lane) {
    pthread_mutex_lock(&d->mu);
    naq_lane now = *lane;
    pthread_mutex_unlock(&d->mu);
    return now;
}

void naq_dispatcher_wake(naq_dispatcher *d) {
    pthread_mutex_lock(&d->mu);
    d->woken = true;
    pthread_cond_signal(&d->filled);
    pthread_mutex_unlock(&d->mu);
}

size_t naq_dispatcher_wait(naq_dispatcher *d, int64_t timeout_ms) {
    int64_t end = naq_mono_ms() + timeout_ms;
    pthread_mutex_lock(&d->mu);
    while (d->n == 0 && !d->woken) {
        int64_t left = naq_patience_left(timeout_ms < 0 ? INT64_MAX : end);
        if (left <= 0) break;
        int64_t slice = naq_patience_slice(left < LONGEST_MS ? left : LONGEST_MS);
        struct timespec until = naq_cond_deadline(slice);
        (void)pthread_cond_timedwait(&d->filled, &d->mu, &until);
    }
    d->woken = false;
    size_t n = d->n;
    pthread_mutex_unlock(&d->mu);
    return n;
}

naq_msg *naq_dispatcher_take(naq_dispatcher *d, uint32_t *id) {
    naq_msg *m = NULL;
    pthread_mutex_lock(&d->mu);
    entry *e = d->first;
    if (e != NULL) {
        d->first = e->next;
        if (d->first == NULL) d->last = &d->first;
        d->n--;
        e->lane->messages--;
        e->lane->bytes -= e->bytes;
        e->lane->delivered++;
        *id = e->lane->id;
        m = e->m;
    }
    pthread_mutex_unlock(&d->mu);
    free(e);
    return m;
}
