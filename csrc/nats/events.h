/* events.h -- what happens to a connection by itself: logged once, counted, kept for whoever asks.
 *
 * libnats tells it on threads of its own, where no Lua may run. So it is numbered and put into a
 * ring; each Lua handle remembers the number it has seen and asks for what came after, on its own
 * thread. Who waits for events registers a listener, which wakes it. */
#ifndef NAQ_NATS_EVENTS_H
#define NAQ_NATS_EVENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

typedef enum naq_event_kind {
    NAQ_EVENT_DISCONNECTED,
    NAQ_EVENT_RECONNECTED,
    NAQ_EVENT_SLOW_CONSUMER, /* messages are being dropped */
    NAQ_EVENT_LAME_DUCK,     /* the server is about to shut down */
    NAQ_EVENT_CLOSED,        /* for good: given up, or closed with the pool */
    NAQ_EVENT_ERROR,         /* anything else the server complains of */
    NAQ_EVENT_KINDS
} naq_event_kind;

/* "disconnected", "slow_consumer" ...: the names that Lua sees. */
const char *naq_event_name(naq_event_kind kind);

typedef struct naq_event {
    uint64_t number; /* from 1 */
    naq_event_kind kind;
    int64_t at_us;  /* wall clock */
    char text[256]; /* a sentence */
} naq_event;

/* Owned by whoever listens; stays where it is until unlistened. wake runs on a thread of libnats,
 * with the events locked: it may set a flag and signal, under a lock of its own, nothing else. */
typedef struct naq_listener {
    void (*wake)(void *ctx);
    void *ctx;
    struct naq_listener *next;
} naq_listener;

enum { NAQ_EVENTS_KEPT = 32, NAQ_EVENT_EPISODES = 8 };

typedef struct naq_episodes { /* of what is reported again and again */
    struct naq_episode {
        char text[256]; /* "": none */
        int64_t last_ms;
    } each[NAQ_EVENT_EPISODES];
    int64_t crowd_ms; /* when there was last one more than places; 0: never */
} naq_episodes;

typedef struct naq_events {
    pthread_mutex_t mu; /* guards the rest; only listeners' own locks are taken under it */
    pthread_cond_t more;
    naq_event ring[NAQ_EVENTS_KEPT];
    uint64_t last; /* number of the newest */
    uint64_t counts[NAQ_EVENT_KINDS];
    naq_episodes episodes[NAQ_EVENT_KINDS];
    naq_listener *listeners;
} naq_events;

void naq_events_init(naq_events *e);
void naq_events_destroy(naq_events *e);

/* Any thread; logged at level. Slow consumers and errors that are told again within five seconds
 * are one event, as long as it goes on. Of more different ones at a time than NAQ_EVENT_EPISODES
 * only that many and one are told: a thousand refused publishes are not a thousand lines. */
void naq_events_add(naq_events *e, naq_event_kind kind, naq_level level, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

uint64_t naq_events_last(naq_events *e);
uint64_t naq_events_count(naq_events *e, naq_event_kind kind);
/* The next event after *seen, which is moved to it; false when there is none. Events that fell out
 * of the ring are passed over. */
bool naq_events_next(naq_events *e, uint64_t *seen, naq_event *out);

/* [blocks] Until there is one after seen; false when the time is over. */
bool naq_events_wait(naq_events *e, uint64_t seen, int64_t ms);

void naq_events_listen(naq_events *e, naq_listener *l);
/* When it returns, wake is not running and will not run. Harmless twice. */
void naq_events_unlisten(naq_events *e, naq_listener *l);

#endif
