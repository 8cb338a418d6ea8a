/* bulk.c -- many publishes with a window of acks in flight, on the caller's thread.
 *
 * Runs on the shared connection with a mailbox, whose tokens are the slot and its generation.
 * Measured on naq's own streams, with Msg-Ids, against a second connection without SendAsap and
 * against libnats' event-loop mode: all three reach what the server takes, and this one needs no
 * connection to be opened, kept alive or closed. Not js_PublishAsync, which in 3.4.1 keeps every
 * message until its deadline even when it has been acked.
 *
 * A slot keeps its message until the ack: that is what is sent again, with the same Msg-Id.
 *
 *          push                    good ack, refusal, 30 s
 *   free ---------> waiting ------------------------------------> done() -> free
 *                   ^     |
 *      its time or  |     | no ack in time, "ask again", "no responders"
 *      reconnected  |     v
 *                  backing off
 */
#include "nats/publish.h"

#include <limits.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/patience.h"
#include "nats/mailbox.h"
#include "nats/nstatus.h"
#include "nats/puback.h"
#include "nats/repeat.h"

enum {
    SLOT_BITS = 12,
    WINDOW = 1 << SLOT_BITS,
    WINDOW_BYTES = 16 << 20, /* payloads in flight: few large ones fill the window too */
    READ_EVERY = 64,         /* pushes between two looks at the inbox */
    GRAVES = 512,            /* libnats wakes its collector thread for each message destroyed */
    TICK_MS = 10,
    BUDGET_MS = 30000,
    ATTEMPT_MS = 2000,
    ATTEMPT_MAX_MS = 8000,
    BACKOFF_MS = 20,
    BACKOFF_MAX_MS = 250,
    NO_JETSTREAM_MS = 1000,
    CHECK_MS = 1000, /* between two questions whether the stream exists */
    CHECKS = 16      /* subjects asked for at a time */
};

typedef struct slot {
    natsMsg *m; /* NULL: free */
    uint32_t index;
    uint32_t generation;
    size_t bytes;
    int64_t begun_ms;
    int64_t due_ms; /* when to send again unless an answer comes */
    int32_t wait_ms, backoff_ms;
    bool tried;       /* handed to libnats */
    bool repeated;    /* a "duplicate" may be our own */
    bool once;        /* no Msg-Id: never sent again once it was sent */
    bool sent, lost;  /* of such a one: the connection broke after that */
    int64_t asked_ms; /* when the stream of its subject was last asked for; 0: never */
} slot;

struct naq_bulk {
    naq_conn *conn;
    natsConnection *nc;
    naq_mailbox *box;
    naq_bulk_done done;
    void *ctx;

    slot slots[WINDOW];
    uint16_t free[WINDOW];
    unsigned n_free;
    unsigned touched; /* slots ever used: the first so many */
    size_t bytes;
    unsigned since_read;

    int64_t now_ms; /* as of the last look at the clock */
    int64_t tick_ms;
    bool nobody;        /* "no responders" came */
    int64_t deaf_ms;    /* since when, without an ack in between; 0: not */
    int64_t checked_ms; /* when the stream was asked for; 0: never */
    int64_t blind_ms;   /* when it was last asked in vain what has a repeat's place; 0: never */
    uint64_t reconnects;
    uint64_t denials; /* refusals of the server that were looked at */
    bool mixed;
    unsigned window;
    int64_t budget_ms;

    naq_status fatal; /* what would refuse every message: nothing is sent any more */
    naq_err why;

    natsMsg *dead[GRAVES];
    unsigned n_dead;
};

static void bury_all(naq_bulk *b) {
    for (unsigned i = 0; i < b->n_dead; i++)
        natsMsg_Destroy(b->dead[i]);
    b->n_dead = 0;
}

static void bury(naq_bulk *b, natsMsg *m) {
    if (b->n_dead == GRAVES) bury_all(b);
    b->dead[b->n_dead++] = m;
}

unsigned naq_bulk_in_flight(const naq_bulk *b) {
    return WINDOW - b->n_free;
}

void naq_bulk_mix(naq_bulk *b, unsigned window, int64_t timeout_ms) {
    b->mixed = true;
    if (window > 0 && window < WINDOW) b->window = window;
    if (timeout_ms > 0) b->budget_ms = timeout_ms;
}

naq_status naq_bulk_open(naq_bulk **out, naq_conn *c, naq_bulk_done done, void *ctx, naq_err *err) {
    naq_bulk *b = calloc(1, sizeof *b);
    if (b == NULL) return naq_fail(err, NAQ_CONNECTION, "bulk publish: out of memory");
    b->conn = c;
    b->nc = naq_conn_nats_peek(c);
    b->done = done;
    b->ctx = ctx;
    b->denials = naq_conn_denials(c);
    for (unsigned i = 0; i < WINDOW; i++)
        b->free[b->n_free++] = (uint16_t)(WINDOW - 1 - i);

    if (naq_mailbox_acquire(&b->box, c, err) != NAQ_OK) {
        free(b);
        return naq_wrap(err, "bulk publish");
    }
    b->now_ms = naq_mono_ms();
    b->reconnects = naq_conn_reconnects(b->conn);
    b->window = WINDOW;
    b->budget_ms = BUDGET_MS;
    *out = b;
    return NAQ_OK;
}

static void finish_slot(naq_bulk *b, slot *s, naq_status status, const char *message,
                        bool duplicate) {
    uint32_t index = s->index;
    bury(b, s->m);
    s->m = NULL;
    s->generation++;
    b->bytes -= s->bytes;
    b->free[b->n_free++] = (uint16_t)(s - b->slots);
    b->done(b->ctx, index, status, message, duplicate);
}

static void fail_all(naq_bulk *b, const naq_err *why) {
    b->fatal = why->status;
    b->why = *why;
    for (unsigned i = 0; i < b->touched; i++)
        if (b->slots[i].m != NULL) finish_slot(b, &b->slots[i], why->status, b->why.message, false);
}

static void back_off(naq_bulk *b, slot *s) {
    s->due_ms = b->now_ms + s->backoff_ms;
    s->backoff_ms = s->backoff_ms * 2 < BACKOFF_MAX_MS ? s->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void send_slot(naq_bulk *b, slot *s) {
    if (naq_conn_lost(b->conn)) { /* libnats' lock may be held as long as connecting takes */
        back_off(b, s);
        return;
    }
    s->repeated = s->tried;
    s->tried = true;
    natsStatus status = natsConnection_PublishMsg(b->nc, s->m);
    if (status == NATS_OK && s->once) {
        s->sent = true;
        s->due_ms = s->begun_ms + b->budget_ms;
        return;
    }
    if (status == NATS_OK) {
        s->due_ms = b->now_ms + s->wait_ms;
        s->wait_ms = s->wait_ms * 2 < ATTEMPT_MAX_MS ? s->wait_ms * 2 : ATTEMPT_MAX_MS;
        return;
    }
    naq_err err;
    if (status == NATS_MAX_PAYLOAD) {
        naq_fail(&err, NAQ_TOO_LARGE, "publish to %s: %zu bytes are more than the server takes",
                 natsMsg_GetSubject(s->m), s->bytes);
        finish_slot(b, s, NAQ_TOO_LARGE, err.message, false);
    } else if (status == NATS_CONNECTION_CLOSED) {
        naq_from_nats(&err, status, 0, "bulk publish");
        fail_all(b, &err);
    } else if (s->once && status != NATS_INSUFFICIENT_BUFFER) {
        naq_from_nats(&err, status, 0, "publish to %s", natsMsg_GetSubject(s->m));
        finish_slot(b, s, err.status, err.message, false);
    } else {
        back_off(b, s); /* away for so long that libnats' buffer is full */
    }
}

/* The messages of a subject that no stream has. */
static void refuse_subject(naq_bulk *b, const slot *first, const naq_err *why) {
    char subject[512]; /* the slot it comes from is finished too */
    (void)snprintf(subject, sizeof subject, "%s", natsMsg_GetSubject(first->m));
    for (unsigned i = 0; i < b->touched; i++) {
        slot *s = &b->slots[i];
        if (s->m != NULL && strncmp(natsMsg_GetSubject(s->m), subject, sizeof subject - 1) == 0)
            finish_slot(b, s, why->status, why->message, false);
    }
}

static void mark_asked(naq_bulk *b, const char *subject) {
    for (unsigned i = 0; i < b->touched; i++) {
        slot *s = &b->slots[i];
        if (s->m != NULL && strcmp(natsMsg_GetSubject(s->m), subject) == 0) s->asked_ms = b->now_ms;
    }
}

/* "No responders" to one of them: which subjects have no stream? */
static void check_subjects(naq_bulk *b) {
    int asked = 0;
    for (unsigned i = 0; i < b->touched && asked < CHECKS; i++) {
        slot *s = &b->slots[i];
        if (s->m == NULL || (s->asked_ms != 0 && b->now_ms - s->asked_ms < CHECK_MS)) continue;
        naq_err why;
        naq_status there = naq_stream_check(b->nc, natsMsg_GetSubject(s->m), 2000, &why);
        b->now_ms = naq_mono_ms();
        asked++;
        if (there != NAQ_OK)
            refuse_subject(b, s, &why);
        else
            mark_asked(b, natsMsg_GetSubject(s->m));
    }
}

/* "No responders" came: no leader at the moment, or no stream at all? libnats gives only a status
 * for it, not whose message it answers, and it concerns the stream, not the message: so all that
 * wait are sent again soon. What was stored meanwhile is a duplicate then, known as our own. */
static void no_responders(naq_bulk *b) {
    slot *first = NULL;
    for (unsigned i = 0; i < b->touched; i++) {
        slot *s = &b->slots[i];
        if (s->m == NULL) continue;
        if (first == NULL) first = s;
        if (!s->once && s->due_ms > b->now_ms + s->backoff_ms) back_off(b, s);
    }
    if (b->mixed) {
        check_subjects(b);
        return;
    }
    if (b->deaf_ms == 0) b->deaf_ms = b->now_ms;
    bool asked = b->checked_ms != 0 && b->now_ms - b->checked_ms < CHECK_MS;
    if (first == NULL || asked) return;
    naq_err why;
    naq_status there = naq_stream_check(b->nc, natsMsg_GetSubject(first->m), 2000, &why);
    b->now_ms = naq_mono_ms();
    /* A server that has just started may take publishes a moment before JetStream's API. */
    bool early = there == NAQ_NO_JETSTREAM && b->now_ms - b->deaf_ms < NO_JETSTREAM_MS;
    if (there != NAQ_OK && !early)
        fail_all(b, &why);
    else if (!early)
        b->checked_ms = b->now_ms;
}

/* A repeat found its subject taken: by its own first try, or by another? */
static void taken(naq_bulk *b, slot *s, const naq_err *refusal) {
    uint64_t sequence;
    if (b->blind_ms != 0 && b->now_ms - b->blind_ms < CHECK_MS) { /* each would wait as long */
        back_off(b, s);
        return;
    }
    naq_status met = naq_repeat_met(b->conn, s->m, &sequence);
    b->now_ms = naq_mono_ms();
    if (met == NAQ_OK) {
        finish_slot(b, s, NAQ_OK, NULL, false);
    } else if (met == NAQ_KEY_NOT_FOUND) { /* gone since: there is room */
        back_off(b, s);
    } else if (met == NAQ_TIMEOUT || met == NAQ_CONNECTION) {
        b->blind_ms = b->now_ms;
        back_off(b, s);
    } else {
        finish_slot(b, s, refusal->status, refusal->message, false);
    }
}

static void answered(naq_bulk *b, uint32_t token, natsMsg *m) {
    slot *s = &b->slots[token & (WINDOW - 1)];
    /* The answer to a repeat whose first try was answered too: the slot may be another's now. */
    if (s->m == NULL || s->generation << SLOT_BITS != (token & ~(uint32_t)(WINDOW - 1))) return;
    naq_pub_ack ack;
    naq_err err;
    switch (naq_puback_read(m, natsMsg_GetSubject(s->m), &ack, &err)) {
    case NAQ_STORED:
        b->deaf_ms = 0;
        finish_slot(b, s, NAQ_OK, NULL, ack.duplicate && !s->repeated);
        break;
    case NAQ_REFUSED:
        if (err.status == NAQ_DUPLICATE && s->repeated)
            taken(b, s, &err);
        else
            finish_slot(b, s, err.status, err.message, false);
        break;
    case NAQ_ASK_AGAIN:
        back_off(b, s);
        break;
    case NAQ_NO_RESPONDERS:
        b->nobody = true;
        break;
    }
}

/* They come beside the acks. */
static void take_denials(naq_bulk *b) {
    uint64_t now = naq_conn_denials(b->conn);
    naq_err err;
    if (now == b->denials) return;
    for (unsigned i = 0; i < b->touched; i++) {
        slot *s = &b->slots[i];
        if (s->m != NULL && s->tried &&
            naq_conn_denied(b->conn, b->denials, natsMsg_GetSubject(s->m), &err))
            finish_slot(b, s, err.status, err.message, false);
    }
    b->denials = now;
}

/* Refusals, deadlines and repeats. */
static void tick(naq_bulk *b) {
    b->tick_ms = b->now_ms + TICK_MS;
    take_denials(b);
    uint64_t reconnects = naq_conn_reconnects(b->conn);
    bool again = reconnects != b->reconnects; /* answers on their way then are lost */
    b->reconnects = reconnects;
    for (unsigned i = 0; i < b->touched; i++) {
        slot *s = &b->slots[i];
        if (s->m == NULL) continue;
        if (again && s->sent) { /* its ack may still come, if it was sent after the reconnect */
            s->lost = true;
            if (s->due_ms > b->now_ms + ATTEMPT_MS) s->due_ms = b->now_ms + ATTEMPT_MS;
        }
        if ((!again || s->sent) && b->now_ms < s->due_ms) continue;
        const char *subject = natsMsg_GetSubject(s->m);
        naq_err err;
        if (s->lost && naq_conn_up(b->conn)) {
            naq_fail(&err, NAQ_CONNECTION,
                     "publish to %s: the connection was lost before the ack came; it may have been "
                     "stored",
                     subject);
            finish_slot(b, s, err.status, err.message, false);
        } else if (b->now_ms - s->begun_ms >= b->budget_ms) {
            if (naq_conn_up(b->conn))
                naq_fail(&err, NAQ_TIMEOUT, "publish to %s: no ack in %lld ms", subject,
                         (long long)b->budget_ms);
            else
                naq_fail(&err, NAQ_CONNECTION, "publish to %s: no connection to the server",
                         subject);
            finish_slot(b, s, err.status, err.message, false);
        } else if (s->sent) {
            s->due_ms = s->begun_ms + b->budget_ms; /* lost, and still away */
        } else {
            send_slot(b, s);
        }
    }
}

/* Take what has been answered; wait at most wait_ms for the first. */
static void pump(naq_bulk *b, int64_t wait_ms) {
    natsMsg *m = NULL;
    uint32_t token;
    natsStatus s;
    for (;; wait_ms = 0) {
        s = naq_mailbox_next(b->box, wait_ms, &m, &token);
        if (s == NATS_OK) {
            answered(b, token, m);
            bury(b, m);
        } else if (s == NATS_NO_RESPONDERS) {
            b->nobody = true;
        } else {
            break;
        }
    }
    b->since_read = 0;
    b->now_ms = naq_mono_ms();
    if (b->nobody) {
        b->nobody = false;
        no_responders(b);
    }
    if (s != NATS_TIMEOUT) {
        naq_err err;
        naq_from_nats(&err, s, 0, "bulk publish");
        fail_all(b, &err);
    } else if (b->now_ms >= b->tick_ms) {
        tick(b);
    }
}

naq_status naq_bulk_push(naq_bulk *b, uint32_t index, const char *subject, const char *msg_id,
                         const naq_header *headers, size_t n_headers, const void *data, size_t len,
                         naq_err *err) {
    if (++b->since_read >= READ_EVERY) pump(b, 0);
    while (b->fatal == NAQ_OK && (naq_bulk_in_flight(b) >= b->window ||
                                  (b->bytes > 0 && b->bytes + len > WINDOW_BYTES))) {
        if (naq_patience_over())
            return naq_fail(err, NAQ_TIMEOUT, "publishing: stopped before all was sent");
        pump(b, TICK_MS);
    }
    if (b->fatal != NAQ_OK) {
        *err = b->why;
        return b->fatal;
    }
    int64_t most = naq_conn_max_payload(b->conn);
    if (len > INT_MAX || (most > 0 && (int64_t)len > most)) {
        naq_fail(err, NAQ_TOO_LARGE,
                 "publish to %s: %zu bytes are more than the server takes (%lld)", subject, len,
                 (long long)most);
        b->done(b->ctx, index, NAQ_TOO_LARGE, err->message, false);
        return NAQ_OK;
    }
    unsigned number = b->free[b->n_free - 1];
    slot *s = &b->slots[number];
    uint32_t token = s->generation << SLOT_BITS | number;
    natsStatus status =
        naq_publish_make(&s->m, subject, naq_mailbox_address(b->box, token), msg_id, data, len);
    for (size_t i = 0; status == NATS_OK && i < n_headers; i++)
        status = natsMsgHeader_Add(s->m, headers[i].name, headers[i].value);
    if (status != NATS_OK) {
        natsMsg_Destroy(s->m);
        s->m = NULL;
        return naq_from_nats(err, status, 0, "publish to %s", subject);
    }
    b->n_free--;
    if (number >= b->touched) b->touched = number + 1;
    b->bytes += len;
    s->index = index;
    s->bytes = len;
    s->begun_ms = b->now_ms;
    s->wait_ms = ATTEMPT_MS;
    s->backoff_ms = BACKOFF_MS;
    s->tried = s->repeated = s->sent = s->lost = false;
    s->once = msg_id == NULL;
    s->asked_ms = 0;
    send_slot(b, s);
    return NAQ_OK;
}

bool naq_bulk_wait(naq_bulk *b, int64_t timeout_ms) {
    int64_t end = naq_mono_ms() + timeout_ms;
    while (naq_bulk_in_flight(b) > 0) {
        pump(b, TICK_MS);
        if (b->now_ms >= end || naq_patience_over()) break;
    }
    return naq_bulk_in_flight(b) == 0;
}

naq_status naq_bulk_finish(naq_bulk *b, naq_err *err) {
    while (naq_bulk_in_flight(b) > 0) {
        if (naq_patience_over())
            return naq_fail(err, NAQ_TIMEOUT, "publishing: stopped before all was acked");
        pump(b, TICK_MS);
    }
    if (b->fatal == NAQ_OK) return NAQ_OK;
    *err = b->why;
    return b->fatal;
}

void naq_bulk_close(naq_bulk *b) {
    if (b == NULL) return;
    for (unsigned i = 0; i < b->touched; i++)
        if (b->slots[i].m != NULL) bury(b, b->slots[i].m);
    bury_all(b);
    naq_mailbox_release(b->box, b->conn);
    free(b);
}
