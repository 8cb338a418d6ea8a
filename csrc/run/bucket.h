/* bucket.h -- the buckets of the delayed store that the leader reads: which are open, their
 * consumers, their pulls. I/O thread only; never blocks.
 *
 *   opening ──consumer made──> open ──over, empty, seen so by the server──> closed, forgotten
 *      ▲                        │ the consumer is gone, or left something unread
 *      └──── a new one ◄────────┴──> dead: its jobs in the heap are passed over
 *
 * Open are: the one that runs, the next one a little early, and all since the oldest that was not
 * closed yet. A bucket stays open for its own width after its end, for producers that are late.
 * What comes later still, stragglers.h finds. */
#ifndef NAQ_RUN_BUCKET_H
#define NAQ_RUN_BUCKET_H

#include "base/id.h"
#include "nats/pull.h"
#include "run/errand.h"

enum { NAQ_BUCKETS = 128 };

typedef enum naq_bucket_state {
    NAQ_BUCKET_FREE,
    NAQ_BUCKET_OPENING, /* its consumer is being made */
    NAQ_BUCKET_OPEN,
    NAQ_BUCKET_CLOSING, /* asked whether it is empty */
    NAQ_BUCKET_DEAD     /* waits until none of its jobs is held any more */
} naq_bucket_state;

typedef struct naq_bucket {
    naq_bucket_state state;
    int64_t number;
    naq_pull pull;                     /* knows the consumer's name */
    char ack_head[256], ack_tail[128]; /* of an ack's subject, before and behind the sequence */
    int64_t held;                      /* its jobs that were delivered and not acked */
    int64_t wanted, read;  /* how many it had when it was opened, or fewer; and came since */
    int64_t not_before_ms; /* of the next try to open, or to close it */
    int unanswered;        /* tries to make its consumer */
    bool replicated;       /* the last of them asked for one with replicas */
    int64_t missing_ms;    /* when its consumer was found gone; 0: not */
} naq_bucket;

typedef struct naq_buckets {
    naq_loop *loop;
    naq_errands *errands;
    const char *prefix;
    int64_t span_ms; /* of a request into a bucket that runs */
    bool clustered;
    bool replicated; /* the server wants consumers with as many replicas as the store has */
    char epoch[NAQ_ID_NEW + 1]; /* of this leadership: part of the consumers' names */
    naq_bucket all[NAQ_BUCKETS];
    int64_t oldest; /* not closed yet */
    int64_t newest; /* opened in its turn */
    bool stranger;  /* a consumer that is not ours keeps one from being made */
    bool skipped;   /* the clock went so far ahead that some were not opened */
} naq_buckets;

/* span_ms: a request whose end the server does not tell leaves a bucket unread for a second longer
 * than that at most. clustered: a consumer may be put on a server that has just died, and is then
 * made elsewhere. */
void naq_buckets_init(naq_buckets *b, naq_loop *loop, naq_errands *errands, const char *prefix,
                      int64_t span_ms, bool clustered);
/* Read from the oldest on. */
void naq_buckets_begin(naq_buckets *b, int64_t oldest, int64_t now_us);
/* Open what is due to be opened, ask for more, close what is over. confirmed_ms: our lease was sure
 * at that time. */
void naq_buckets_turn(naq_buckets *b, int64_t now_us, int64_t now_ms, int64_t confirmed_ms);
int64_t naq_buckets_deadline(const naq_buckets *b, int64_t now_ms); /* monotonic */
int64_t naq_buckets_alarm_us(const naq_buckets *b);                 /* wall: the next is opened */
/* Whether all that was there has been read. */
bool naq_buckets_read(const naq_buckets *b);

/* Open one out of its turn. False: it is open. */
bool naq_buckets_open(naq_buckets *b, int64_t number);

/* A delivery's bucket, NULL when it is none of ours; its sequence. */
naq_bucket *naq_buckets_delivered(naq_buckets *b, const char *reply, int64_t now_ms, uint64_t *seq);
void naq_buckets_pull_status(naq_buckets *b, uint32_t token, int status, int64_t pending,
                             const char *text, int64_t now_ms);
void naq_buckets_unheard(naq_buckets *b, int64_t now_ms);
/* Whether some consumer turned out to be gone: perhaps another one leads. */
bool naq_buckets_missing(const naq_buckets *b);

void naq_bucket_ack(naq_bucket *b, naq_loop *loop, uint64_t seq);

#endif
