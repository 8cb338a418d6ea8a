/* json.c -- the strict scanner: every byte of every job's payload passes here once.
 *
 * Strings are what JSON is made of, so they go eight bytes at a time until something that is not a
 * plain character turns up, then by a table. Nesting is tracked in an array of brackets, not by
 * recursion. */
#include "base/json.h"

#include <stdint.h>
#include <string.h>

/* What a byte inside a string is. */
enum { PLAIN, QUOTE, ESCAPE, CONTROL, UTF8 };
static const unsigned char CLASS[256] = {
    [0x00 ... 0x1F] = CONTROL, ['"'] = QUOTE, ['\\'] = ESCAPE, [0x80 ... 0xFF] = UTF8};

static naq_status refuse(const naq_json *j, const char *at, const char *what, naq_err *err) {
    return naq_fail(err, NAQ_SERIALIZATION, "invalid JSON at byte %zu: %s",
                    (size_t)(at - j->start) + 1, what);
}

/* The first byte at or after p that is not a plain character of a string. */
static inline const char *skip_plain(const char *p, const char *end) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, sizeof w);
        /* The top bit of a byte of `odd` is set if it is below 0x20, a quote, a backslash or above
         * 0x7F. A borrow can only spoil the bytes after one that is set rightly. */
        uint64_t quote = w ^ (ones * '"'), escape = w ^ (ones * '\\');
        uint64_t odd = (w - ones * 0x20) | (quote - ones) | (escape - ones) | w;
        if (odd & (ones * 0x80)) break;
        p += 8;
    }
    while (p < end && CLASS[(unsigned char)*p] == PLAIN)
        p++;
    return p;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The four digits after \u, or -1. */
static int hex4(const char *p, const char *end) {
    if (end - p < 4) return -1;
    int code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code;
}

/* The byte after the escape sequence whose backslash is at p; NULL and why when it is not one. */
static const char *scan_escape(const char *p, const char *end, const char **why) {
    *why = "unknown escape sequence";
    if (end - p < 2) return NULL;
    if (p[1] != 'u') return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL ? p + 2 : NULL;
    *why = "four hexadecimal digits expected after \\u";
    int code = hex4(p + 2, end);
    if (code < 0) return NULL;
    p += 6;
    if (code < 0xD800 || code > 0xDFFF) return p;
    *why = "half of a surrogate pair";
    if (code > 0xDBFF || end - p < 6 || p[0] != '\\' || p[1] != 'u') return NULL;
    code = hex4(p + 2, end);
    return code >= 0xDC00 && code <= 0xDFFF ? p + 6 : NULL;
}

/* From behind the opening quote to the closing one. */
static naq_status scan_string(const naq_json *j, const char *p, const char **close, bool *escaped,
                              naq_err *err) {
    *escaped = false;
    for (;;) {
        p = skip_plain(p, j->end);
        if (p == j->end) return refuse(j, p, "unfinished string", err);
        const char *why = NULL, *next;
        size_t len;
        switch (CLASS[(unsigned char)*p]) {
        case QUOTE:
            *close = p;
            return NAQ_OK;
        case ESCAPE:
            *escaped = true;
            next = scan_escape(p, j->end, &why);
            if (next == NULL) return refuse(j, p, why, err);
            p = next;
            break;
        case UTF8:
            len = naq_utf8_length((const unsigned char *)p, (size_t)(j->end - p));
            if (len == 0) return refuse(j, p, "not UTF-8", err);
            p += len;
            break;
        default:
            return refuse(j, p, "control character in a string", err);
        }
    }
}

void naq_json_begin(naq_json *j, const char *text, size_t len) {
    if (text == NULL) text = ""; /* no arithmetic on NULL below */
    *j = (naq_json){.at = text, .end = text + len, .start = text, .depth = 0};
}

naq_status naq_json_more(naq_json *j, char close, bool *more, naq_err *err) {
    *more = naq_json_skip(j, ',');
    if (*more || naq_json_skip(j, close)) return NAQ_OK;
    return refuse(j, j->at, close == ']' ? "',' or ']' expected" : "',' or '}' expected", err);
}

naq_status naq_json_string(naq_json *j, naq_slice *raw, bool *escaped, naq_err *err) {
    if (naq_json_peek(j) != '"') return refuse(j, j->at, "string expected", err);
    const char *begin = j->at + 1, *close = begin;
    naq_status status = scan_string(j, begin, &close, escaped, err);
    if (status != NAQ_OK) return status;
    *raw = (naq_slice){begin, (size_t)(close - begin)};
    j->at = close + 1;
    return NAQ_OK;
}

naq_status naq_json_number(naq_json *j, naq_number *number, naq_err *err) {
    naq_json_peek(j);
    const char *next = naq_number_scan(j->at, j->end, number);
    if (next == NULL) return refuse(j, j->at, "malformed number", err);
    j->at = next;
    return NAQ_OK;
}

naq_status naq_json_word(naq_json *j, naq_json_kind *kind, naq_err *err) {
    static const struct {
        char text[6];
        unsigned char len;
        naq_json_kind kind;
    } WORDS[] = {
        {"true", 4, NAQ_JSON_TRUE}, {"false", 5, NAQ_JSON_FALSE}, {"null", 4, NAQ_JSON_NULL}};
    naq_json_peek(j);
    for (size_t i = 0; i < 3; i++) {
        size_t len = WORDS[i].len;
        if ((size_t)(j->end - j->at) < len || memcmp(j->at, WORDS[i].text, len) != 0) continue;
        j->at += len;
        *kind = WORDS[i].kind;
        return NAQ_OK;
    }
    return refuse(j, j->at, "value expected", err);
}

naq_status naq_json_enter(naq_json *j, char open, naq_err *err) {
    if (naq_json_peek(j) != open)
        return refuse(j, j->at, open == '{' ? "object expected" : "array expected", err);
    if (j->depth == NAQ_JSON_DEPTH) return refuse(j, j->at, "nested deeper than 128 levels", err);
    j->depth++;
    j->at++;
    return NAQ_OK;
}

void naq_json_leave(naq_json *j) {
    j->depth--;
}

static naq_status scan_scalar(naq_json *j, naq_json_kind *kind, naq_err *err) {
    naq_slice raw;
    naq_number number;
    bool escaped;
    char c = naq_json_peek(j);
    if (c == '"') {
        *kind = NAQ_JSON_STRING;
        return naq_json_string(j, &raw, &escaped, err);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        *kind = NAQ_JSON_NUMBER;
        return naq_json_number(j, &number, err);
    }
    return naq_json_word(j, kind, err);
}

/* A key and its colon. */
static naq_status scan_key(naq_json *j, naq_slice *key, naq_err *err) {
    bool escaped;
    naq_status status = naq_json_string(j, key, &escaped, err);
    if (status != NAQ_OK) return status;
    return naq_json_skip(j, ':') ? NAQ_OK : refuse(j, j->at, "':' expected", err);
}

/* One turn of the loop scans one scalar or opens one container, then closes all that end there. */
static naq_status scan_container(naq_json *j, naq_err *err) {
    char closes[NAQ_JSON_DEPTH]; /* the brackets that close what is open */
    int open = 0;
    naq_slice key;
    naq_json_kind kind;
    naq_status status;
    do {
        char c = naq_json_peek(j);
        bool more = true;
        if (c == '[' || c == '{') {
            if ((status = naq_json_enter(j, c, err)) != NAQ_OK) return status;
            closes[open++] = c == '[' ? ']' : '}';
            if (naq_json_skip(j, closes[open - 1])) {
                more = false;
                open--;
                naq_json_leave(j);
            }
        } else {
            if ((status = scan_scalar(j, &kind, err)) != NAQ_OK) return status;
            more = false;
        }
        while (!more && open > 0) {
            if ((status = naq_json_more(j, closes[open - 1], &more, err)) != NAQ_OK) return status;
            if (!more) {
                open--;
                naq_json_leave(j);
            }
        }
        if (open > 0 && closes[open - 1] == '}')
            if ((status = scan_key(j, &key, err)) != NAQ_OK) return status;
    } while (open > 0);
    return NAQ_OK;
}

naq_status naq_json_value(naq_json *j, naq_slice *value, naq_json_kind *kind, naq_err *err) {
    char c = naq_json_peek(j);
    const char *begin = j->at;
    naq_status status;
    if (c == '[' || c == '{') {
        *kind = c == '[' ? NAQ_JSON_ARRAY : NAQ_JSON_OBJECT;
        status = scan_container(j, err);
    } else {
        status = scan_scalar(j, kind, err);
    }
    if (status == NAQ_OK) *value = (naq_slice){begin, (size_t)(j->at - begin)};
    return status;
}

naq_status naq_json_object(naq_json *j, naq_err *err) {
    return naq_json_enter(j, '{', err);
}

naq_status naq_json_array(naq_json *j, naq_err *err) {
    return naq_json_enter(j, '[', err);
}

/* Whether another item of the container follows; leaves it when none does. */
static naq_status next_item(naq_json *j, bool first, char close, bool *more, naq_err *err) {
    naq_status status = NAQ_OK;
    *more = true;
    if (first)
        *more = !naq_json_skip(j, close);
    else
        status = naq_json_more(j, close, more, err);
    if (status == NAQ_OK && !*more) naq_json_leave(j);
    return status;
}

naq_status naq_json_member(naq_json *j, bool first, bool *more, naq_slice *key, naq_slice *value,
                           naq_json_kind *kind, naq_err *err) {
    naq_status status = next_item(j, first, '}', more, err);
    if (status != NAQ_OK || !*more) return status;
    status = scan_key(j, key, err);
    return status == NAQ_OK ? naq_json_value(j, value, kind, err) : status;
}

naq_status naq_json_element(naq_json *j, bool first, bool *more, naq_slice *value,
                            naq_json_kind *kind, naq_err *err) {
    naq_status status = next_item(j, first, ']', more, err);
    return status == NAQ_OK && *more ? naq_json_value(j, value, kind, err) : status;
}

naq_status naq_json_end(naq_json *j, naq_err *err) {
    naq_json_peek(j);
    return j->at == j->end ? NAQ_OK : refuse(j, j->at, "nothing more expected", err);
}

static size_t put_utf8(char *to, unsigned code) {
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xC0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xE0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3F));
        to[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 0x3F));
    to[2] = (char)(0x80 | (code >> 6 & 0x3F));
    to[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

size_t naq_json_resolve(naq_slice raw, char *out) {
    static const char FROM[] = "bfnrt", TO[] = "\b\f\n\r\t";
    const char *p = raw.at, *end = raw.at + raw.len;
    char *to = out;
    while (p < end) {
        const char *stop = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((stop != NULL ? stop : end) - p);
        memcpy(to, p, run);
        to += run;
        p += run;
        if (p == end) break;
        if (p[1] != 'u') {
            const char *known = strchr(FROM, p[1]);
            *to++ = known != NULL ? TO[known - FROM] : p[1];
            p += 2;
            continue;
        }
        unsigned code = (unsigned)hex4(p + 2, end);
        p += 6;
        if (code >= 0xD800 && code <= 0xDBFF) {
            code = 0x10000 + ((code - 0xD800) << 10) + ((unsigned)hex4(p + 2, end) - 0xDC00);
            p += 6;
        }
        to += put_utf8(to, code);
    }
    return (size_t)(to - out);
}

naq_status naq_json_unescape(naq_slice string, naq_buf *out, naq_err *err) {
    naq_json j;
    naq_slice raw;
    bool escaped;
    naq_json_begin(&j, string.at, string.len);
    naq_status status = naq_json_string(&j, &raw, &escaped, err);
    if (status == NAQ_OK) status = naq_json_end(&j, err);
    if (status != NAQ_OK) return status;
    if (!escaped) {
        naq_buf_put(out, raw.at, raw.len);
    } else {
        char *to = naq_buf_reserve(out, raw.len);
        if (to != NULL) out->len += naq_json_resolve(raw, to);
    }
    return NAQ_OK;
}

bool naq_json_int(naq_slice number, long long *out) {
    naq_number n;
    int64_t value;
    const char *end = number.at + number.len;
    if (naq_number_scan(number.at, end, &n) != end || !naq_number_int(&n, &value)) return false;
    *out = value;
    return true;
}

double naq_json_double(naq_slice number) {
    naq_number n;
    if (naq_number_scan(number.at, number.at + number.len, &n) == NULL) return 0;
    return naq_number_double(&n);
}

static void put_escape(naq_buf *out, unsigned char c) {
    static const char FROM[] = "\"\\\b\f\n\r\t", TO[] = "\"\\bfnrt";
    const char *known = c == '\0' ? NULL : strchr(FROM, c);
    if (known != NULL) {
        naq_buf_put(out, (char[]){'\\', TO[known - FROM]}, 2);
    } else {
        static const char HEX[] = "0123456789abcdef";
        naq_buf_put(out, (char[]){'\\', 'u', '0', '0', HEX[c >> 4], HEX[c & 15]}, 6);
    }
}

const char *naq_json_put_string(naq_buf *out, const char *s, size_t n) {
    const char *p = s, *end = s + n, *run = s; /* [run, p) is valid and not yet written */
    char *to = naq_buf_reserve(out, n + 2);    /* enough unless something needs escaping */
    if (to == NULL) return NULL;
    *to = '"';
    out->len++;
    while ((p = skip_plain(p, end)) < end) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x80) {
            size_t len = naq_utf8_length((const unsigned char *)p, (size_t)(end - p));
            if (len == 0) return p;
            p += len;
            continue;
        }
        naq_buf_put(out, run, (size_t)(p - run));
        put_escape(out, c);
        run = ++p;
    }
    naq_buf_put(out, run, (size_t)(p - run));
    naq_buf_putc(out, '"');
    return NULL;
}
