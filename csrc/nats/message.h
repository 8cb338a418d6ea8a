/* message.h -- a received message: its parts, and what JetStream says about its delivery. One
 * thread at a time; never blocks. */
#ifndef NAQ_NATS_MESSAGE_H
#define NAQ_NATS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct __natsMsg naq_msg;

/* Borrowed; valid until the message is freed. */
const char *naq_msg_subject_peek(naq_msg *m);
const char *naq_msg_reply_peek(naq_msg *m); /* NULL: none */
const char *naq_msg_data_peek(naq_msg *m, size_t *len);

/* Every value of every header, those of one name one after the other. visit may leave by longjmp:
 * two lists of pointers are lost then. */
typedef void (*naq_header_visit)(void *ctx, const char *name, const char *value);
void naq_msg_headers(naq_msg *m, naq_header_visit visit, void *ctx);
/* The first value of one; NULL when there is none. */
const char *naq_msg_header_peek(naq_msg *m, const char *name);

/* What the reply subject of a message from a consumer tells:
 * $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, on newer
 * servers with domain and account in front of the stream. Slices point into the reply subject. */
typedef struct naq_delivery {
    const char *stream, *consumer;
    size_t stream_len, consumer_len;
    uint64_t delivered; /* from 1 */
    uint64_t stream_seq, consumer_seq;
    int64_t time_ns;  /* when it was stored, since the epoch */
    uint64_t pending; /* messages the consumer has after this one */
} naq_delivery;
bool naq_msg_delivery(naq_msg *m, naq_delivery *out);

void naq_msg_free(naq_msg *m); /* NULL is fine */

#endif
