/* fetch.h -- messages of a pull consumer, a batch at a time, on the caller's thread.
 *
 * Pull requests of our own into an inbox of our own: libnats 3.4.1's Fetch with more than one
 * message is unsafe. Holds a reference of its own on the pooled connection. One thread at a time.
 */
#ifndef NAQ_NATS_FETCH_H
#define NAQ_NATS_FETCH_H

#include "nats/conn.h"
#include "nats/message.h"

typedef struct naq_fetcher naq_fetcher;

/* stream and consumer are copied. Whether they exist is found out by fetching. */
naq_status naq_fetcher_open(naq_fetcher **out, naq_conn *c, const char *stream,
                            const char *consumer, naq_err *err);
/* As naq_sub_close(). What was delivered and not fetched is delivered again after its ack_wait. */
void naq_fetcher_close(naq_fetcher *f, bool wait);

/* [blocks] Up to n messages into out, which has room for them; how many in *got. As soon as there
 * is one, what the server has at hand is all that is waited for. None in the time is NAQ_OK with 0.
 * Errors, only when nothing came: NAQ_KEY_NOT_FOUND (no such consumer), NAQ_CONNECTION (no
 * connection when the time was over), NAQ_TIMEOUT (the server is mute), NAQ_PERMISSION,
 * NAQ_NO_JETSTREAM, NAQ_CONFIGURATION (it refuses the request; the sentence says why). */
naq_status naq_fetch(naq_fetcher *f, int n, int64_t timeout_ms, naq_msg **out, int *got,
                     naq_err *err);

#endif
