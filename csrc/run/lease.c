/* lease.c -- who holds how many slots. */
#include "run/lease.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "nats/reply.h"

static const naq_holder *find(const naq_holder *all, int n, const char *worker) {
    for (int i = 0; i < n; i++)
        if (strcmp(all[i].worker, worker) == 0) return &all[i];
    return NULL;
}

static bool read_holder(naq_holder *h, naq_slice name, naq_slice value) {
    memset(h, 0, sizeof *h);
    if (name.len == 0 || name.len >= sizeof h->worker) return false;
    memcpy(h->worker, name.at, name.len);
    int64_t slots = naq_reply_int(value, "slots", 0);
    h->slots = slots > 0 && slots < INT_MAX / 2 ? (int)slots : 0;
    h->beat = naq_reply_int(value, "beat", 0);
    return h->slots > 0;
}

void naq_leases_forget(naq_leases *l) {
    free(l->all);
    memset(l, 0, sizeof *l);
}

void naq_leases_read(naq_leases *l, const char *text, size_t len, uint64_t revision,
                     int64_t now_ms) {
    if (revision <= l->revision) return;
    if (text == NULL) len = 0, text = "";
    naq_holder *before = l->all;
    int n_before = l->n, room = 0;
    *l = (naq_leases){.revision = revision};
    naq_slice held = naq_reply_member((naq_slice){text, len}, "held");
    naq_json j;
    naq_err ignored;
    bool more = held.at != NULL;
    naq_json_begin(&j, held.at != NULL ? held.at : "", held.len);
    if (more && naq_json_object(&j, &ignored) != NAQ_OK) more = false;
    for (bool first = true; more; first = false) {
        naq_slice key, value;
        naq_json_kind kind;
        naq_holder h;
        if (naq_json_member(&j, first, &more, &key, &value, &kind, &ignored) != NAQ_OK || !more)
            break;
        if (!read_holder(&h, key, value)) continue;
        if (l->n == room) {
            room = room * 2 + 8;
            naq_holder *grown = realloc(l->all, (size_t)room * sizeof *grown);
            if (grown == NULL) break;
            l->all = grown;
        }
        const naq_holder *same = find(before, n_before, h.worker);
        h.seen_ms = same != NULL && same->beat == h.beat ? same->seen_ms : now_ms;
        l->all[l->n++] = h;
    }
    free(before);
}

void naq_leases_doubt(naq_leases *l, int64_t now_ms) {
    for (int i = 0; i < l->n; i++)
        l->all[i].seen_ms = now_ms;
}

static bool lapsed(const naq_holder *h, int64_t now_ms) {
    return now_ms - h->seen_ms >= NAQ_LEASE_MS;
}

int naq_leases_others(const naq_leases *l, const char *me, int64_t now_ms, int64_t *lapse_ms) {
    int64_t sum = 0;
    *lapse_ms = INT64_MAX;
    for (int i = 0; i < l->n; i++) {
        const naq_holder *h = &l->all[i];
        if (strcmp(h->worker, me) == 0 || lapsed(h, now_ms)) continue;
        sum += h->slots;
        if (h->seen_ms + NAQ_LEASE_MS < *lapse_ms) *lapse_ms = h->seen_ms + NAQ_LEASE_MS;
    }
    return sum > INT_MAX / 2 ? INT_MAX / 2 : (int)sum;
}

bool naq_leases_holds(const naq_leases *l, const char *me, int slots, int64_t beat) {
    const naq_holder *mine = find(l->all, l->n, me);
    if (slots == 0) return mine == NULL;
    return mine != NULL && mine->slots == slots && mine->beat == beat;
}

void naq_leases_write(const naq_leases *l, const char *me, int slots, int64_t beat, int64_t now_ms,
                      naq_buf *out) {
    bool first = true;
    naq_buf_puts(out, "{\"held\":{");
    for (int i = 0; i < l->n; i++) {
        const naq_holder *h = &l->all[i];
        if (strcmp(h->worker, me) == 0 || lapsed(h, now_ms)) continue;
        naq_buf_printf(out, "%s\"%s\":{\"slots\":%d,\"beat\":%lld}", first ? "" : ",", h->worker,
                       h->slots, (long long)h->beat);
        first = false;
    }
    if (slots > 0)
        naq_buf_printf(out, "%s\"%s\":{\"slots\":%d,\"beat\":%lld}", first ? "" : ",", me, slots,
                       (long long)beat);
    naq_buf_puts(out, "}}");
}
