/* release.c -- heap, payloads, publishes, acks. */
#include "run/release.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/envelope.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum {
    HORIZON_MS = 5000,
    BUDGET = 32 << 20, /* bytes of payloads */
    OVERHEAD = 128,    /* what a payload here costs besides */
    GETS = 4096,       /* under way */
    GETS_A_TURN = 256, /* so that what is due never waits for these */
    WINDOW = 16384,    /* publishes under way */
    BATCH = 256,       /* between two looks at the lease */
    BATCHES_A_TURN = 8,
    ACKS_A_TURN = 1024,
    ACKS_HELD = 200000,
    INDEX_BITS = 18,
    DUES_MAX = 1 << INDEX_BITS,
    NONE = DUES_MAX,
    ANSWER_MS = 5000, /* a get or a publish without an answer is repeated */
    UNHEARD_MS = 250, /* the same when we know that nobody heard something */
    SWEEP_MS = 250,
    AGAIN_MS = 100,  /* before a publish that was refused is repeated */
    LATE_MS = 60000, /* the server knows a Msg-Id for two minutes */
    SKEW_MS = 5000   /* between two leaders' clocks */
};

/* A heap entry's value: where the bucket stands, the size as a power of two, the sequence. */
enum { SEQ_BITS = 48, PLACE_BITS = 8 };

typedef enum due_state {
    DUE_FREE,
    DUE_ASKED,  /* its payload is on its way */
    DUE_MISSED, /* no such message, says a replica: the leader is asked */
    DUE_HERE,   /* in the heap `near` */
    DUE_SENT,   /* published, not answered */
    DUE_BLOCKED /* another message stands on its subject: which one is asked */
} due_state;

struct naq_due {
    int64_t due_ms, sent_ms;
    uint64_t seq;
    char *text;      /* subject, Msg-Id, payload; the first two end in NUL */
    size_t reserved; /* of the budget */
    uint32_t payload_len, next;
    uint16_t subject_len, id_len;
    uint16_t generation;
    uint8_t place, size_class;
    uint8_t state;
    bool doubtful, marked;
};

static const char MARK[] = "\"released_late\":true";

naq_status naq_release_open(naq_release *r, naq_loop *loop, naq_loop *store, naq_buckets *buckets,
                            naq_errands *errands, const char *prefix, naq_err *err) {
    memset(r, 0, sizeof *r);
    r->loop = loop;
    r->store = store;
    r->buckets = buckets;
    r->errands = errands;
    r->prefix = prefix;
    r->begun_ms = naq_wall_us() / 1000;
    r->free_due = NONE;
    int n =
        snprintf(r->get_subject, sizeof r->get_subject, "$JS.API.DIRECT.GET.%s_delayed", prefix);
    if (n < 0 || (size_t)n >= sizeof r->get_subject)
        return naq_fail(err, NAQ_INVALID, "scheduler: the prefix %s is too long", prefix);
    return NAQ_OK;
}

void naq_release_close(naq_release *r) {
    for (uint32_t i = 0; i < r->n_dues; i++)
        free(r->dues[i].text);
    free(r->dues);
    free(r->acks);
    naq_heap_free(&r->far);
    naq_heap_free(&r->near);
    memset(r, 0, sizeof *r);
}

/* The table */

static naq_due *take_due(naq_release *r) {
    uint32_t i = r->free_due;
    if (i != NONE) {
        r->free_due = r->dues[i].next;
    } else {
        if (r->n_dues == r->cap_dues) {
            uint32_t cap = r->cap_dues == 0 ? 256 : r->cap_dues * 2;
            naq_due *grown = cap <= DUES_MAX ? realloc(r->dues, (size_t)cap * sizeof *grown) : NULL;
            if (grown == NULL) return NULL;
            r->dues = grown;
            r->cap_dues = cap;
        }
        i = r->n_dues++;
        r->dues[i].generation = 0;
    }
    naq_due *d = &r->dues[i];
    uint16_t generation = (uint16_t)(d->generation + 1);
    memset(d, 0, sizeof *d);
    d->generation = generation;
    return d;
}

static void forget(naq_release *r, naq_due *d) {
    r->bytes -= d->reserved;
    free(d->text);
    d->text = NULL;
    d->state = DUE_FREE;
    d->next = r->free_due;
    r->free_due = (uint32_t)(d - r->dues);
}

/* Bit 31 is the errands'. */
static uint32_t token_of(const naq_release *r, const naq_due *d) {
    return (uint32_t)(d->generation & 0x1FFF) << INDEX_BITS | (uint32_t)(d - r->dues);
}

static naq_due *due_of(naq_release *r, uint32_t token, due_state state) {
    uint32_t i = token & (DUES_MAX - 1);
    if (token & NAQ_ERRAND_TOKEN || i >= r->n_dues) return NULL;
    naq_due *d = &r->dues[i];
    return d->state == state && token_of(r, d) == token ? d : NULL;
}

static naq_bucket *bucket_of(naq_release *r, const naq_due *d) {
    return &r->buckets->all[d->place];
}

/* Acks */

static void ack(naq_release *r, uint8_t place, uint64_t seq) {
    naq_bucket *k = &r->buckets->all[place];
    naq_bucket_ack(k, r->store, seq);
    k->held--;
    naq_loop_write_if_full(r->store);
}

static bool urgent(const naq_release *r) {
    return r->near.n > 0 && naq_heap_top(&r->near).key * 1000 <= naq_wall_us();
}

/* Removing a message costs the server as much as storing one, and while a burst is due the queue
 * comes first. */
static void ack_later(naq_release *r, uint8_t place, uint64_t seq) {
    if (r->n_acks == r->cap_acks) {
        size_t cap = r->cap_acks == 0 ? 1024 : r->cap_acks * 2;
        naq_heap_entry *grown = realloc(r->acks, cap * sizeof *grown);
        if (grown == NULL) {
            ack(r, place, seq);
            return;
        }
        r->acks = grown;
        r->cap_acks = cap;
    }
    r->acks[r->n_acks++] = (naq_heap_entry){place, seq};
}

static void send_acks(naq_release *r) {
    if (r->n_acks == 0) return;
    if (r->n_acks < ACKS_HELD && (urgent(r) || r->publishes > WINDOW / 4)) return;
    for (int n = 0; n < ACKS_A_TURN && r->n_acks > 0; n++) {
        naq_heap_entry e = r->acks[--r->n_acks];
        ack(r, (uint8_t)e.key, e.value);
    }
    if (r->n_acks > 0) {
        r->more = true;
    } else if (r->cap_acks > 4096) {
        free(r->acks);
        r->acks = NULL;
        r->cap_acks = 0;
    }
}

static void done(naq_release *r, naq_due *d) {
    ack_later(r, d->place, d->seq);
    forget(r, d);
}

/* Delivered: due time and size */

static uint8_t size_class(const char *size) {
    uint8_t k = 6;
    for (long long n = size != NULL ? strtoll(size, NULL, 10) : 4096; k < 40 && n > 1LL << k;)
        k++;
    return k;
}

void naq_release_delivered(naq_release *r, naq_msg *m, int64_t now_ms) {
    uint64_t seq;
    naq_bucket *k = naq_buckets_delivered(r->buckets, naq_msg_reply(m), now_ms, &seq);
    if (k == NULL) return;
    const char *due = naq_msg_header(m, "Naq-Due");
    /* Somebody's hand put it there: it is due when its bucket begins. */
    int64_t due_ms = due != NULL ? strtoll(due, NULL, 10) : k->number * 600000;
    uint64_t value = (uint64_t)(k - r->buckets->all) << (SEQ_BITS + PLACE_BITS) |
                     (uint64_t)size_class(naq_msg_header(m, "Nats-Msg-Size")) << SEQ_BITS | seq;
    if (naq_heap_push(&r->far, due_ms, value)) {
        k->held++;
        return;
    }
    naq_log(NAQ_ERROR, "scheduler: out of memory for delayed jobs: %zu are held", r->far.n);
    k->pull.missing = true; /* what it has delivered comes again */
}

/* Payloads */

static void ask(naq_release *r, naq_due *d) {
    char request[48];
    int n = snprintf(request, sizeof request, "{\"seq\":%" PRIu64 "}", d->seq);
    d->state = DUE_ASKED;
    d->sent_ms = naq_loop_now(r->loop);
    (void)naq_loop_ask(r->store, r->get_subject, token_of(r, d), request, (size_t)n);
}

static bool room(const naq_release *r, size_t size) {
    return r->gets < GETS && (r->bytes == 0 || r->bytes + size <= BUDGET) &&
           (r->free_due != NONE || r->n_dues < DUES_MAX);
}

static void ask_near(naq_release *r, int64_t now_ms) {
    for (int n = 0; r->far.n > 0; n++) {
        naq_heap_entry e = naq_heap_top(&r->far);
        uint8_t place = (uint8_t)(e.value >> (SEQ_BITS + PLACE_BITS));
        uint8_t k = (uint8_t)(e.value >> SEQ_BITS);
        size_t size = ((size_t)1 << k) + OVERHEAD;
        if (e.key - HORIZON_MS > now_ms || !room(r, size)) return;
        if (n == GETS_A_TURN) {
            r->more = true;
            return;
        }
        if (r->buckets->all[place].state == NAQ_BUCKET_DEAD) {
            (void)naq_heap_pop(&r->far);
            r->buckets->all[place].held--;
            continue;
        }
        naq_due *d = take_due(r);
        if (d == NULL) return; /* some of those under way has to end first */
        (void)naq_heap_pop(&r->far);
        d->due_ms = e.key;
        d->seq = e.value & ((UINT64_C(1) << SEQ_BITS) - 1);
        d->place = place;
        d->size_class = k;
        d->reserved = size;
        r->bytes += size;
        r->gets++;
        ask(r, d);
        naq_loop_write_if_full(r->store);
    }
}

/* Its subject says the id, its headers the rest. Where those name no queue, nothing can be done but
 * to leave it to whoever put it there. */
static bool keep(naq_release *r, naq_due *d, naq_msg *m) {
    char subject[256];
    naq_address address;
    const char *stored = naq_msg_header(m, "Nats-Subject"), *to = naq_msg_header(m, "Naq-To");
    const char *msg_id = naq_msg_header(m, "Nats-Msg-Id");
    const char *id = stored != NULL ? strrchr(stored, '.') : NULL;
    if (id == NULL || to == NULL) return false;
    int n = snprintf(subject, sizeof subject, "%s.q.%s%s", r->prefix, to, id);
    if (n <= 0 || (size_t)n >= sizeof subject || !naq_address_parse(subject, r->prefix, &address))
        return false;
    char own[NAQ_ID_MAX + 3];
    if (msg_id == NULL || strlen(msg_id) > UINT16_MAX) {
        (void)snprintf(own, sizeof own, "%s:0", id + 1);
        msg_id = own;
    }
    d->subject_len = (uint16_t)n;
    d->id_len = (uint16_t)strlen(msg_id);
    d->payload_len = (uint32_t)naq_msg_size(m);
    size_t room_for_mark = sizeof MARK + 2;
    d->text = malloc((size_t)d->subject_len + d->id_len + 2 + d->payload_len + room_for_mark);
    if (d->text == NULL) return false;
    memcpy(d->text, subject, (size_t)n + 1);
    memcpy(d->text + n + 1, msg_id, (size_t)d->id_len + 1);
    memcpy(d->text + n + d->id_len + 2, naq_msg_data(m), d->payload_len);
    return true;
}

static const char *msg_id_of(const naq_due *d) {
    return d->text + d->subject_len + 1;
}

static char *payload_of(const naq_due *d) {
    return d->text + d->subject_len + d->id_len + 2;
}

static void wait_until(naq_release *r, naq_due *d, int64_t due_ms) {
    d->state = DUE_HERE;
    if (naq_heap_push(&r->near, due_ms, (uint64_t)(d - r->dues))) return;
    naq_log(NAQ_ERROR, "scheduler: out of memory; a delayed job is released later");
    bucket_of(r, d)->pull.missing = true;
    bucket_of(r, d)->held--;
    forget(r, d);
}

/* The leader's word on a message that a replica does not have: it may only lag behind. */
static void missed(void *ctx, int64_t token, naq_slice answer) {
    naq_release *r = ctx;
    char text[128];
    naq_due *d = due_of(r, (uint32_t)token, DUE_MISSED);
    if (d == NULL) return;
    if (answer.at != NULL && naq_reply_error(answer, text, sizeof text) == NAQ_JS_MSG_NOT_FOUND) {
        done(r, d); /* cancelled, moved or released by another: the consumer still counts it */
        return;
    }
    r->gets++;
    ask(r, d);
}

static void ask_leader(naq_release *r, naq_due *d) {
    char subject[128], request[48];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.%s_delayed", r->prefix);
    int n = snprintf(request, sizeof request, "{\"seq\":%" PRIu64 "}", d->seq);
    d->state = DUE_MISSED;
    d->sent_ms = naq_loop_now(r->loop);
    (void)naq_errand_send(r->errands, subject, request, (size_t)n, ANSWER_MS, missed, r,
                          token_of(r, d));
}

void naq_release_replied(naq_release *r, uint32_t token, naq_msg *m) {
    naq_due *d = due_of(r, token, DUE_ASKED);
    if (d == NULL) return;
    r->gets--;
    const char *status = naq_msg_header(m, "Status");
    if (status != NULL) {
        ask_leader(r, d);
        return;
    }
    if (!keep(r, d, m)) {
        naq_log(NAQ_ERROR, "delayed job %s: its header Naq-To names no queue; it stays where it is",
                naq_msg_header(m, "Nats-Subject") != NULL ? naq_msg_header(m, "Nats-Subject")
                                                          : "?");
        forget(r, d); /* still held: its bucket stays open, and this is said once */
        return;
    }
    bool withdrawn = naq_withdrawn_may_be(&r->withdrawn, strrchr(d->text, '.') + 1, d->sent_ms);
    int64_t later_ms = withdrawn ? naq_wall_us() / 1000 + AGAIN_MS : 0;
    wait_until(r, d, later_ms > d->due_ms ? later_ms : d->due_ms);
}

/* Publishing */

/* One more member at the end of the payload, where that is an object; what is none is a dead letter
 * unasked. */
static void mark(naq_due *d) {
    char *payload = payload_of(d);
    size_t n = d->payload_len;
    while (n > 0 && strchr(" \n\r\t", payload[n - 1]) != NULL)
        n--;
    if (d->marked || n < 2 || payload[n - 1] != '}') return;
    size_t before = n - 1;
    while (before > 0 && strchr(" \n\r\t", payload[before - 1]) != NULL)
        before--;
    bool empty = before > 0 && payload[before - 1] == '{';
    size_t at = n - 1;
    if (!empty) payload[at++] = ',';
    memcpy(payload + at, MARK, sizeof MARK - 1);
    at += sizeof MARK - 1;
    payload[at++] = '}';
    d->payload_len = (uint32_t)at;
    d->marked = true;
}

static void publish(naq_release *r, naq_due *d, int64_t now_ms) {
    naq_err err;
    if (d->doubtful || now_ms - d->due_ms > LATE_MS || d->due_ms < r->begun_ms + SKEW_MS) mark(d);
    d->state = DUE_SENT;
    d->sent_ms = naq_loop_now(r->loop);
    r->publishes++;
    if (naq_loop_publish_id(r->loop, d->text, token_of(r, d), msg_id_of(d), payload_of(d),
                            d->payload_len, &err) == NAQ_OK)
        return;
    naq_log(NAQ_WARNING, "delayed job %s is not released yet: %s", d->text, err.message);
    r->publishes--;
    d->doubtful = true;
    wait_until(r, d, now_ms + 10 * AGAIN_MS);
}

/* Not published from memory: is it still stored? When it is, its record decides. */
static void read_again(naq_release *r, naq_due *d) {
    free(d->text);
    d->text = NULL;
    d->doubtful = true;
    d->marked = false;
    r->gets++;
    ask(r, d);
}

static void publish_due(naq_release *r, const naq_leader *leader) {
    for (int batch = 0; batch < BATCHES_A_TURN; batch++) {
        int64_t now_us = naq_wall_us();
        if (!naq_leader_leads(leader, naq_mono_ms())) return;
        for (int n = 0; n < BATCH; n++) {
            if (r->near.n == 0 || r->publishes >= WINDOW) goto written;
            naq_heap_entry e = naq_heap_top(&r->near);
            if (e.key * 1000 > now_us) goto written;
            (void)naq_heap_pop(&r->near);
            naq_due *d = &r->dues[e.value];
            if (naq_withdrawn_may_be(&r->withdrawn, strrchr(d->text, '.') + 1, d->sent_ms))
                read_again(r, d);
            else
                publish(r, d, now_us / 1000);
        }
        naq_loop_write(r->loop);
    }
    r->more = true;
written:
    naq_loop_write(r->loop);
}

/* Which message stands on the subject? The same hop: ours, published before, and that can be acked.
 * Another: it goes when it is run or dropped, and until then ours waits where it is. */
static void blocked(void *ctx, int64_t token, naq_slice answer) {
    naq_release *r = ctx;
    naq_due *d = due_of(r, (uint32_t)token, DUE_BLOCKED);
    if (d == NULL) return;
    naq_stored m;
    memset(&m, 0, sizeof m);
    bool ours = false;
    if (answer.at != NULL && naq_reply_stored(answer, &m)) {
        naq_slice id = naq_stored_header(&m, "Nats-Msg-Id");
        ours = id.at != NULL && id.len == d->id_len && memcmp(id.at, msg_id_of(d), id.len) == 0;
    }
    naq_stored_free(&m);
    if (ours) {
        done(r, d);
        return;
    }
    d->doubtful = true;
    wait_until(r, d, naq_wall_us() / 1000 + AGAIN_MS);
}

static void look_at_queue(naq_release *r, naq_due *d) {
    char subject[128], request[320];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.%s_jobs", r->prefix);
    int n = snprintf(request, sizeof request, "{\"last_by_subj\":\"%s\"}", d->text);
    d->state = DUE_BLOCKED;
    d->sent_ms = naq_loop_now(r->loop);
    (void)naq_errand_send(r->errands, subject, request, (size_t)n, ANSWER_MS, blocked, r,
                          token_of(r, d));
}

/* A Msg-Id that the server knows, of a job that only this leader can have released: another job of
 * this id went before, and this one would be lost. */
static bool unexpected(const naq_release *r, const naq_due *d) {
    return !d->marked && d->due_ms > r->begun_ms + SKEW_MS;
}

static void rename_msg_id(naq_release *r, naq_due *d) {
    char id[160];
    int n = snprintf(id, sizeof id, "%.100s:%" PRId64, msg_id_of(d), naq_wall_us() / 1000);
    size_t tail = d->payload_len + sizeof MARK + 2;
    char *text = malloc((size_t)d->subject_len + (size_t)n + 2 + tail);
    d->doubtful = true;
    if (text != NULL) {
        memcpy(text, d->text, (size_t)d->subject_len + 1);
        memcpy(text + d->subject_len + 1, id, (size_t)n + 1);
        memcpy(text + d->subject_len + n + 2, payload_of(d), d->payload_len);
        free(d->text);
        d->text = text;
        d->id_len = (uint16_t)n;
    }
    wait_until(r, d, naq_wall_us() / 1000);
}

void naq_release_answered(naq_release *r, uint32_t token, const naq_answer *answer) {
    naq_due *d = due_of(r, token, DUE_SENT);
    if (d == NULL) return;
    r->publishes--;
    if (answer->status == NAQ_OK && answer->duplicate && unexpected(r, d)) {
        naq_log(NAQ_WARNING, "delayed job %s: %s was published before; it is published again",
                d->text, msg_id_of(d));
        rename_msg_id(r, d);
    } else if (answer->status == NAQ_OK) {
        r->released++;
        done(r, d);
    } else if (answer->status == NAQ_DUPLICATE) {
        look_at_queue(r, d);
    } else {
        if (!d->doubtful)
            naq_log(NAQ_WARNING, "delayed job %s is not released yet: %.*s", d->text,
                    (int)(answer->text_len > 200 ? 200 : answer->text_len), answer->text);
        d->doubtful = true;
        wait_until(r, d, naq_wall_us() / 1000 + 10 * AGAIN_MS);
    }
}

/* What nobody answers */

void naq_release_unheard(naq_release *r, int64_t now_ms) {
    r->unheard_ms = now_ms;
}

static void repeat(naq_release *r, naq_due *d) {
    switch (d->state) {
    case DUE_ASKED:
        ask(r, d);
        break;
    case DUE_MISSED: /* its errand was not sent, or is over */
        ask_leader(r, d);
        break;
    case DUE_BLOCKED:
        look_at_queue(r, d);
        break;
    case DUE_SENT:
        r->publishes--;
        r->repeated++;
        d->doubtful = true;
        wait_until(r, d, d->due_ms);
        break;
    default:
        break;
    }
}

static void sweep(naq_release *r, int64_t now_ms) {
    if (now_ms - r->swept_ms < SWEEP_MS) return;
    r->swept_ms = now_ms;
    for (uint32_t i = 0; i < r->n_dues; i++) {
        naq_due *d = &r->dues[i];
        if (d->state == DUE_FREE || d->state == DUE_HERE) continue;
        bool direct = d->state == DUE_ASKED || d->state == DUE_SENT;
        int64_t patience = direct && d->sent_ms <= r->unheard_ms ? UNHEARD_MS : ANSWER_MS;
        if (now_ms - d->sent_ms >= patience + (direct ? 0 : SWEEP_MS)) repeat(r, d);
    }
}

int64_t naq_release_deadline(const naq_release *r) {
    return r->gets > 0 || r->publishes > 0 ? r->swept_ms + SWEEP_MS : INT64_MAX;
}

void naq_release_withdraw(naq_release *r, const char *id) {
    naq_withdrawn_add(&r->withdrawn, id, naq_loop_now(r->loop));
}

/* The turn */

void naq_release_turn(naq_release *r, const naq_leader *leader) {
    r->more = false;
    publish_due(r, leader);
    ask_near(r, naq_wall_us() / 1000);
    sweep(r, naq_mono_ms());
    send_acks(r);
}

int64_t naq_release_alarm_us(const naq_release *r) {
    if (r->more) return INT64_MIN;
    int64_t at = INT64_MAX;
    if (r->near.n > 0 && r->publishes < WINDOW) at = naq_heap_top(&r->near).key * 1000;
    if (r->far.n > 0) {
        naq_heap_entry e = naq_heap_top(&r->far);
        int64_t ask_us = (e.key - HORIZON_MS) * 1000;
        /* Without room it is the next answer that wakes us. */
        if (room(r, ((size_t)1 << (uint8_t)(e.value >> SEQ_BITS)) + OVERHEAD) && ask_us < at)
            at = ask_us;
    }
    return at;
}

bool naq_release_settle(naq_release *r) {
    for (; r->n_acks > 0; r->n_acks--)
        ack(r, (uint8_t)r->acks[r->n_acks - 1].key, r->acks[r->n_acks - 1].value);
    return r->publishes == 0;
}
