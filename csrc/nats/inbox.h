/* inbox.h -- subscriptions that come and go on a shared connection, and many requests at once.
 * Any thread; all block on the network. */
#ifndef NAQ_NATS_INBOX_H
#define NAQ_NATS_INBOX_H

#include <nats/nats.h>

#include "base/json.h"
#include "nats/conn.h"

naq_status naq_subscribe(naq_conn *c, const char *subject, natsSubscription **out, naq_err *err);
/* The same with a thread of libnats' that calls on_message for each message, and over behind the
 * last. A process that ends waits for that thread (pool.c): what it frees after libnats' collector
 * has ended is left lying. Not NATS_OK: over is not called, and with *out set on_message may be. */
natsStatus naq_listen(naq_conn *c, const char *subject, const char *queue,
                      natsMsgHandler on_message, natsOnCompleteCB over, void *closure,
                      natsSubscription **out);
/* The only way to end one: libnats 3.4 crashes when a message arrives for a subscription that was
 * destroyed a moment ago. NULL is fine. */
void naq_unsubscribe(naq_conn *c, natsSubscription *sub);

/* The same for finalizers: never waits for the network. The subscription ends now, or, where the
 * connection is lost, as soon as it is back; its memory goes with the next naq_unsubscribe() or
 * naq_graves_free() on this connection, or with the connection. NULL is fine. */
void naq_unsubscribe_later(naq_conn *c, natsSubscription *sub);

/* A subscription that is over, or is to be, and may still be in the reader's hands. */
typedef struct naq_grave {
    natsSubscription *sub;
    bool ended;
    struct naq_grave *next;
} naq_grave;
/* Who is about to flush takes them before, and frees them after. */
naq_grave *naq_graves_take(naq_conn *c);
void naq_graves_free_all(naq_grave *first);
/* For the conn files, on libnats' thread: c is connected again. */
void naq_graves_settle(naq_conn *c);

/* One of several requests. */
typedef struct naq_ask {
    char subject[192];
    const void *data; /* borrowed */
    size_t len;
    natsMsg *answer; /* out; NULL: none came */
} naq_ask;

/* Send all n at once and wait until each has its answer, at most timeout_ms. An error when not all
 * came: NAQ_NO_JETSTREAM, NAQ_PERMISSION, NAQ_TIMEOUT, NAQ_CONNECTION; those that came stand in
 * asks all the same. */
naq_status naq_ask_all(naq_conn *c, naq_ask *asks, size_t n, int64_t timeout_ms, naq_err *err);
void naq_asks_free(naq_ask *asks, size_t n); /* the answers */
naq_slice naq_ask_answer(const naq_ask *ask);

/* One request that several answer: collect(ctx, data, len) for each, until it returns false or the
 * time is over, which is no error. */
naq_status naq_ask_many(naq_conn *c, const char *subject, const void *data, size_t len,
                        int64_t timeout_ms,
                        bool (*collect)(void *ctx, const char *data, size_t len), void *ctx,
                        naq_err *err);

#endif
