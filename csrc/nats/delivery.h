/* delivery.h -- where a message of a consumer stands, read from its reply subject. Never blocks. */
#ifndef NAQ_NATS_DELIVERY_H
#define NAQ_NATS_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct naq_delivery {
    uint64_t sequence; /* in the stream */
    uint64_t consumer_sequence;
    int64_t time_us; /* stored at */
    int64_t left;    /* pending for the consumer after this one */
} naq_delivery;

/* False: not the reply subject of a delivered message. NULL is fine. */
bool naq_delivery_read(const char *reply, naq_delivery *out);

#endif
