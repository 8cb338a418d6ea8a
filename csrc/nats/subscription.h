/* subscription.h -- a bounded subscription of a program, in one of two forms: its owner takes the
 * messages one by one, or they go into a dispatcher with those of others.
 *
 * It holds a reference of its own on the pooled connection, so it may outlive the handle it came
 * from. libnats subscribes again after a reconnect; what was published meanwhile is lost, as core
 * NATS has it. A message that does not fit is dropped, never one that waits already. */
#ifndef NAQ_NATS_SUBSCRIPTION_H
#define NAQ_NATS_SUBSCRIPTION_H

#include "nats/conn.h"
#include "nats/dispatcher.h"
#include "nats/message.h"

enum { NAQ_SUB_MESSAGES = 65536, NAQ_SUB_BYTES = 64 << 20 };

typedef struct naq_sub_options {
    const char *queue;  /* a queue group; NULL: none */
    int max_messages;   /* that may wait; 0: NAQ_SUB_MESSAGES, -1: no bound */
    int max_bytes;      /* 0: NAQ_SUB_BYTES, -1: no bound */
    int limit;          /* ends by itself after so many messages; 0: never */
    naq_dispatcher *to; /* NULL: taken with naq_sub_next() */
    uint32_t id;        /* what the dispatcher answers */
} naq_sub_options;

typedef struct naq_sub naq_sub;

/* [blocks a moment] When it returns, the server knows of it: a message published after that, by
 * whomever, is not missed. While there is no connection it is made all the same, and the server
 * hears of it with the reconnect. NAQ_INVALID, NAQ_PERMISSION, NAQ_CONNECTION. */
naq_status naq_sub_open(naq_sub **out, naq_conn *c, const char *subject, const naq_sub_options *o,
                        naq_err *err);
/* End it and free it. wait: [blocks] until the server has heard of it; without, for finalizers,
 * never waits. What was waiting is gone. NULL is fine. */
void naq_sub_close(naq_sub *s, bool wait);

/* NAQ_FORKED in another process than the one that connected, where nothing else may be called but a
 * close, which then does nothing. */
naq_status naq_sub_check(const naq_sub *s, naq_err *err);

/* [blocks] The next message, the caller's then. NAQ_TIMEOUT; NAQ_CLOSED after the last one of a
 * subscription that ended, or when the connection is closed for good; NAQ_PERMISSION.
 * timeout_ms -1: no limit. Not for one with a dispatcher. */
naq_status naq_sub_next(naq_sub *s, int64_t timeout_ms, naq_msg **m, naq_err *err);

/* [blocks while the connection is lost, a moment] End by itself once n messages have come, in all.
 * NAQ_CONNECTION: it did not come back. */
naq_status naq_sub_limit(naq_sub *s, int n, naq_err *err);
/* [blocks while the connection is lost, at most so long; -1: a moment] Ask the server for no more;
 * what has come, or is on its way, can still be taken. NAQ_CONNECTION: it did not come back. */
naq_status naq_sub_drain(naq_sub *s, int64_t timeout_ms, naq_err *err);

typedef struct naq_sub_stats {
    int64_t delivered, dropped; /* taken by its owner, refused */
    int64_t messages, bytes;    /* waiting now */
    bool active;                /* more may come */
} naq_sub_stats;
void naq_sub_look(naq_sub *s, naq_sub_stats *out);

#endif
