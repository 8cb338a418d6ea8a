/* release.h -- from due times to queues: what becomes of the jobs of the open buckets. I/O thread
 * only; never blocks.
 *
 *   delivered, headers only ──> heap of (due, sequence)
 *        5 s before it is due ──> its payload is asked for (direct get), within a budget of bytes
 *        due ──> published to its queue under its Msg-Id
 *        stored there ──> acked, when there is nothing more urgent
 *
 * A job that might have been released before is marked, so that the worker reads its record first:
 * one that is late, one that was due before this leadership began, one that is published again. */
#ifndef NAQ_RUN_RELEASE_H
#define NAQ_RUN_RELEASE_H

#include "run/bucket.h"
#include "run/heap.h"
#include "run/leader.h"
#include "run/withdrawn.h"

typedef struct naq_due naq_due; /* a job whose payload is here, or asked for */

typedef struct naq_release {
    naq_loop *loop;  /* to the queues */
    naq_loop *store; /* payloads and acks */
    naq_buckets *buckets;
    naq_errands *errands;
    const char *prefix;
    char get_subject[128];
    int64_t begun_ms; /* wall clock: this leadership */
    naq_heap far;     /* by due time: sequences */
    naq_heap near;    /* by due time: dues that can be published */
    naq_due *dues;
    uint32_t n_dues, cap_dues, free_due;
    size_t bytes;         /* payloads here and on their way */
    int gets, publishes;  /* under way */
    naq_heap_entry *acks; /* held back: place of the bucket, sequence */
    size_t n_acks, cap_acks;
    naq_withdrawn withdrawn;
    int64_t swept_ms, unheard_ms;
    bool more; /* there was more to do than one turn does */
    int64_t released, repeated;
} naq_release;

naq_status naq_release_open(naq_release *r, naq_loop *loop, naq_loop *store, naq_buckets *buckets,
                            naq_errands *errands, const char *prefix, naq_err *err);
void naq_release_close(naq_release *r); /* idempotent */

void naq_release_delivered(naq_release *r, naq_msg *m, int64_t now_ms);
/* Ask, publish, ack what there is to. Publishes only while the leader leads. */
void naq_release_turn(naq_release *r, const naq_leader *leader);
/* Wall clock, microseconds: when there is something to do next, as far as time tells. */
int64_t naq_release_alarm_us(const naq_release *r);
int64_t naq_release_deadline(const naq_release *r); /* monotonic; INT64_MAX: none */
void naq_release_answered(naq_release *r, uint32_t token, const naq_answer *answer);
void naq_release_replied(naq_release *r, uint32_t token, naq_msg *m);
void naq_release_unheard(naq_release *r, int64_t now_ms);
/* Somebody takes this job out of the store: before it is published, it is looked for once more. */
void naq_release_withdraw(naq_release *r, const char *id);
/* Send the acks that were held back. True when nothing is under way any more. */
bool naq_release_settle(naq_release *r);

#endif
