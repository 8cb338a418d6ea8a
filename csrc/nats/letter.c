/* letter.c -- dead letters as JSON. Any thread. */
#include "nats/letter.h"

#include <string.h>

/* Writing */

static void put_base64(naq_buf *b, const char *data, size_t len) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < len ? (unsigned char)data[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            naq_buf_putc(b, i + k <= len ? DIGITS[v >> (18 - 6 * k) & 63] : '=');
    }
}

void naq_letter_put_error(naq_buf *out, const char *code, const char *message,
                          const char *traceback) {
    naq_buf_puts(out, "\"code\":");
    naq_buf_json_string(out, code, strlen(code));
    naq_buf_puts(out, ",\"message\":");
    naq_buf_json_string(out, message, strlen(message));
    if (traceback == NULL || *traceback == '\0') return;
    naq_buf_puts(out, ",\"traceback\":");
    naq_buf_json_string(out, traceback, strlen(traceback));
}

static bool is_json(const char *text, size_t len, naq_slice *whole) {
    naq_json j;
    naq_json_kind kind;
    naq_err ignored;
    naq_json_begin(&j, text, len);
    return naq_json_value(&j, whole, &kind, &ignored) == NAQ_OK &&
           naq_json_end(&j, &ignored) == NAQ_OK;
}

static void put_payload(const naq_letter *l, bool with_payload, naq_buf *out) {
    naq_slice whole;
    if (!with_payload) {
        naq_buf_printf(out, ",\"payload_cut\":%zu", l->payload_len);
    } else if (is_json(l->payload, l->payload_len, &whole)) {
        naq_buf_puts(out, ",\"payload\":");
        naq_envelope_put_bare(whole.at, whole.len, out);
    } else {
        naq_buf_puts(out, ",\"payload_base64\":\"");
        put_base64(out, l->payload, l->payload_len);
        naq_buf_putc(out, '"');
    }
}

static naq_status write_within(const naq_letter *l, size_t max_history, bool with_payload,
                               naq_buf *out, naq_err *err) {
    naq_buf_puts(out, "{\"v\":1,\"id\":");
    naq_buf_json_string(out, l->id, strlen(l->id));
    naq_buf_puts(out, ",\"queue\":");
    naq_buf_json_string(out, l->queue, strlen(l->queue));
    naq_buf_printf(out, ",\"priority\":\"%s\",\"reason\":\"%s\",\"failed_at\":",
                   NAQ_PRIORITY_NAMES[l->priority], l->reason);
    naq_buf_time(out, l->failed_us);
    naq_buf_puts(out, ",\"error\":{");
    bool cut = max_history == 0 && l->traceback != NULL && *l->traceback != '\0';
    naq_letter_put_error(out, l->code, l->message, cut ? "(cut)" : l->traceback);
    naq_buf_puts(out, "},");
    naq_status status = naq_history_put(out, &l->history, max_history, err);
    if (status != NAQ_OK) return status;
    put_payload(l, with_payload, out);
    naq_buf_putc(out, '}');
    return out->failed ? naq_fail(err, NAQ_TOO_LARGE, "dead letter: out of memory") : NAQ_OK;
}

naq_status naq_letter_write(const naq_letter *l, size_t max_bytes, naq_buf *out, bool *whole,
                            naq_err *err) {
    static const struct {
        size_t history;
        bool payload;
    } TRIES[] = {{NAQ_HISTORY_BYTES, true}, {0, true}, {NAQ_HISTORY_BYTES, false}, {0, false}};
    size_t start = out->len;
    for (size_t i = 0; i < sizeof TRIES / sizeof *TRIES; i++) {
        out->len = start;
        naq_status status = write_within(l, TRIES[i].history, TRIES[i].payload, out, err);
        if (status != NAQ_OK) return status;
        *whole = TRIES[i].payload;
        if (out->len - start <= max_bytes) break;
    }
    return NAQ_OK;
}

/* Reading */

static bool named(naq_slice key, const char *name) {
    return key.len == strlen(name) && memcmp(key.at, name, key.len) == 0;
}

bool naq_letter_keep(const char *payload, size_t len, size_t max_bytes, naq_buf *out) {
    naq_envelope job;
    naq_err ignored;
    size_t start = out->len;
    if (naq_envelope_parse(payload, len, &job, &ignored) != NAQ_OK) return false;
    naq_buf_puts(out, "\"payload\":");
    naq_envelope_put_bare(payload, len, out);
    size_t bare = out->len;
    if (job.attempts.at != NULL && bare - start < max_bytes) {
        size_t room = max_bytes - (bare - start);
        naq_history history = {.before = job.attempts, .cut = job.attempts_cut};
        naq_buf_putc(out, ',');
        size_t most = room < NAQ_HISTORY_BYTES ? room : NAQ_HISTORY_BYTES;
        if (naq_history_put(out, &history, most, &ignored) != NAQ_OK ||
            out->len - start > max_bytes)
            out->len = bare;
    }
    if (!out->failed && out->len - start <= max_bytes) return true;
    out->len = start;
    return false;
}

static void take(naq_letter_members *l, naq_slice key, naq_slice value, naq_json_kind kind) {
    naq_slice inside = {value.at + 1, value.len - 2};
    bool text = kind == NAQ_JSON_STRING;
    long long n;
    if (named(key, "id") && text)
        l->id = inside;
    else if (named(key, "queue") && text)
        l->queue = inside;
    else if (named(key, "priority") && text)
        l->priority = inside;
    else if (named(key, "reason") && text)
        l->reason = inside;
    else if (named(key, "failed_at") && kind == NAQ_JSON_NUMBER)
        l->failed_at = value;
    else if (named(key, "error") && kind == NAQ_JSON_OBJECT)
        l->error = value;
    else if (named(key, "attempts") && kind == NAQ_JSON_ARRAY)
        l->attempts = value;
    else if (named(key, "payload"))
        l->payload = value;
    else if (named(key, "payload_base64") && text)
        l->payload_base64 = value;
    else if (named(key, "attempts_cut") && kind == NAQ_JSON_NUMBER && naq_json_int(value, &n))
        l->attempts_cut = n > 0 && n < 1000000000 ? n : 0;
    else if (named(key, "payload_cut") && kind == NAQ_JSON_NUMBER && naq_json_int(value, &n))
        l->payload_cut = n > 0 ? n : 0;
}

naq_status naq_letter_read(const char *text, size_t len, naq_letter_members *out, naq_err *err) {
    naq_json j;
    memset(out, 0, sizeof *out);
    naq_json_begin(&j, text, len);
    naq_status status = naq_json_object(&j, err);
    for (bool first = true; status == NAQ_OK; first = false) {
        naq_slice key, value;
        naq_json_kind kind;
        bool more;
        status = naq_json_member(&j, first, &more, &key, &value, &kind, err);
        if (status != NAQ_OK || !more) break;
        take(out, key, value, kind);
    }
    return status == NAQ_OK ? NAQ_OK : naq_wrap(err, "dead letter");
}

naq_status naq_letter_revive(const naq_letter_members *l, naq_buf *out, int64_t *hop,
                             naq_err *err) {
    if (l->payload.at == NULL) {
        const char *why = l->payload_cut > 0             ? "it was too large to be kept"
                          : l->payload_base64.at != NULL ? "it is not JSON"
                                                         : "it is not there";
        return naq_fail(err, NAQ_UNDECODABLE, "payload: %s", why);
    }
    naq_envelope job;
    naq_status status = naq_envelope_parse(l->payload.at, l->payload.len, &job, err);
    if (status != NAQ_OK) return status;
    /* Without the history of the payload itself: the letter's has it and what came after. */
    naq_buf bare = {0};
    naq_envelope_put_bare(l->payload.at, l->payload.len, &bare);
    naq_next next = {.hop = job.hop + 1, .attempt = 1, .max_history = NAQ_HISTORY_BYTES};
    size_t start = out->len;
    status = bare.failed ? naq_fail(err, NAQ_TOO_LARGE, "payload: out of memory")
                         : naq_envelope_step(bare.data, bare.len, &next, out, err);
    naq_buf_free(&bare);
    if (status != NAQ_OK) return status;
    if (l->attempts.at != NULL && out->len > start) {
        naq_history history = {.before = l->attempts, .cut = l->attempts_cut};
        out->len--; /* the closing brace */
        naq_buf_putc(out, ',');
        status = naq_history_put(out, &history, NAQ_HISTORY_BYTES, err);
        naq_buf_putc(out, '}');
    }
    if (status == NAQ_OK && out->failed)
        status = naq_fail(err, NAQ_TOO_LARGE, "payload: out of memory");
    *hop = next.hop;
    return status;
}
