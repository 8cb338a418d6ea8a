/* history.c -- which attempts stay, and how much of them. Any thread. */
#include "nats/history.h"

#include <string.h>

/* The newest ones, in a ring. */
typedef struct kept {
    naq_slice of[NAQ_ATTEMPTS_KEPT];
    int64_t n; /* all that came by */
} kept;

static void keep(kept *k, naq_slice attempt) {
    k->of[k->n++ % NAQ_ATTEMPTS_KEPT] = attempt;
}

static naq_status collect(const naq_history *h, kept *k, naq_err *err) {
    naq_json j;
    if (h->before.at != NULL) {
        naq_json_begin(&j, h->before.at, h->before.len);
        naq_status status = naq_json_array(&j, err);
        for (bool first = true; status == NAQ_OK; first = false) {
            naq_slice value;
            naq_json_kind kind;
            bool more;
            status = naq_json_element(&j, first, &more, &value, &kind, err);
            if (status != NAQ_OK || !more) break;
            keep(k, value);
        }
        if (status != NAQ_OK) return status;
    }
    if (h->latest.at != NULL) keep(k, h->latest);
    return NAQ_OK;
}

/* The attempt with "(cut)" for a traceback; as it is when it has none, or is no object. */
static void put_short(naq_buf *out, naq_slice attempt) {
    size_t start = out->len;
    naq_json j;
    naq_err ignored;
    naq_json_begin(&j, attempt.at, attempt.len);
    naq_status status = naq_json_object(&j, &ignored);
    naq_buf_putc(out, '{');
    for (bool first = true; status == NAQ_OK; first = false) {
        naq_slice key, value;
        naq_json_kind kind;
        bool more;
        status = naq_json_member(&j, first, &more, &key, &value, &kind, &ignored);
        if (status != NAQ_OK || !more) break;
        if (!first) naq_buf_putc(out, ',');
        naq_buf_putc(out, '"');
        naq_buf_put(out, key.at, key.len);
        naq_buf_puts(out, "\":");
        if (key.len == 9 && memcmp(key.at, "traceback", 9) == 0)
            naq_buf_puts(out, "\"(cut)\"");
        else
            naq_buf_put(out, value.at, value.len);
    }
    naq_buf_putc(out, '}');
    if (status == NAQ_OK) return;
    out->len = start;
    naq_buf_put(out, attempt.at, attempt.len);
}

typedef enum form { WHOLE, SHORT } form;

naq_status naq_history_put(naq_buf *out, const naq_history *h, size_t max_bytes, naq_err *err) {
    kept k = {.n = 0};
    form forms[NAQ_ATTEMPTS_KEPT];
    naq_status status = collect(h, &k, err);
    if (status != NAQ_OK) return status;
    int64_t least = k.n > NAQ_ATTEMPTS_KEPT ? k.n - NAQ_ATTEMPTS_KEPT : 0, from = k.n;
    naq_buf probe = {0};
    for (size_t used = 0; from > least; from--) {
        naq_slice attempt = k.of[(from - 1) % NAQ_ATTEMPTS_KEPT];
        size_t size = attempt.len + 1;
        form f = WHOLE;
        if (used + size > max_bytes) {
            naq_buf_clear(&probe);
            put_short(&probe, attempt);
            size = probe.len + 1;
            f = SHORT;
        }
        if (used + size > max_bytes && from < k.n) break;
        forms[(from - 1) % NAQ_ATTEMPTS_KEPT] = f;
        used += size;
    }
    naq_buf_free(&probe);
    naq_buf_puts(out, "\"attempts\":[");
    for (int64_t i = from; i < k.n; i++) {
        naq_slice attempt = k.of[i % NAQ_ATTEMPTS_KEPT];
        if (i > from) naq_buf_putc(out, ',');
        if (forms[i % NAQ_ATTEMPTS_KEPT] == SHORT)
            put_short(out, attempt);
        else
            naq_buf_put(out, attempt.at, attempt.len);
    }
    naq_buf_putc(out, ']');
    if (h->cut + from > 0) {
        naq_buf_puts(out, ",\"attempts_cut\":");
        naq_buf_int(out, h->cut + from);
    }
    return NAQ_OK;
}
