/* events.c -- a ring of numbered events, their counts, and who is woken by them. */
#include "nats/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"

enum { EPISODE_MS = 5000 };

static const char *const NAMES[NAQ_EVENT_KINDS] = {
    [NAQ_EVENT_DISCONNECTED] = "disconnected",
    [NAQ_EVENT_RECONNECTED] = "reconnected",
    [NAQ_EVENT_SLOW_CONSUMER] = "slow_consumer",
    [NAQ_EVENT_LAME_DUCK] = "lame_duck",
    [NAQ_EVENT_CLOSED] = "closed",
    [NAQ_EVENT_ERROR] = "error",
};

const char *naq_event_name(naq_event_kind kind) {
    return NAMES[kind];
}

void naq_events_init(naq_events *e) {
    memset(e, 0, sizeof *e);
    pthread_mutex_init(&e->mu, NULL);
    naq_cond_init(&e->more);
}

void naq_events_destroy(naq_events *e) {
    pthread_cond_destroy(&e->more);
    pthread_mutex_destroy(&e->mu);
}

/* Whether this is told already and still goes on. Else it takes the place of what is quiet longest,
 * or is the first of a crowd that finds none. */
static bool goes_on(naq_episodes *e, const char *text) {
    int64_t now = naq_mono_ms();
    struct naq_episode *oldest = &e->each[0];
    for (struct naq_episode *p = e->each; p < e->each + NAQ_EVENT_EPISODES; p++) {
        if (strcmp(p->text, text) == 0) {
            bool on = now - p->last_ms < EPISODE_MS;
            p->last_ms = now;
            return on;
        }
        if (p->last_ms < oldest->last_ms) oldest = p;
    }
    bool crowded = e->crowd_ms != 0 && now - e->crowd_ms < EPISODE_MS;
    if (crowded || (oldest->text[0] != '\0' && now - oldest->last_ms < EPISODE_MS)) {
        e->crowd_ms = now;
        return crowded;
    }
    (void)snprintf(oldest->text, sizeof oldest->text, "%s", text);
    oldest->last_ms = now;
    return false;
}

void naq_events_add(naq_events *e, naq_event_kind kind, naq_level level, const char *fmt, ...) {
    char text[sizeof e->ring[0].text];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);

    bool repeats = kind == NAQ_EVENT_SLOW_CONSUMER || kind == NAQ_EVENT_ERROR;
    pthread_mutex_lock(&e->mu);
    if (repeats && goes_on(&e->episodes[kind], text)) {
        pthread_mutex_unlock(&e->mu);
        return;
    }
    naq_event *event = &e->ring[++e->last % NAQ_EVENTS_KEPT];
    event->number = e->last;
    event->kind = kind;
    event->at_us = naq_wall_us();
    memcpy(event->text, text, sizeof text);
    e->counts[kind]++;
    for (naq_listener *l = e->listeners; l != NULL; l = l->next)
        l->wake(l->ctx);
    pthread_cond_broadcast(&e->more);
    pthread_mutex_unlock(&e->mu);
    naq_log(level, "nats: %s", text);
}

uint64_t naq_events_last(naq_events *e) {
    pthread_mutex_lock(&e->mu);
    uint64_t last = e->last;
    pthread_mutex_unlock(&e->mu);
    return last;
}

uint64_t naq_events_count(naq_events *e, naq_event_kind kind) {
    pthread_mutex_lock(&e->mu);
    uint64_t n = e->counts[kind];
    pthread_mutex_unlock(&e->mu);
    return n;
}

bool naq_events_next(naq_events *e, uint64_t *seen, naq_event *out) {
    pthread_mutex_lock(&e->mu);
    uint64_t next = *seen + 1;
    if (e->last >= NAQ_EVENTS_KEPT && next <= e->last - NAQ_EVENTS_KEPT)
        next = e->last - NAQ_EVENTS_KEPT + 1;
    bool there = next <= e->last;
    if (there) {
        *out = e->ring[next % NAQ_EVENTS_KEPT];
        *seen = next;
    }
    pthread_mutex_unlock(&e->mu);
    return there;
}

bool naq_events_wait(naq_events *e, uint64_t seen, int64_t ms) {
    struct timespec until = naq_cond_deadline(ms);
    int over = 0;
    pthread_mutex_lock(&e->mu);
    while (e->last <= seen && over == 0)
        over = pthread_cond_timedwait(&e->more, &e->mu, &until);
    bool there = e->last > seen;
    pthread_mutex_unlock(&e->mu);
    return there;
}

void naq_events_listen(naq_events *e, naq_listener *l) {
    pthread_mutex_lock(&e->mu);
    l->next = e->listeners;
    e->listeners = l;
    pthread_mutex_unlock(&e->mu);
}

void naq_events_unlisten(naq_events *e, naq_listener *l) {
    pthread_mutex_lock(&e->mu);
    for (naq_listener **at = &e->listeners; *at != NULL; at = &(*at)->next) {
        if (*at != l) continue;
        *at = l->next;
        break;
    }
    pthread_mutex_unlock(&e->mu);
}
