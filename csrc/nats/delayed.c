/* delayed.c -- putting a job into the delayed store. Any thread; blocks. */
#include "nats/delayed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/leftover.h"
#include "nats/reply.h"
#include "nats/results.h"

#define MOVED "moved-"

enum { IN_THE_WAY_MS = 10000, LAST_PAUSE_MS = 64 };

static const double LATEST_SECONDS = 253402300800.0;

/* A text written from the left, cut at its end: snprintf would be a fifth of what a job costs that
 * is stored among many. */
typedef struct pen {
    char *at, *end; /* end: where the NUL goes at the latest */
} pen;

static void put(pen *p, const char *text) {
    size_t n = strlen(text), room = (size_t)(p->end - p->at);
    if (n > room) n = room;
    memcpy(p->at, text, n);
    p->at += n;
    *p->at = '\0';
}

static void put_number(pen *p, int64_t n) {
    char digits[24], *at = digits + sizeof digits - 1;
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    *at = '\0';
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (n < 0) *--at = '-';
    put(p, at);
}

#define PEN(text)                                                                                  \
    { (text), (text) + sizeof(text) - 1 }

void naq_delayed_fill(naq_delayed_form *out, const naq_delayed_job *d, int64_t now_ms) {
    int64_t at = d->due_ms > now_ms ? d->due_ms : now_ms;
    pen subject = PEN(out->subject), msg_id = PEN(out->msg_id);
    pen due = PEN(out->due), to = PEN(out->to);
    put(&subject, d->prefix);
    put(&subject, ".d.");
    put_number(&subject, at / NAQ_DELAYED_BUCKET_MS);
    put(&subject, ".");
    put(&subject, d->id);
    put(&msg_id, d->id);
    put(&msg_id, ":");
    put_number(&msg_id, d->hop);
    if (d->moved) { /* never taken for the hop that the job itself may come to meanwhile */
        put(&msg_id, ":" MOVED);
        put_number(&msg_id, naq_wall_us());
    }
    put_number(&due, d->due_ms);
    put(&to, d->queue);
    put(&to, ".");
    put(&to, NAQ_PRIORITY_NAMES[d->priority]);
    out->headers[0] = (naq_header){"Naq-Due", out->due};
    out->headers[1] = (naq_header){"Naq-To", out->to};
}

naq_status naq_delayed_due(double seconds, int64_t *due_ms, naq_err *err) {
    /* Not so written that NaN passes. */
    if (!(seconds > -LATEST_SECONDS && seconds < LATEST_SECONDS))
        return naq_fail(err, NAQ_INVALID, "%g is no time in seconds since 1970", seconds);
    /* A double holds an epoch to a quarter of a microsecond: what is less than one above a whole
     * millisecond was meant to be it. */
    double ms = seconds * 1000;
    int64_t whole = (int64_t)ms;
    *due_ms = ms - (double)whole > 0.001 ? whole + 1 : whole;
    return NAQ_OK;
}

/* The hop that a stored message of the job carries, from its Msg-Id; -1: it says none. */
static int64_t hop_of(const naq_stored *m, const char *id) {
    naq_slice msg_id = naq_stored_header(m, "Nats-Msg-Id");
    size_t n = strlen(id);
    if (msg_id.at == NULL || msg_id.len <= n + 1 || memcmp(msg_id.at, id, n) != 0 ||
        msg_id.at[n] != ':')
        return -1;
    int64_t hop = 0;
    for (size_t i = n + 1; i < msg_id.len && msg_id.at[i] >= '0' && msg_id.at[i] <= '9'; i++)
        hop = hop > INT64_MAX / 20 ? hop : hop * 10 + (msg_id.at[i] - '0');
    return hop;
}

static bool was_moved(const naq_stored *m) {
    naq_slice msg_id = naq_stored_header(m, "Nats-Msg-Id");
    return msg_id.at != NULL &&
           memmem(msg_id.at, msg_id.len, ":" MOVED, sizeof ":" MOVED - 1) != NULL;
}

typedef enum place { NOWHERE, STORED, BEING_MOVED, IN_THE_WAY, MOVED_ON, UNKNOWN } place;

/* The server says that it has this hop, or that the job's place in the bucket is taken. Where is
 * it? In the store, in any bucket: STORED, or BEING_MOVED if it was put there by hand. An earlier
 * hop there: IN_THE_WAY, it was released to its queue a moment ago and is about to go. Ended, or
 * claimed at this hop or a later one: MOVED_ON. */
static place find(naq_conn *c, const naq_delayed_job *d) {
    char stream[96], filter[200];
    (void)snprintf(stream, sizeof stream, "%s_delayed", d->prefix);
    (void)snprintf(filter, sizeof filter, "%s.d.*.%s", d->prefix, d->id);
    naq_err err;
    naq_stored m;
    naq_status status = naq_message_last(c, stream, filter, &m, &err);
    int64_t hop = status == NAQ_OK ? hop_of(&m, d->id) : -1;
    bool moved = status == NAQ_OK && hop == d->hop && was_moved(&m);
    naq_stored_free(&m);
    if (status != NAQ_OK && status != NAQ_KEY_NOT_FOUND) return UNKNOWN;
    if (moved) return BEING_MOVED;
    if (status == NAQ_OK) return hop >= d->hop ? STORED : IN_THE_WAY;
    naq_record record;
    memset(&record, 0, sizeof record);
    char state[16] = "running";
    if (naq_results_find(c, d->prefix, d->id, &record, &err) == NAQ_OK)
        naq_reply_text((naq_slice){record.entry.value.data, record.entry.value.len}, "state", state,
                       sizeof state);
    naq_buf_free(&record.entry.value);
    return strcmp(state, "running") != 0 ? MOVED_ON : NOWHERE;
}

static void doze(int64_t *pause_ms) {
    struct timespec t = {.tv_nsec = *pause_ms * 1000000};
    (void)nanosleep(&t, NULL);
    if (*pause_ms < LAST_PAUSE_MS) *pause_ms *= 2;
}

static naq_status publish(naq_conn *c, const naq_delayed_form *form, const naq_delayed_job *d,
                          naq_pub_ack *ack, naq_err *err) {
    return naq_publish(c, form->subject, form->msg_id, form->headers, 2, d->payload, d->len, 0, ack,
                       err);
}

naq_status naq_delayed_add(naq_conn *c, const naq_delayed_job *d, uint64_t *sequence,
                           naq_err *err) {
    naq_delayed_form form;
    naq_pub_ack ack = {0};
    naq_delayed_fill(&form, d, naq_wall_us() / 1000);
    naq_status status = publish(c, &form, d, &ack, err);
    if (status == NAQ_DUPLICATE || (status == NAQ_OK && ack.duplicate))
        return naq_fail(err, NAQ_DUPLICATE, "there is a job %s already", d->id);
    *sequence = ack.sequence;
    return status;
}

naq_status naq_delayed_put(naq_conn *c, const naq_delayed_job *d, naq_err *err) {
    naq_delayed_form form;
    naq_delayed_fill(&form, d, naq_wall_us() / 1000);
    int64_t end = naq_mono_ms() + IN_THE_WAY_MS, pause = 1;
    for (;;) {
        naq_pub_ack ack = {0};
        naq_status status = publish(c, &form, d, &ack, err);
        bool refused = status == NAQ_DUPLICATE; /* 10077 */
        if (!refused && (status != NAQ_OK || !ack.duplicate)) return status;
        place where = find(c, d);
        if (where == STORED || (where == MOVED_ON && !refused)) return NAQ_OK;
        if (naq_mono_ms() >= end && where == BEING_MOVED) return NAQ_OK; /* by who has died */
        if (naq_mono_ms() >= end)
            return naq_fail(err, NAQ_TIMEOUT,
                            "job %s: its place in the delayed store is taken by an earlier hop",
                            d->id);
        if (!refused && where == NOWHERE) {
            naq_log(NAQ_WARNING,
                    "job %s: hop %" PRId64 " was sent before and is nowhere; it is sent again",
                    d->id, d->hop);
            (void)snprintf(form.msg_id, sizeof form.msg_id, "%s:%" PRId64 ":%" PRId64, d->id,
                           d->hop, naq_wall_us() / 1000);
        } else {
            doze(&pause);
        }
    }
}
