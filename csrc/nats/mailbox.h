/* mailbox.h -- where a thread waits for the answers to its publishes on a shared connection.
 *
 * A synchronous wildcard inbox, kept with the connection and used by one thread at a time. Against
 * libnats' own requests it saves a hand-over from thread to thread for each answer (a fifth more
 * publishes per second, one by one), and no subscription comes and goes with each call. */
#ifndef NAQ_NATS_MAILBOX_H
#define NAQ_NATS_MAILBOX_H

#include <nats/nats.h>

#include "nats/conn.h"

typedef struct naq_mailbox {
    natsSubscription *sub;
    char subject[112]; /* "<inbox>.", behind which epoch and token are written */
    size_t prefix_len;
    uint32_t epoch; /* which use of the mailbox this is: late answers to an earlier one are known */
    bool apart;     /* for one use: see naq_mailbox_open_apart() */
    struct naq_mailbox *next; /* among the idle ones of its connection */
} naq_mailbox;

/* Each acquire needs one release, before the connection is released. */
naq_status naq_mailbox_acquire(naq_mailbox **out, naq_conn *c, naq_err *err);
void naq_mailbox_release(naq_mailbox *box, naq_conn *c); /* NULL is fine */
/* One that nobody gets afterwards, released like the others. What a consumer delivers carries its
 * own subject instead of the address it was sent to, so it cannot be told from what an earlier user
 * of the mailbox asked for: here it counts as the answer to token 0, elsewhere it is dropped. */
naq_status naq_mailbox_open_apart(naq_mailbox **out, naq_conn *c, naq_err *err);
void naq_mailbox_free_all(naq_mailbox *first); /* for conn.c: the connection is closed */

/* The reply subject for token; valid until the next call. */
const char *naq_mailbox_address(naq_mailbox *box, uint32_t token);

/* [blocks] The next answer within wait_ms. NATS_OK with m (the caller's) and its token;
 * NATS_TIMEOUT; NATS_NO_RESPONDERS, of which libnats does not tell to what. */
natsStatus naq_mailbox_next(naq_mailbox *box, int64_t wait_ms, natsMsg **m, uint32_t *token);

/* [blocks] Send m, whose reply subject is the address of token, and wait for its answer. Of what
 * can go wrong, beside NATS_TIMEOUT and NATS_NO_RESPONDERS: NATS_CONNECTION_DISCONNECTED as soon as
 * the connection is lost (*sent tells whether m may have reached the server), NATS_NOT_PERMITTED as
 * soon as the server refuses the subject (err is filled). */
natsStatus naq_mailbox_ask(naq_mailbox *box, naq_conn *c, natsMsg *m, uint32_t token,
                           int64_t wait_ms, natsMsg **answer, bool *sent, naq_err *err);

#endif
