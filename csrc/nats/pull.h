/* pull.h -- one consumer's credit: how many messages have been asked for and not come yet.
 *
 * Overlapped pull requests on the hot connection: the next is sent when credit falls under half of
 * what is wanted, so that the server always has one to serve. Every request has an expiry, an idle
 * heartbeat and our own deadline, because a pull can go silent (2.9.10 does not answer for a
 * missing consumer, and may leave out the 408). I/O thread only. */
#ifndef NAQ_NATS_PULL_H
#define NAQ_NATS_PULL_H

#include <stdbool.h>
#include <stdint.h>

#include "nats/loop.h"

typedef struct naq_pull {
    naq_loop *loop;
    uint16_t index;         /* which pull of the loop's owner; part of the token */
    char consumer[140];     /* its durable name */
    char next_subject[320]; /* $JS.API.CONSUMER.MSG.NEXT.<stream>.<consumer> */

    uint32_t epoch;         /* part of the token: answers to requests given up on are not counted */
    int credit;             /* asked for, not delivered */
    int64_t pending;        /* left on the server, as the last message said */
    int64_t delivered_ms;   /* when a message last came */
    int64_t heard_ms;       /* when the server last said anything about it */
    int64_t asked_ms;       /* when the newest request was sent */
    int64_t expires_ms;     /* when the newest request ends by itself; 0: none is out */
    int64_t quiet_until_ms; /* backing off: no request before */
    int silences;           /* deadlines missed in a row */
    int64_t span_ms;        /* how long a request lives; 0: the usual time */
    bool sole;              /* nobody else reads: what the server says is left comes to us */
    bool gated;             /* asked by its queue's gate alone (gate.h) */
    bool missing;           /* the consumer is gone: the owner creates it again and clears this */
} naq_pull;

void naq_pull_init(naq_pull *p, naq_loop *loop, uint16_t index, const char *stream,
                   const char *consumer);

/* Have `want` messages under way: asks for more when credit is under half of it. */
void naq_pull_want(naq_pull *p, int want, int64_t now_ms);
/* Ask for so many more, whatever is under way. */
void naq_pull_more(naq_pull *p, int batch, int64_t now_ms);

/* How many are known to wait at the server. An ask that brought nothing for a moment has shown that
 * none does, whatever the last message said: others have had them, where there are others. */
int64_t naq_pull_waiting(naq_pull *p, int64_t now_ms);

/* A message came; pending is what its reply subject says is left. */
void naq_pull_delivered(naq_pull *p, int64_t pending, int64_t now_ms);

/* Whether the token of a status message is this pull's (its index), and what it says. */
static inline uint16_t naq_pull_index(uint32_t token) {
    return (uint16_t)(token >> 20);
}
void naq_pull_status(naq_pull *p, uint32_t token, int status, int64_t pending, const char *text,
                     int64_t now_ms);

/* Some request reached nobody, perhaps this one's (a consumer made a moment ago does not listen
 * yet): unless it was heard of since it asked, it asks again. */
void naq_pull_unheard(naq_pull *p, int64_t now_ms);

/* Give up on requests that went silent. True when the consumer now counts as missing. */
bool naq_pull_tick(naq_pull *p, int64_t now_ms);
/* When naq_pull_tick() or naq_pull_want() has something to do next; INT64_MAX: nothing. */
int64_t naq_pull_deadline(const naq_pull *p, int64_t now_ms);

/* After a reconnect: whatever was asked for is forgotten. */
void naq_pull_reset(naq_pull *p);

/* The parts of a delivery's reply subject: $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.
 * <consumer seq>.<time>.<pending>, or the longer form with a domain and an account. */
typedef struct naq_delivery {
    char consumer[140];
    int64_t delivered; /* 1: for the first time */
    uint64_t stream_seq;
    int64_t stored_us; /* when the stream took the message */
    int64_t pending;
} naq_delivery;
bool naq_delivery_parse(const char *reply, naq_delivery *out);

#endif
