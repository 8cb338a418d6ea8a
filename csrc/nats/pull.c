/* pull.c -- credit, expiry, heartbeats and deadlines of one consumer's pulls.
 *
 *   408 (a request expired)            gives its remaining credit back
 *   409 leadership change, max bytes   credit back, ask again
 *   409 consumer deleted, 404, 503     the consumer has to be made again: `missing`
 *   two heartbeats missed, or expiry + 1 s passed: all credit dropped, new epoch, ask again
 *   a sole reader that gets nothing of what is left for 1 s: the same, and no sign of absence */
#include "nats/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum {
    EXPIRES_MS = 30000,
    HEARTBEAT_MS = 15000,
    SILENCE_MS = 2 * HEARTBEAT_MS + 1000,
    LATE_MS = 1000,
    STALL_MS = 1000,
    QUIET_MS = 250,
    EMPTY_MS = 20
};

void naq_pull_init(naq_pull *p, naq_loop *loop, uint16_t index, const char *stream,
                   const char *consumer) {
    memset(p, 0, sizeof *p);
    p->loop = loop;
    p->index = index;
    (void)snprintf(p->consumer, sizeof p->consumer, "%s", consumer);
    (void)snprintf(p->next_subject, sizeof p->next_subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s",
                   stream, consumer);
}

static uint32_t token(const naq_pull *p) {
    return (uint32_t)p->index << 20 | (p->epoch & 0xFFFFF);
}

void naq_pull_more(naq_pull *p, int batch, int64_t now_ms) {
    if (batch <= 0 || p->missing || now_ms < p->quiet_until_ms) return;
    int64_t span_ms = p->span_ms > 0 ? p->span_ms : EXPIRES_MS;
    char request[128];
    int n = snprintf(request, sizeof request, "{\"batch\":%d,\"expires\":%lld", batch,
                     (long long)span_ms * 1000000);
    if (span_ms >= 2 * HEARTBEAT_MS) /* the server wants half of it at most */
        n += snprintf(request + n, sizeof request - (size_t)n, ",\"idle_heartbeat\":%lld",
                      HEARTBEAT_MS * 1000000LL);
    request[n++] = '}';
    if (p->credit == 0) p->heard_ms = now_ms;
    naq_loop_pull(p->loop, p->next_subject, token(p), request, (size_t)n);
    p->credit += batch;
    p->asked_ms = now_ms;
    p->expires_ms = now_ms + span_ms;
}

void naq_pull_want(naq_pull *p, int want, int64_t now_ms) {
    if (p->credit * 2 <= want) naq_pull_more(p, want - p->credit, now_ms);
}

static int64_t found_empty_at(const naq_pull *p) {
    int64_t since = p->asked_ms > p->delivered_ms ? p->asked_ms : p->delivered_ms;
    return since + EMPTY_MS;
}

int64_t naq_pull_waiting(naq_pull *p, int64_t now_ms) {
    if (!p->sole && p->credit > 0 && p->pending > 0 && now_ms >= found_empty_at(p)) p->pending = 0;
    return p->pending;
}

void naq_pull_delivered(naq_pull *p, int64_t pending, int64_t now_ms) {
    if (p->credit > 0) p->credit--; /* more than asked for: answers to an epoch given up on */
    p->pending = pending;
    p->heard_ms = p->delivered_ms = now_ms;
    p->silences = 0;
}

static void drop_credit(naq_pull *p) {
    p->epoch++;
    p->credit = 0;
    p->pending = 0;
    p->expires_ms = 0;
}

void naq_pull_reset(naq_pull *p) {
    drop_credit(p);
    p->quiet_until_ms = 0;
    p->silences = 0;
}

void naq_pull_unheard(naq_pull *p, int64_t now_ms) {
    if (p->credit == 0 || p->heard_ms > p->asked_ms) return;
    drop_credit(p);
    p->quiet_until_ms = now_ms + QUIET_MS;
}

void naq_pull_status(naq_pull *p, uint32_t tok, int status, int64_t pending, const char *text,
                     int64_t now_ms) {
    if (tok != token(p)) return; /* a request that was given up on */
    p->heard_ms = now_ms;
    p->silences = 0;
    if (status == 100) return;
    if (status == 408 || (status == 409 && strstr(text, "Consumer Deleted") == NULL)) {
        /* A 408 that does not say how much it gives back ends all we know: start again. */
        if (pending < 0 || pending >= p->credit)
            drop_credit(p);
        else
            p->credit -= (int)pending;
        if (status == 409) p->quiet_until_ms = now_ms + QUIET_MS;
        return;
    }
    naq_log(NAQ_WARNING, "consumer %s: %d %s; it is created again", p->consumer, status, text);
    drop_credit(p);
    p->quiet_until_ms = now_ms + QUIET_MS;
    p->missing = true;
}

static int64_t silent_at(const naq_pull *p) {
    int64_t silent = p->heard_ms + SILENCE_MS;
    int64_t late = p->expires_ms + LATE_MS;
    return silent < late ? silent : late;
}

/* It is told that there is more, has asked for it, and gets nothing. */
static int64_t stalled_at(const naq_pull *p) {
    if (!p->sole || p->credit == 0 || p->pending == 0) return INT64_MAX;
    return (p->asked_ms > p->delivered_ms ? p->asked_ms : p->delivered_ms) + STALL_MS;
}

bool naq_pull_tick(naq_pull *p, int64_t now_ms) {
    (void)naq_pull_waiting(p, now_ms);
    if (now_ms >= stalled_at(p)) { /* or what was left was deleted: once more, and that shows */
        naq_log(NAQ_DEBUG, "consumer %s: a pull of %d stalls; asking again", p->consumer,
                p->credit);
        drop_credit(p);
        return false;
    }
    if (p->credit == 0 || now_ms < silent_at(p)) return false;
    /* Once may be a lost 408; twice in a row and nobody may be there at all. */
    bool again = ++p->silences > 1;
    naq_log(again ? NAQ_WARNING : NAQ_DEBUG, "consumer %s: a pull of %d went silent; asking again",
            p->consumer, p->credit);
    drop_credit(p);
    if (again) p->missing = true;
    return again;
}

int64_t naq_pull_deadline(const naq_pull *p, int64_t now_ms) {
    if (!p->sole && p->credit > 0 && p->pending > 0 && found_empty_at(p) > now_ms)
        return found_empty_at(p);
    if (p->credit > 0) return silent_at(p) < stalled_at(p) ? silent_at(p) : stalled_at(p);
    return p->quiet_until_ms > now_ms ? p->quiet_until_ms : INT64_MAX;
}

static int64_t number(const char *s) {
    int64_t n = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        n = n * 10 + (*s - '0');
    return n;
}

bool naq_delivery_parse(const char *reply, naq_delivery *out) {
    enum { TOKENS = 16 };
    const char *at[TOKENS + 1];
    int n = 0;
    if (strncmp(reply, "$JS.ACK.", 8) != 0) return false;
    at[n++] = reply;
    const char *s = reply;
    for (; *s != '\0' && n < TOKENS; s++)
        if (*s == '.') at[n++] = s + 1;
    at[n] = s + 1;
    /* Nine tokens, or from eleven on with domain and account in front of the stream. */
    int stream = n == 9 ? 2 : n >= 11 ? 4 : 0;
    if (stream == 0) return false;
    size_t len = (size_t)(at[stream + 2] - at[stream + 1] - 1);
    if (len >= sizeof out->consumer) return false;
    memcpy(out->consumer, at[stream + 1], len);
    out->consumer[len] = '\0';
    out->delivered = number(at[stream + 2]);
    out->stream_seq = (uint64_t)number(at[stream + 3]);
    out->stored_us = number(at[stream + 5]) / 1000;
    out->pending = number(at[stream + 6]);
    return true;
}
