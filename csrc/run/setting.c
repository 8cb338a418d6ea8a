/* setting.c -- a queue's record read, and laid over a file. */
#include "run/setting.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "nats/reply.h"

double naq_rate_parse(const char *text, size_t len) {
    char copy[64], *end = NULL;
    if (len == 0 || len >= sizeof copy) return 0;
    memcpy(copy, text, len);
    copy[len] = '\0';
    double n = strtod(copy, &end);
    double period = 1;
    while (*end == ' ')
        end++;
    if (*end == '/') {
        end++;
        while (*end == ' ')
            end++;
        period = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : 0;
        if (*end != '\0') end++;
    }
    if (end == copy || *end != '\0' || period == 0 || !(n > 0) || n > 1e12) return 0;
    return n / period;
}

static bool is(naq_slice value, const char *word) {
    return value.len == strlen(word) && memcmp(value.at, word, value.len) == 0;
}

static bool take_paused(naq_setting *s, naq_slice value) {
    if (!is(value, "true") && !is(value, "false")) return false;
    s->paused = is(value, "true");
    return true;
}

static bool take_concurrency(naq_setting *s, naq_slice value) {
    long long n = 0;
    if (!naq_json_int(value, &n) || n < 1 || n > INT_MAX) return false;
    s->concurrency = (int)n;
    return true;
}

static bool take_rate(naq_setting *s, naq_slice value) {
    bool quoted = value.len > 1 && value.at[0] == '"';
    s->rate =
        quoted ? naq_rate_parse(value.at + 1, value.len - 2) : naq_rate_parse(value.at, value.len);
    return s->rate > 0;
}

static bool take_ack_wait(naq_setting *s, naq_slice value) {
    if (value.at[0] != '-' && (value.at[0] < '0' || value.at[0] > '9')) return false;
    double seconds = naq_json_double(value);
    if (!(seconds >= 0.001) || seconds > 1e9) return false;
    s->ack_wait_ms = (int64_t)(seconds * 1000);
    return true;
}

static const struct {
    const char *name;
    unsigned bit;
    bool (*take)(naq_setting *s, naq_slice value);
} MEMBERS[] = {
    {"paused", NAQ_SET_PAUSED, take_paused},
    {"concurrency", NAQ_SET_CONCURRENCY, take_concurrency},
    {"rate_limit", NAQ_SET_RATE, take_rate},
    {"ack_wait", NAQ_SET_ACK_WAIT, take_ack_wait},
};
enum { N_MEMBERS = sizeof MEMBERS / sizeof *MEMBERS };

naq_status naq_setting_read(naq_setting *out, const char *text, size_t len, naq_err *err) {
    naq_status status = NAQ_OK;
    memset(out, 0, sizeof *out);
    naq_json j;
    naq_slice whole;
    naq_json_kind kind;
    naq_json_begin(&j, text, len);
    if (naq_json_value(&j, &whole, &kind, err) != NAQ_OK || naq_json_end(&j, err) != NAQ_OK)
        return err->status;
    if (kind != NAQ_JSON_OBJECT) return naq_fail(err, NAQ_CONFIGURATION, "it is no JSON object");
    for (int i = 0; i < N_MEMBERS; i++) {
        naq_slice value = naq_reply_member(whole, MEMBERS[i].name);
        if (value.at == NULL || is(value, "null")) continue;
        if (MEMBERS[i].take(out, value))
            out->given |= MEMBERS[i].bit;
        else
            status = naq_fail(err, NAQ_CONFIGURATION, "%s: %.*s is nothing that can be used",
                              MEMBERS[i].name, (int)(value.len < 64 ? value.len : 64), value.at);
    }
    return status;
}

static bool is_setting(naq_slice name) {
    for (int i = 0; i < N_MEMBERS; i++)
        if (is(name, MEMBERS[i].name)) return true;
    return false;
}

void naq_setting_policy(const char *text, size_t len, naq_buf *out) {
    naq_json j;
    naq_err ignored;
    naq_slice key, value;
    naq_json_kind kind;
    bool more = true, any = false;
    naq_json_begin(&j, text, len);
    if (naq_json_object(&j, &ignored) != NAQ_OK) return;
    for (bool first = true; more; first = false) {
        if (naq_json_member(&j, first, &more, &key, &value, &kind, &ignored) != NAQ_OK || !more)
            break;
        if (is_setting(key)) continue;
        naq_buf_putc(out, any ? ',' : '{');
        naq_buf_printf(out, "\"%.*s\":%.*s", (int)key.len, key.at, (int)value.len, value.at);
        any = true;
    }
    if (any) naq_buf_putc(out, '}');
}

static const naq_setting *who(const naq_setting *record, const naq_setting *file, unsigned bit) {
    static const naq_setting NOTHING;
    return record->given & bit ? record : file->given & bit ? file : &NOTHING;
}

naq_setting naq_setting_over(const naq_setting *record, const naq_setting *file) {
    return (naq_setting){
        .given = record->given | file->given,
        .paused = who(record, file, NAQ_SET_PAUSED)->paused,
        .concurrency = who(record, file, NAQ_SET_CONCURRENCY)->concurrency,
        .rate = who(record, file, NAQ_SET_RATE)->rate,
        .ack_wait_ms = who(record, file, NAQ_SET_ACK_WAIT)->ack_wait_ms,
    };
}

const char *naq_setting_differs(const naq_setting *record, const naq_setting *file) {
    unsigned both = record->given & file->given;
    if ((both & NAQ_SET_PAUSED) && record->paused != file->paused) return "paused";
    if ((both & NAQ_SET_CONCURRENCY) && record->concurrency != file->concurrency)
        return "concurrency";
    if ((both & NAQ_SET_RATE) && record->rate != file->rate) return "rate_limit";
    if ((both & NAQ_SET_ACK_WAIT) && record->ack_wait_ms != file->ack_wait_ms) return "ack_wait";
    return NULL;
}
