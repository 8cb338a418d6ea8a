/* reply.c -- members, errors and stored messages out of JetStream's JSON answers. */
#include "nats/reply.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

naq_slice naq_reply_member(naq_slice object, const char *name) {
    naq_json j;
    naq_err ignored;
    size_t n = strlen(name);
    if (object.at == NULL) return (naq_slice){0};
    naq_json_begin(&j, object.at, object.len);
    if (naq_json_object(&j, &ignored) != NAQ_OK) return (naq_slice){0};
    for (bool first = true;; first = false) {
        bool more;
        naq_slice key, value;
        naq_json_kind kind;
        if (naq_json_member(&j, first, &more, &key, &value, &kind, &ignored) != NAQ_OK || !more)
            return (naq_slice){0};
        if (key.len == n && memcmp(key.at, name, n) == 0) return value;
    }
}

int64_t naq_reply_int(naq_slice object, const char *name, int64_t fallback) {
    naq_slice value = naq_reply_member(object, name);
    long long n;
    return value.at != NULL && naq_json_int(value, &n) ? (int64_t)n : fallback;
}

void naq_reply_text(naq_slice object, const char *name, char *out, size_t size) {
    naq_slice value = naq_reply_member(object, name);
    naq_buf text = {0};
    naq_err ignored;
    out[0] = '\0';
    if (value.at != NULL && value.at[0] == '"' &&
        naq_json_unescape(value, &text, &ignored) == NAQ_OK && text.data != NULL && !text.failed)
        (void)snprintf(out, size, "%.*s", (int)text.len, text.data);
    naq_buf_free(&text);
}

int naq_reply_error(naq_slice answer, char *description, size_t size) {
    naq_slice error = naq_reply_member(answer, "error");
    if (error.at == NULL) return 0;
    naq_reply_text(error, "description", description, size);
    int64_t code = naq_reply_int(error, "err_code", 0);
    /* Answers without an err_code (a missing API, say) still carry HTTP's idea of one. */
    return (int)(code != 0 ? code : naq_reply_int(error, "code", 500));
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Go writes base64 with padding and no line breaks; JSON strings may escape the slash. */
static bool put_base64(naq_slice string, naq_buf *out) {
    if (string.at == NULL) return true; /* an absent member is an empty one */
    if (string.len < 2 || string.at[0] != '"') return false;
    char *to = naq_buf_reserve(out, string.len);
    if (to == NULL) return false;
    unsigned bits = 0;
    int have = 0;
    size_t n = 0;
    for (size_t i = 1; i + 1 < string.len && string.at[i] != '='; i++) {
        if (string.at[i] == '\\') continue;
        int digit = base64_digit(string.at[i]);
        if (digit < 0) return false;
        bits = bits << 6 | (unsigned)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[n++] = (char)(bits >> have & 0xFF);
        }
    }
    out->len += n;
    return true;
}

/* The server writes UTC. */
int64_t naq_reply_time(const char *text) {
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL) return 0;
    int64_t us = (int64_t)timegm(&tm) * 1000000, unit = 100000;
    if (*rest == '.')
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
            us += (*rest - '0') * unit;
    return us;
}

static int64_t time_us(naq_slice string) {
    char text[48];
    if (string.at == NULL || string.len < 3 || string.len - 2 >= sizeof text) return 0;
    memcpy(text, string.at + 1, string.len - 2);
    text[string.len - 2] = '\0';
    return naq_reply_time(text);
}

bool naq_reply_stored(naq_slice answer, naq_stored *out) {
    naq_slice message = naq_reply_member(answer, "message");
    naq_slice subject = naq_reply_member(message, "subject");
    naq_err ignored;
    if (subject.at == NULL || naq_json_unescape(subject, &out->subject, &ignored) != NAQ_OK)
        return false;
    out->sequence = (uint64_t)naq_reply_int(message, "seq", 0);
    out->time_us = time_us(naq_reply_member(message, "time"));
    return put_base64(naq_reply_member(message, "data"), &out->data) &&
           put_base64(naq_reply_member(message, "hdrs"), &out->headers) && !out->subject.failed;
}

void naq_stored_free(naq_stored *s) {
    naq_buf_free(&s->subject);
    naq_buf_free(&s->data);
    naq_buf_free(&s->headers);
}

naq_slice naq_stored_header(const naq_stored *s, const char *name) {
    size_t n = strlen(name);
    const char *at = s->headers.data, *end = at + s->headers.len;
    while (at != NULL && at < end) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        if (eol == NULL) eol = end;
        if ((size_t)(eol - at) > n && memcmp(at, name, n) == 0 && at[n] == ':') {
            const char *value = at + n + 1, *stop = eol;
            while (value < stop && *value == ' ')
                value++;
            while (stop > value && (stop[-1] == '\r' || stop[-1] == ' '))
                stop--;
            return (naq_slice){value, (size_t)(stop - value)};
        }
        at = eol + 1;
    }
    return (naq_slice){0};
}
