/* dispatcher.h -- where messages of several subscriptions wait for the one thread that will handle
 * them.
 *
 * libnats' threads put messages in, the owner's thread takes them out; in between they are C data.
 * Counted: the owner holds it, and each subscription that delivers into it. Its lock is a leaf. */
#ifndef NAQ_NATS_DISPATCHER_H
#define NAQ_NATS_DISPATCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nats/message.h"

typedef struct naq_dispatcher naq_dispatcher;

/* One subscription's share of it. Plain data, zero at first; guarded by the dispatcher's lock. */
typedef struct naq_lane {
    uint32_t id;                     /* what naq_dispatcher_take() answers */
    int64_t max_messages, max_bytes; /* a message beyond is dropped; -1: no bound */
    int64_t messages, bytes;         /* waiting now */
    uint64_t delivered, dropped;     /* taken, refused */
    bool full;                       /* since the last one was dropped */
    bool closed;
} naq_lane;

naq_dispatcher *naq_dispatcher_new(void); /* NULL: out of memory */
naq_dispatcher *naq_dispatcher_retain(naq_dispatcher *d);
void naq_dispatcher_release(naq_dispatcher *d); /* NULL is fine */

typedef enum naq_put { NAQ_PUT, NAQ_PUT_DROPPED, NAQ_PUT_DROPPED_FIRST } naq_put;
/* Takes m. DROPPED_FIRST: the first one since there was room. */
naq_put naq_dispatcher_put(naq_dispatcher *d, naq_lane *lane, naq_msg *m);
/* What waits in it is freed, what comes later too. */
void naq_lane_close(naq_dispatcher *d, naq_lane *lane);
naq_lane naq_lane_look(naq_dispatcher *d, const naq_lane *lane);

/* End a wait, now or the next one. Any thread. */
void naq_dispatcher_wake(naq_dispatcher *d);
/* [blocks] Until a message is there, a wake, or the time is over (-1: no limit). How many messages
 * wait then. */
size_t naq_dispatcher_wait(naq_dispatcher *d, int64_t timeout_ms);
/* The oldest message, the caller's from now on; NULL when there is none. */
naq_msg *naq_dispatcher_take(naq_dispatcher *d, uint32_t *id);

#endif
