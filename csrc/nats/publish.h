/* publish.h -- storing messages in JetStream from ordinary threads: one, or many with a window. */
#ifndef NAQ_NATS_PUBLISH_H
#define NAQ_NATS_PUBLISH_H

#include "nats/conn.h"

typedef naq_conn_header naq_header;

typedef struct naq_pub_ack {
    uint64_t sequence;
    bool duplicate; /* the server knew the Msg-Id, and it was not our own retry */
} naq_pub_ack;

/* [blocks] Publish and wait for the ack. On TIMEOUT, no responders or a lost connection it is sent
 * again with the same Msg-Id, 20 -> 250 ms apart, for timeout_ms (0: 30000) in all; with msg_id
 * NULL only when it cannot have been stored. headers may be NULL. Codes: NAQ_WRONG_REVISION
 * (10071), NAQ_DUPLICATE (10077), NAQ_STORAGE_FULL, NAQ_TOO_LARGE, NAQ_CONFIGURATION (no such
 * stream), NAQ_TIMEOUT, NAQ_CONNECTION, NAQ_PERMISSION.
 */
naq_status naq_publish(naq_conn *c, const char *subject, const char *msg_id,
                       const naq_header *headers, size_t n_headers, const void *data, size_t len,
                       int64_t timeout_ms, naq_pub_ack *ack, naq_err *err);

/* A bulk: push copies what it is given and blocks only while the window is full; finish waits for
 * all. done() is called once for each message, in no order, on the caller's thread inside push or
 * finish, with NAQ_OK or what became of it. push and finish fail only for what refuses every
 * message (no such stream, no JetStream, connection closed); all in flight are told first. A
 * message without a Msg-Id is never sent twice. One thread. */
typedef struct naq_bulk naq_bulk;
typedef void (*naq_bulk_done)(void *ctx, uint32_t index, naq_status status, const char *message,
                              bool duplicate);
naq_status naq_bulk_open(naq_bulk **out, naq_conn *c, naq_bulk_done done, void *ctx, naq_err *err);
/* Before the first push: the messages are for streams that have nothing to do with each other, so
 * one without a stream refuses only those of its subject. At most window (0: 4096) in flight, each
 * for timeout_ms (0: 30000). */
void naq_bulk_mix(naq_bulk *b, unsigned window, int64_t timeout_ms);
naq_status naq_bulk_push(naq_bulk *b, uint32_t index, const char *subject, const char *msg_id,
                         const naq_header *headers, size_t n_headers, const void *data, size_t len,
                         naq_err *err);
naq_status naq_bulk_finish(naq_bulk *b, naq_err *err);
/* Wait for all as finish does, but only so long: false when some are still in flight. */
bool naq_bulk_wait(naq_bulk *b, int64_t timeout_ms);
unsigned naq_bulk_in_flight(const naq_bulk *b);
void naq_bulk_close(naq_bulk *b);

#endif
