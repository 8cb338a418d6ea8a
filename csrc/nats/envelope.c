/* envelope.c -- a job's payload taken apart once, without copying, and put together for its next
 * publish. Unknown members are other people's business and travel as the bytes they are. */
#include "nats/envelope.h"

#include <math.h>
#include <string.h>

#include "base/id.h"
#include "base/traceparent.h"
#include "nats/history.h"

const char *const NAQ_PRIORITY_NAMES[NAQ_PRIORITIES] = {"high", "normal", "low"};

/* Hops and attempts beyond this are a mistake; below it, adding one cannot overflow. */
static const int64_t COUNT_MAX = 1000000000;
/* Enqueue times up to the year 5138: beyond, somebody gave milliseconds. */
static const int64_t ENQUEUED_MAX_US = INT64_C(100000000000) * 1000000;

/* The members that naq reads. */
typedef enum member {
    OTHER,
    VERSION,
    JOB,
    ARGS,
    ENQUEUED_AT,
    HOP,
    ATTEMPT,
    ATTEMPTS,
    ATTEMPTS_CUT,
    MAX_RETRIES,
    RESULT_TTL,
    TRACE,
    RELEASED_LATE,
    TIMEOUT,
    MEMORY_LIMIT,
    CPU_LIMIT,
    MAX_INSTRUCTIONS,
    SANDBOX
} member;

static member member_named(const char *s, size_t n) {
#define IS(name) (n == sizeof(name) - 1 && memcmp(s, name, sizeof(name) - 1) == 0)
    if (n == 0) return OTHER;
    switch (s[0]) {
    case 'v':
        return IS("v") ? VERSION : OTHER;
    case 'j':
        return IS("job") ? JOB : OTHER;
    case 'a':
        return IS("args")           ? ARGS
               : IS("attempt")      ? ATTEMPT
               : IS("attempts")     ? ATTEMPTS
               : IS("attempts_cut") ? ATTEMPTS_CUT
                                    : OTHER;
    case 'e':
        return IS("enqueued_at") ? ENQUEUED_AT : OTHER;
    case 'h':
        return IS("hop") ? HOP : OTHER;
    case 'm':
        return IS("max_retries")        ? MAX_RETRIES
               : IS("memory_limit")     ? MEMORY_LIMIT
               : IS("max_instructions") ? MAX_INSTRUCTIONS
                                        : OTHER;
    case 'r':
        return IS("result_ttl") ? RESULT_TTL : IS("released_late") ? RELEASED_LATE : OTHER;
    case 't':
        return IS("timeout") ? TIMEOUT : IS("trace") ? TRACE : OTHER;
    case 'c':
        return IS("cpu_limit") ? CPU_LIMIT : OTHER;
    case 's':
        return IS("sandbox") ? SANDBOX : OTHER;
    default:
        return OTHER;
    }
#undef IS
}

/* A key may be spelt with escapes ("j\u006fb"); such a one means the same member. */
static member member_of(naq_slice key) {
    char resolved[96]; /* a known name fits even when all of it is escaped */
    if (memchr(key.at, '\\', key.len) == NULL) return member_named(key.at, key.len);
    if (key.len > sizeof resolved) return OTHER;
    return member_named(resolved, naq_json_resolve(key, resolved));
}

bool naq_job_name_valid(const char *s, size_t n) {
    if (n < 1 || n > NAQ_JOB_NAME_MAX) return false;
    for (size_t i = 0, len; i < n; i += len) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7F || c == '"' || c == '\\') return false;
        len = naq_utf8_length((const unsigned char *)s + i, n - i);
        if (len == 0) return false;
    }
    return true;
}

static bool read_count(naq_slice value, naq_json_kind kind, int64_t least, int64_t *out) {
    long long n;
    if (kind != NAQ_JSON_NUMBER || !naq_json_int(value, &n)) return false;
    if (n < least || n > COUNT_MAX) return false;
    *out = n;
    return true;
}

/* Epoch seconds as microseconds, exact as long as they are written with six decimals at most. */
static bool read_time(naq_slice value, naq_json_kind kind, int64_t *out) {
    naq_number n;
    if (kind != NAQ_JSON_NUMBER) return false;
    if (naq_number_scan(value.at, value.at + value.len, &n) == NULL) return false;
    if (n.negative && n.digits != 0) return false;
    if (n.whole && n.scale <= 0 && n.scale >= -6 && n.digits <= (uint64_t)ENQUEUED_MAX_US) {
        uint64_t us = n.digits;
        for (int64_t i = n.scale; i > -6; i--)
            us = us > (uint64_t)ENQUEUED_MAX_US ? us : us * 10;
        *out = (int64_t)us;
        return us <= (uint64_t)ENQUEUED_MAX_US;
    }
    double us = naq_number_double(&n) * 1e6;
    if (!(us <= (double)ENQUEUED_MAX_US)) return false;
    *out = (int64_t)llround(us);
    return true;
}

/* Policy is not worth refusing a job for: what cannot be followed counts as not given. */
static double amount(naq_slice value, naq_json_kind kind) {
    double n = kind == NAQ_JSON_NUMBER ? naq_json_double(value) : -1;
    return n >= 0 ? n : -1;
}

static int64_t whole(double n) {
    static const double MOST = 9007199254740992.0;
    if (n > MOST) return (int64_t)MOST;
    return n == floor(n) ? (int64_t)n : -1;
}

static void take_limit(naq_envelope_limits *limits, member m, naq_slice value) {
    limits->any = true;
    switch (m) {
    case TIMEOUT:
        limits->timeout = value;
        break;
    case MEMORY_LIMIT:
        limits->memory_limit = value;
        break;
    case CPU_LIMIT:
        limits->cpu_limit = value;
        break;
    case MAX_INSTRUCTIONS:
        limits->max_instructions = value;
        break;
    default:
        limits->sandbox = value;
        break;
    }
}

/* Keep what the member says; NULL, or what is wrong with it. */
static const char *take(naq_envelope *e, member m, naq_slice value, naq_json_kind kind) {
    switch (m) {
    case VERSION:
        return value.len == 1 && value.at[0] == '1' ? NULL : "v: only version 1 is known";
    case JOB:
        if (kind != NAQ_JSON_STRING) return "job must be a string";
        e->job = (naq_slice){value.at + 1, value.len - 2};
        if (naq_job_name_valid(e->job.at, e->job.len)) return NULL;
        return "job must be a name of 1 to 128 bytes without escapes and control characters";
    case ARGS:
        e->args = value;
        return NULL;
    case ENQUEUED_AT:
        return read_time(value, kind, &e->enqueued_us) ? NULL
                                                       : "enqueued_at must be a time in seconds";
    case HOP:
        return read_count(value, kind, 0, &e->hop) ? NULL : "hop must be an integer from 0";
    case ATTEMPT:
        return read_count(value, kind, 1, &e->attempt) ? NULL : "attempt must be an integer from 1";
    case ATTEMPTS:
        e->attempts = value;
        return kind == NAQ_JSON_ARRAY ? NULL : "attempts must be an array";
    case ATTEMPTS_CUT:
        return read_count(value, kind, 0, &e->attempts_cut)
                   ? NULL
                   : "attempts_cut must be an integer from 0";
    case MAX_RETRIES:
        e->max_retries = whole(amount(value, kind));
        return NULL;
    case RESULT_TTL:
        e->result_ttl = amount(value, kind);
        return NULL;
    case TRACE: /* one that is not valid is to be taken as none */
        if (kind == NAQ_JSON_STRING && naq_traceparent_valid(value.at + 1, value.len - 2))
            e->trace = (naq_slice){value.at + 1, value.len - 2};
        return NULL;
    case RELEASED_LATE:
        e->released_late = kind == NAQ_JSON_TRUE;
        return NULL;
    case TIMEOUT:
    case MEMORY_LIMIT:
    case CPU_LIMIT:
    case MAX_INSTRUCTIONS:
    case SANDBOX:
        take_limit(&e->limits, m, value);
        return NULL;
    case OTHER:
        break;
    }
    return NULL;
}

static naq_status undecodable(naq_err *err) {
    naq_wrap(err, "payload");
    return err->status = NAQ_UNDECODABLE;
}

naq_status naq_envelope_parse(const char *data, size_t len, naq_envelope *out, naq_err *err) {
    naq_envelope e = {.attempt = 1, .max_retries = -1, .result_ttl = -1};
    naq_json j;
    naq_slice key, value;
    naq_json_kind kind;
    bool first = true, more;
    naq_json_begin(&j, data, len);
    if (naq_json_object(&j, err) != NAQ_OK) return undecodable(err);
    for (;; first = false) {
        if (naq_json_member(&j, first, &more, &key, &value, &kind, err) != NAQ_OK)
            return undecodable(err);
        if (!more) break;
        const char *wrong = take(&e, member_of(key), value, kind);
        if (wrong != NULL) return naq_fail(err, NAQ_UNDECODABLE, "payload: %s", wrong);
    }
    if (naq_json_end(&j, err) != NAQ_OK) return undecodable(err);
    if (e.job.at == NULL) return naq_fail(err, NAQ_UNDECODABLE, "payload: it has no job");
    *out = e;
    return NAQ_OK;
}

/* Members that rewriting leaves out, because it writes them anew or because they are not wanted. */
static bool left_out(member m, const naq_next *next) {
    bool history = next == NULL || next->failed_attempt.at != NULL;
    if (m == ATTEMPTS || m == ATTEMPTS_CUT) return history;
    if (next == NULL) return false;
    return m == HOP || m == ATTEMPT || (m == ENQUEUED_AT && next->enqueued_us != 0);
}

/* "{" and all members of the payload but those left out, each behind a comma but the first; what is
 * left out of the history goes to *history. */
static naq_status copy_members(const char *payload, size_t len, const naq_next *next,
                               naq_history *history, bool *any, naq_buf *out, naq_err *err) {
    naq_json j;
    naq_slice key, value;
    naq_json_kind kind;
    naq_status status;
    *any = false;
    naq_json_begin(&j, payload, len);
    if ((status = naq_json_object(&j, err)) != NAQ_OK) return status;
    naq_buf_putc(out, '{');
    for (bool first = true;; first = false) {
        bool more;
        status = naq_json_member(&j, first, &more, &key, &value, &kind, err);
        if (status != NAQ_OK) return status;
        if (!more) break;
        member m = member_of(key);
        if (m == ATTEMPTS) history->before = value;
        if (m == ATTEMPTS_CUT) (void)read_count(value, kind, 0, &history->cut);
        if (left_out(m, next)) continue;
        if (*any) naq_buf_putc(out, ',');
        *any = true;
        naq_buf_putc(out, '"');
        naq_buf_put(out, key.at, key.len);
        naq_buf_puts(out, "\":");
        naq_buf_put(out, value.at, value.len);
    }
    return naq_json_end(&j, err);
}

static naq_status rewrite(const char *payload, size_t len, const naq_next *next, naq_buf *out,
                          naq_err *err) {
    naq_history history = {.latest = next->failed_attempt};
    bool any;
    naq_status status = copy_members(payload, len, next, &history, &any, out, err);
    if (status != NAQ_OK) return status;
    if (any) naq_buf_putc(out, ',');
    if (next->enqueued_us != 0) {
        naq_buf_puts(out, "\"enqueued_at\":");
        naq_buf_time(out, next->enqueued_us);
        naq_buf_putc(out, ',');
    }
    naq_buf_puts(out, "\"hop\":");
    naq_buf_int(out, next->hop);
    naq_buf_puts(out, ",\"attempt\":");
    naq_buf_int(out, next->attempt);
    if (next->failed_attempt.at != NULL) {
        naq_buf_putc(out, ',');
        status = naq_history_put(out, &history, next->max_history, err);
        if (status != NAQ_OK) return status;
    }
    naq_buf_putc(out, '}');
    return NAQ_OK;
}

naq_status naq_envelope_step(const char *payload, size_t len, const naq_next *next, naq_buf *out,
                             naq_err *err) {
    size_t start = out->len;
    naq_status status = rewrite(payload, len, next, out, err);
    if (status != NAQ_OK)
        status = undecodable(err);
    else if (out->failed)
        status = naq_fail(err, NAQ_TOO_LARGE, "payload: no memory for it");
    if (status != NAQ_OK) out->len = start;
    return status;
}

naq_status naq_envelope_next(const char *payload, size_t len, int64_t hop, int64_t attempt,
                             int64_t enqueued_us, naq_slice failed_attempt, naq_buf *out,
                             naq_err *err) {
    naq_next next = {.hop = hop,
                     .attempt = attempt,
                     .enqueued_us = enqueued_us,
                     .failed_attempt = failed_attempt,
                     .max_history = NAQ_HISTORY_BYTES};
    return naq_envelope_step(payload, len, &next, out, err);
}

void naq_envelope_put_bare(const char *payload, size_t len, naq_buf *out) {
    size_t start = out->len;
    naq_history ignored;
    naq_err err;
    bool any;
    if (copy_members(payload, len, NULL, &ignored, &any, out, &err) == NAQ_OK) {
        naq_buf_putc(out, '}');
        return;
    }
    out->len = start;
    naq_buf_put(out, payload, len);
}

/* Cut the next token off *at. */
static naq_slice token(const char **at) {
    const char *begin = *at;
    size_t len = strcspn(begin, ".");
    *at = begin[len] == '.' ? begin + len + 1 : begin + len;
    return (naq_slice){begin, len};
}

bool naq_priority_parse(const char *name, size_t len, naq_priority *out) {
    for (int i = 0; i < NAQ_PRIORITIES; i++) {
        if (strlen(NAQ_PRIORITY_NAMES[i]) != len || memcmp(NAQ_PRIORITY_NAMES[i], name, len) != 0)
            continue;
        *out = (naq_priority)i;
        return true;
    }
    return false;
}

bool naq_address_parse(const char *subject, const char *prefix, naq_address *out) {
    size_t n = strlen(prefix);
    if (strncmp(subject, prefix, n) != 0 || subject[n] != '.') return false;
    const char *at = subject + n + 1;
    char kind = at[0];
    if (kind == '\0' || strchr("qfd", kind) == NULL || at[1] != '.') return false;
    at += 2;
    naq_address a = {.priority = NAQ_NORMAL};
    a.queue = token(&at);
    if (!naq_id_valid(a.queue.at, a.queue.len)) return false;
    if (kind == 'd') a.queue = (naq_slice){NULL, 0};
    if (kind == 'q') {
        naq_slice name = token(&at);
        if (!naq_priority_parse(name.at, name.len, &a.priority)) return false;
    }
    /* The rest is the id: a further dot, or one at the end, makes it a bad one. */
    a.id = (naq_slice){at, strlen(at)};
    if (!naq_id_valid(a.id.at, a.id.len)) return false;
    *out = a;
    return true;
}
