/* bucket.c -- opening, reading and closing buckets of the delayed store. */
#include "run/bucket.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "nats/delayed.h"
#include "nats/nstatus.h"
#include "nats/reply.h"
#include "nats/stream.h"

static const int64_t WIDTH_US = INT64_C(1000) * NAQ_DELAYED_BUCKET_MS;
static const int64_t EARLY_US = 20 * INT64_C(1000000); /* the next bucket is opened so early */

enum {
    CREDIT = 32768,
    LIVE_CREDIT = 64, /* for what is put into the bucket from now on */
    PACE_MS = 20,
    PAST_SPAN_MS = 29000, /* the longest that has no heartbeat */
    CREATE_MS = 30000, /* making a consumer costs 0.3 s at a million messages, or many times that */
    ASK_MS = 5000,
    AGAIN_MS = 1000,
    CLOSE_LOOK_MS = 10000,
    /* A message that we hold must not come again: longer than any is held, however late. If we
     * die the next leader removes the consumer. */
    ACK_WAIT_S = 7 * 86400,
    /* The server removes a consumer that nobody reads any more. */
    ABANDONED_S = 300
};

void naq_buckets_init(naq_buckets *b, naq_loop *loop, naq_errands *errands, const char *prefix,
                      int64_t span_ms, bool clustered) {
    memset(b, 0, sizeof *b);
    b->loop = loop;
    b->errands = errands;
    b->prefix = prefix;
    b->span_ms = span_ms;
    b->clustered = clustered;
    b->oldest = b->newest = INT64_MAX;
    naq_id_new(b->epoch);
}

static int64_t number_at(int64_t us) {
    return us / WIDTH_US;
}

static naq_bucket *find(naq_buckets *b, int64_t number) {
    for (int i = 0; i < NAQ_BUCKETS; i++) {
        naq_bucket *k = &b->all[i];
        if (k->state != NAQ_BUCKET_FREE && k->state != NAQ_BUCKET_DEAD && k->number == number)
            return k;
    }
    return NULL;
}

bool naq_buckets_open(naq_buckets *b, int64_t number) {
    if (find(b, number) != NULL) return false;
    for (int i = 0; i < NAQ_BUCKETS; i++) {
        naq_bucket *k = &b->all[i];
        if (k->state != NAQ_BUCKET_FREE) continue;
        memset(k, 0, sizeof *k);
        k->state = NAQ_BUCKET_OPENING;
        k->number = number;
        return true;
    }
    return true; /* all places taken: it is asked for again, by its turn or as a straggler */
}

void naq_buckets_begin(naq_buckets *b, int64_t oldest, int64_t now_us) {
    b->oldest = oldest;
    b->newest = number_at(now_us);
    for (int64_t n = oldest; n <= b->newest; n++)
        (void)naq_buckets_open(b, n);
}

/* Making its consumer. The place in the table is part of the name, which comes with each delivery.
 */

static void remove_consumer(naq_buckets *b, naq_bucket *k) {
    char subject[320];
    if (k->pull.consumer[0] == '\0') return;
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.%s_delayed.%s", b->prefix,
                   k->pull.consumer);
    naq_loop_send(b->loop, subject, "", 0);
}

static void give_up(naq_buckets *b, naq_bucket *k) {
    remove_consumer(b, k);
    k->state = NAQ_BUCKET_DEAD;
}

static void made(void *ctx, int64_t index, naq_slice answer) {
    naq_buckets *b = ctx;
    naq_bucket *k = &b->all[index];
    char text[256] = "no answer";
    int js = answer.at != NULL ? naq_reply_error(answer, text, sizeof text) : -1;
    if (js == 0) {
        k->wanted = k->pull.pending = naq_reply_int(answer, "num_pending", 0);
        k->state = NAQ_BUCKET_OPEN;
        k->not_before_ms = 0; /* was the time for making it again */
        naq_log(NAQ_DEBUG, "bucket %" PRId64 " of the delayed store is open, jobs: %" PRId64,
                k->number, k->wanted);
        return;
    }
    if (js == NAQ_JS_REPLICAS_DIFFER && !k->replicated) {
        b->replicated = true;
        k->pull.consumer[0] = '\0';
        k->not_before_ms = 0;
        return;
    }
    naq_log(NAQ_WARNING, "bucket %" PRId64 " of the delayed store: its consumer was not made: %s",
            k->number, text);
    /* A work queue has no two consumers for one message: somebody else reads here. */
    b->stranger = b->stranger || js > 0;
    if (js < 0) {
        /* It may be on a dead server, and one of that name would stay there. */
        remove_consumer(b, k);
        k->unanswered++;
    }
    k->pull.consumer[0] = '\0';
}

static void make(naq_buckets *b, naq_bucket *k, int64_t now_ms) {
    int index = (int)(k - b->all);
    char stream[96], consumer[96], subject[320];
    (void)snprintf(stream, sizeof stream, "%s_delayed", b->prefix);
    (void)snprintf(consumer, sizeof consumer, "b%d_%" PRId64 "_%s_%d", index, k->number, b->epoch,
                   k->unanswered);
    naq_pull_init(&k->pull, b->loop, (uint16_t)index, stream, consumer);
    k->pull.sole = true;
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s", stream,
                   consumer);
    k->replicated = b->replicated;
    naq_buf request = {0};
    naq_buf_printf(&request,
                   "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"%s\","
                   "\"filter_subject\":\"%s.d.%" PRId64 ".*\",\"deliver_policy\":\"all\","
                   "\"ack_policy\":\"explicit\",\"ack_wait\":%lld,\"max_deliver\":-1,"
                   "\"max_ack_pending\":-1,\"replay_policy\":\"instant\",\"headers_only\":true,"
                   "\"mem_storage\":true,\"num_replicas\":%d,\"inactive_threshold\":%lld}}",
                   stream, consumer, b->prefix, k->number, ACK_WAIT_S * 1000000000LL,
                   k->replicated ? 0 : 1, ABANDONED_S * 1000000000LL);
    int64_t within = naq_consumer_patience(b->clustered, k->unanswered, CREATE_MS);
    k->not_before_ms = now_ms + within + AGAIN_MS;
    if (request.failed ||
        !naq_errand_send(b->errands, subject, request.data, request.len, within, made, b, index))
        k->pull.consumer[0] = '\0';
    naq_buf_free(&request);
}

static void turn_opening(naq_buckets *b, naq_bucket *k, int64_t now_ms) {
    if (k->pull.consumer[0] != '\0') return; /* under way */
    if (k->not_before_ms == 0 || now_ms >= k->not_before_ms)
        make(b, k, now_ms);
    else if (k->not_before_ms > now_ms + AGAIN_MS) /* it was refused a moment ago */
        k->not_before_ms = now_ms + AGAIN_MS;
}

/* Closing it */

static void store_oldest(naq_buckets *b) {
    char subject[160], value[64];
    (void)snprintf(subject, sizeof subject, "$KV.%s_control.scheduler.oldest", b->prefix);
    int n = snprintf(value, sizeof value, "%" PRId64, b->oldest);
    naq_loop_send(b->loop, subject, value, (size_t)n);
}

static void advance(naq_buckets *b, int64_t current) {
    int64_t before = b->oldest;
    while (b->oldest < current && find(b, b->oldest) == NULL)
        b->oldest++;
    if (b->oldest != before) store_oldest(b);
}

static void looked(void *ctx, int64_t index, naq_slice answer) {
    naq_buckets *b = ctx;
    naq_bucket *k = &b->all[index];
    if (k->state != NAQ_BUCKET_CLOSING) return;
    k->state = NAQ_BUCKET_OPEN;
    if (answer.at == NULL || naq_reply_member(answer, "config").at == NULL || k->held > 0) return;
    int64_t pending = naq_reply_int(answer, "num_pending", 1);
    int64_t unacked = naq_reply_int(answer, "num_ack_pending", 1);
    if (pending > 0) return;
    give_up(b, k);
    if (unacked == 0) {
        naq_log(NAQ_DEBUG, "bucket %" PRId64 " of the delayed store is closed", k->number);
        return;
    }
    /* Delivered, and not to us: it gets a new consumer, which delivers them again. */
    naq_log(NAQ_WARNING, "bucket %" PRId64 " of the delayed store: %" PRId64 " jobs are read again",
            k->number, unacked);
    (void)naq_buckets_open(b, k->number);
}

/* A message that is delivered as it is stored costs the server, and those who store, several times
 * of one that is read from a backlog. So when many come, what is asked for is little, and asked for
 * now and then: the rest gathers and is read in one go. */
static void read_on(naq_bucket *k, int64_t now_ms) {
    int64_t pending = k->pull.pending;
    if (pending > LIVE_CREDIT)
        naq_pull_want(&k->pull, pending < CREDIT ? (int)pending : CREDIT, now_ms);
    else if (now_ms >= k->pull.asked_ms + PACE_MS)
        naq_pull_want(&k->pull, LIVE_CREDIT, now_ms);
    else if (k->pull.quiet_until_ms < k->pull.asked_ms + PACE_MS)
        k->pull.quiet_until_ms = k->pull.asked_ms + PACE_MS;
}

static void turn_open(naq_buckets *b, naq_bucket *k, int64_t now_us, int64_t now_ms) {
    /* Into one that is past hardly anything comes: heartbeats would be most of it. */
    k->pull.span_ms = now_us < (k->number + 1) * WIDTH_US ? b->span_ms : PAST_SPAN_MS;
    (void)naq_pull_tick(&k->pull, now_ms);
    if (!k->pull.missing) {
        read_on(k, now_ms);
    } else if (k->missing_ms == 0) {
        k->missing_ms = now_ms;
    }
    bool over = now_us > (k->number + 2) * WIDTH_US || k->number < b->oldest;
    if (!over || k->held > 0 || now_ms < k->not_before_ms) return;
    k->not_before_ms = now_ms + CLOSE_LOOK_MS;
    char subject[320];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.INFO.%s_delayed.%s", b->prefix,
                   k->pull.consumer);
    if (naq_errand_send(b->errands, subject, "", 0, ASK_MS, looked, b, k - b->all))
        k->state = NAQ_BUCKET_CLOSING;
}

/* The turn */

void naq_buckets_turn(naq_buckets *b, int64_t now_us, int64_t now_ms, int64_t confirmed_ms) {
    if (b->newest == INT64_MAX) return; /* not begun */
    int64_t current = number_at(now_us), latest = number_at(now_us + EARLY_US);
    /* The clock may have been set far ahead: what was passed over is left to be found as
     * stragglers. Or back: then this bucket is read again. */
    if (latest > b->newest + NAQ_BUCKETS / 4) {
        b->newest = latest - NAQ_BUCKETS / 4;
        b->skipped = true;
    }
    if (current < b->oldest) b->oldest = current;
    while (b->newest < latest)
        (void)naq_buckets_open(b, ++b->newest);
    (void)naq_buckets_open(b, current);
    for (int i = 0; i < NAQ_BUCKETS; i++) {
        naq_bucket *k = &b->all[i];
        if (k->state == NAQ_BUCKET_OPENING) turn_opening(b, k, now_ms);
        if (k->state == NAQ_BUCKET_OPEN) turn_open(b, k, now_us, now_ms);
        if (k->missing_ms > 0 && k->state == NAQ_BUCKET_OPEN && confirmed_ms > k->missing_ms) {
            give_up(b, k);
            (void)naq_buckets_open(b, k->number);
        }
        if (k->state == NAQ_BUCKET_DEAD && k->held == 0) k->state = NAQ_BUCKET_FREE;
    }
    advance(b, current);
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t naq_buckets_deadline(const naq_buckets *b, int64_t now_ms) {
    int64_t at = INT64_MAX;
    for (int i = 0; i < NAQ_BUCKETS; i++) {
        const naq_bucket *k = &b->all[i];
        if (k->state == NAQ_BUCKET_OPENING && k->pull.consumer[0] == '\0')
            at = earlier(at, k->not_before_ms);
        if (k->state != NAQ_BUCKET_OPEN) continue;
        at = earlier(at, naq_pull_deadline(&k->pull, now_ms));
        if (k->number + 2 <= b->newest) at = earlier(at, now_ms + CLOSE_LOOK_MS);
    }
    return at;
}

int64_t naq_buckets_alarm_us(const naq_buckets *b) {
    return b->newest == INT64_MAX ? INT64_MAX : (b->newest + 1) * WIDTH_US - EARLY_US;
}

bool naq_buckets_read(const naq_buckets *b) {
    if (b->newest == INT64_MAX) return false;
    for (int i = 0; i < NAQ_BUCKETS; i++) {
        const naq_bucket *k = &b->all[i];
        if (k->state == NAQ_BUCKET_OPENING || (k->state == NAQ_BUCKET_OPEN && k->read < k->wanted))
            return false;
    }
    return true;
}

/* Deliveries */

/* "$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<...>", perhaps with domain and account: an
 * ack needs the consumer and the sequence right, so the rest is the same for all. */
static void learn_ack(naq_bucket *k, const char *reply, const naq_delivery *d) {
    const char *name = strstr(reply, d->consumer);
    if (name == NULL) return;
    const char *end = name + strlen(d->consumer) + 1; /* at <delivered> */
    const char *seq = strchr(end, '.'), *rest = seq != NULL ? strchr(seq + 1, '.') : NULL;
    if (rest == NULL) return;
    (void)snprintf(k->ack_head, sizeof k->ack_head, "%.*s1.", (int)(end - reply), reply);
    (void)snprintf(k->ack_tail, sizeof k->ack_tail, "%s", rest);
}

naq_bucket *naq_buckets_delivered(naq_buckets *b, const char *reply, int64_t now_ms,
                                  uint64_t *seq) {
    naq_delivery d;
    if (!naq_delivery_parse(reply, &d) || d.consumer[0] != 'b') return NULL;
    int index = atoi(d.consumer + 1);
    if (index < 0 || index >= NAQ_BUCKETS) return NULL;
    naq_bucket *k = &b->all[index];
    if (k->state == NAQ_BUCKET_FREE || k->state == NAQ_BUCKET_DEAD ||
        strcmp(k->pull.consumer, d.consumer) != 0)
        return NULL;
    if (k->ack_head[0] == '\0') learn_ack(k, reply, &d);
    naq_pull_delivered(&k->pull, d.pending, now_ms);
    if (k->state == NAQ_BUCKET_OPEN) read_on(k, now_ms);
    k->read++;
    if (d.pending == 0 && k->wanted > k->read) k->wanted = k->read;
    *seq = d.stream_seq;
    return k;
}

void naq_bucket_ack(naq_bucket *b, naq_loop *loop, uint64_t seq) {
    char subject[sizeof b->ack_head + sizeof b->ack_tail + 24];
    if (b->state == NAQ_BUCKET_FREE || b->state == NAQ_BUCKET_DEAD || b->ack_head[0] == '\0')
        return; /* its new consumer delivers it again */
    (void)snprintf(subject, sizeof subject, "%s%" PRIu64 "%s", b->ack_head, seq, b->ack_tail);
    naq_loop_send(loop, subject, "+ACK", 4);
}

void naq_buckets_pull_status(naq_buckets *b, uint32_t token, int status, int64_t pending,
                             const char *text, int64_t now_ms) {
    uint16_t index = naq_pull_index(token);
    if (index >= NAQ_BUCKETS || b->all[index].state == NAQ_BUCKET_FREE) return;
    naq_bucket *k = &b->all[index];
    naq_pull_status(&k->pull, token, status, pending, text, now_ms);
    /* Unfilled: nothing was left. Jobs that were cancelled before they were read never come. */
    if (status == 408 && k->wanted > k->read) k->wanted = k->read;
}

void naq_buckets_unheard(naq_buckets *b, int64_t now_ms) {
    for (int i = 0; i < NAQ_BUCKETS; i++)
        if (b->all[i].state == NAQ_BUCKET_OPEN) naq_pull_unheard(&b->all[i].pull, now_ms);
}

bool naq_buckets_missing(const naq_buckets *b) {
    for (int i = 0; i < NAQ_BUCKETS; i++)
        if (b->all[i].state == NAQ_BUCKET_OPEN && b->all[i].pull.missing) return true;
    return false;
}
