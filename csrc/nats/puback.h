/* puback.h -- what JetStream answers to a publish, and what silence means. For the files of
 * csrc/nats that publish. Any thread. */
#ifndef NAQ_NATS_PUBACK_H
#define NAQ_NATS_PUBACK_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "nats/publish.h"

typedef enum naq_verdict {
    NAQ_STORED,
    NAQ_REFUSED,       /* err says why; asking again changes nothing */
    NAQ_ASK_AGAIN,     /* the cluster cannot answer now; err says why */
    NAQ_NO_RESPONDERS, /* nobody listens on the subject: naq_stream_check() tells why */
} naq_verdict;

/* Read the answer to a publish to `subject`. NAQ_STORED sets ack, its `duplicate` as the server
 * says it; NAQ_REFUSED and NAQ_ASK_AGAIN set err. */
naq_verdict naq_puback_read(natsMsg *answer, const char *subject, naq_pub_ack *ack, naq_err *err);

/* [blocks] After "no responders": is there a stream for this subject at all? NAQ_OK: there is one,
 * without a leader for the moment, or nobody can tell; NAQ_CONFIGURATION: none;
 * NAQ_NO_JETSTREAM: JetStream itself does not answer. */
naq_status naq_stream_check(natsConnection *nc, const char *subject, int64_t timeout_ms,
                            naq_err *err);

/* A message with the header Nats-Msg-Id where msg_id is not NULL. */
natsStatus naq_publish_make(natsMsg **out, const char *subject, const char *reply,
                            const char *msg_id, const void *data, size_t len);

#endif
