/* stragglers.c -- the first subjects of the delayed store, in their order.
 *
 * No filter says "buckets before this one", but STREAM.INFO lists subjects sorted, and bucket
 * numbers have as many digits until the year 2160: what is in closed buckets comes first. One page
 * will do; when it is full of them the next look finds the rest. It costs the server a walk over
 * all subjects (0.1 s and more at a million), so it is done seldom. */
#include "run/stragglers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { ASK_MS = 30000, SOON_MS = 2000, READING_MS = 100, OPENED_AT_ONCE = 16 };

void naq_stragglers_init(naq_stragglers *s, naq_buckets *buckets, naq_errands *errands,
                         int64_t every_ms) {
    s->buckets = buckets;
    s->errands = errands;
    s->every_ms = every_ms > 0 ? every_ms : NAQ_STRAGGLERS_EVERY_MS;
    s->next_ms = INT64_MAX;
}

void naq_stragglers_look(naq_stragglers *s, int64_t at_ms) {
    if (at_ms < s->next_ms) s->next_ms = at_ms;
}

/* The answer may be megabytes long, of which only the beginning matters: no JSON is parsed. */
static void listed(void *ctx, int64_t arg, naq_slice answer) {
    (void)arg;
    naq_stragglers *s = ctx;
    int64_t now = naq_mono_ms(), last = -1;
    int opened = 0;
    s->next_ms = now + s->every_ms;
    if (answer.at == NULL) return;
    char head[96];
    size_t n = (size_t)snprintf(head, sizeof head, "\"%s.d.", s->buckets->prefix);
    const char *at = memmem(answer.at, answer.len, "\"subjects\":{", 12),
               *end = answer.at + answer.len;
    while (at != NULL && (at = memmem(at, (size_t)(end - at), head, n)) != NULL) {
        at += n;
        char *digits_end;
        int64_t number = strtoll(at, &digits_end, 10);
        if (*digits_end != '.' || number == last) continue;
        last = number;
        if (number > s->buckets->newest) return;
        if (opened == OPENED_AT_ONCE) {
            s->next_ms = now + SOON_MS;
            return;
        }
        if (!naq_buckets_open(s->buckets, number)) continue;
        opened++;
        naq_log(NAQ_INFO,
                "the delayed store has jobs in its closed bucket %" PRId64 "; it is opened again",
                number);
    }
}

/* Not while buckets are being read: what is asked for meanwhile waits for the end of the walk. */
void naq_stragglers_turn(naq_stragglers *s, int64_t now_ms) {
    if (now_ms < s->next_ms || s->buckets->oldest == INT64_MAX) return;
    if (!naq_buckets_read(s->buckets)) {
        s->next_ms = now_ms + READING_MS;
        return;
    }
    char subject[128], request[128];
    const char *prefix = s->buckets->prefix;
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s_delayed", prefix);
    int n = snprintf(request, sizeof request, "{\"subjects_filter\":\"%s.d.*.*\"}", prefix);
    bool sent = naq_errand_send(s->errands, subject, request, (size_t)n, ASK_MS, listed, s, 0);
    s->next_ms = sent ? INT64_MAX : now_ms + SOON_MS;
}
