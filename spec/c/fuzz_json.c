/* fuzz_json.c -- the scanner against libjansson on mutated texts: fuzz_json [iterations] [seed].
 *
 * Deterministic: the same arguments give the same texts. Each text is judged by both; they must
 * agree on whether it is JSON, except where ours is stricter on purpose (depth) or the number is
 * beyond a C type (ours leaves that to the codec). What both accept is compared value by value, and
 * written again with our writers it must be the same value for jansson. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "check.h"
#include "nats/envelope.h"

enum { MAX_TEXT = 2048 };

static const char *const CORPUS[] = {
    "{\"v\":1,\"job\":\"resize\",\"args\":{\"path\":\"/"
    "a.png\",\"width\":640},\"hop\":0,\"attempt\":1}",
    "[1,-2,3.5,0.1,1e10,1E-10,9223372036854775807,-9223372036854775808,0.30000000000000004]",
    "[\"\",\"plain\",\"\\u0041\\n\\\"\\\\\\/"
    "\",\"\\ud83d\\ude00\",\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"]",
    "{\"a\":{\"b\":{\"c\":[[],{},[[[null,true,false]]]]}},\"a\":2,\"\":\"empty key\"}",
    " [ 1 , 2 ,\t{ \"x\" :\r\n\"y\" } ] ",
    "\"a long string without anything special in it, so that eight bytes go at a time\"",
    "{\"attempts\":[{\"attempt\":1,\"code\":\"JOB_ERROR\",\"message\":\"x\"}],\"enqueued_at\":"
    "1763697600.123456}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "[5e-324,2.2250738585072011e-308,1.7976931348623157e308,123456789012345678901234567890.0]",
};
static const char *const PIECES[] = {"\"",
                                     "\\",
                                     "\\u",
                                     "\\uD800",
                                     "\\uDC00",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ",",
                                     ":",
                                     "null",
                                     "true",
                                     "1e",
                                     "-",
                                     "0",
                                     ".5",
                                     "E+9",
                                     "\xFF",
                                     "\xC3",
                                     "\xED\xA0\x80",
                                     "\x01",
                                     " ",
                                     "\t",
                                     "99999999999999999999",
                                     "{}",
                                     "[]",
                                     "\"\":",
                                     "\"a\":1,",
                                     "\xF4\x90\x80\x80",
                                     "\xE2\x82\xAC"};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static uint64_t state;
static size_t below(size_t n) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)(state * UINT64_C(2685821657736338717) >> 33) % n;
}

/* Replace the bytes [at, at + cut) of text by piece. */
static void splice(char *text, size_t *len, size_t at, size_t cut, const char *piece, size_t n) {
    if (*len - cut + n > MAX_TEXT) return;
    memmove(text + at + n, text + at + cut, *len - at - cut);
    memcpy(text + at, piece, n);
    *len = *len - cut + n;
}

static size_t mutate(char *text) {
    const char *seed = CORPUS[below(COUNT(CORPUS))];
    size_t len = strlen(seed);
    memcpy(text, seed, len);
    for (size_t times = below(5); times > 0; times--) {
        size_t at = below(len + 1), most = len - at;
        const char *piece = PIECES[below(COUNT(PIECES))];
        char byte = (char)(1 + below(255)), copy[64];
        size_t some = most == 0 ? 0 : below(most < sizeof copy ? most : sizeof copy);
        switch (below(5)) {
        case 0:
            splice(text, &len, at, 0, piece, strlen(piece));
            break;
        case 1:
            splice(text, &len, at, most > 0, &byte, 1);
            break;
        case 2:
            splice(text, &len, at, some, "", 0);
            break;
        case 3:
            memcpy(copy, text + at, some);
            splice(text, &len, below(len + 1), 0, copy, some);
            break;
        default:
            splice(text, &len, at, most > 0, piece, strlen(piece));
        }
    }
    return len;
}

/* Build what ours reads as a jansson value: a second reader on top of the token functions. NULL
 * when a number does not fit (unfit set), which is the codec's to refuse. */
static json_t *build(naq_json *j, bool *unfit) {
    naq_err err;
    naq_slice raw;
    naq_number n;
    naq_json_kind kind;
    bool escaped, more;
    char text[MAX_TEXT];
    char c = naq_json_peek(j);
    json_t *made = NULL, *item;
    if (c == '"') {
        if (naq_json_string(j, &raw, &escaped, &err) != NAQ_OK) return NULL;
        return json_stringn(text, naq_json_resolve(raw, text));
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        int64_t value;
        if (naq_json_number(j, &n, &err) != NAQ_OK) return NULL;
        if (naq_number_int(&n, &value)) return json_integer(value);
        if (n.integer || isinf(naq_number_double(&n))) return *unfit = true, NULL;
        return json_real(naq_number_double(&n));
    }
    if (c != '[' && c != '{') {
        if (naq_json_word(j, &kind, &err) != NAQ_OK) return NULL;
        return kind == NAQ_JSON_NULL ? json_null() : json_boolean(kind == NAQ_JSON_TRUE);
    }
    char close = c == '[' ? ']' : '}';
    if (naq_json_enter(j, c, &err) != NAQ_OK) return NULL;
    made = c == '[' ? json_array() : json_object();
    for (more = !naq_json_skip(j, close); more;) {
        raw = (naq_slice){NULL, 0};
        if (c == '{' &&
            (naq_json_string(j, &raw, &escaped, &err) != NAQ_OK || !naq_json_skip(j, ':')))
            break;
        if ((item = build(j, unfit)) == NULL) break;
        if (c == '[')
            json_array_append_new(made, item);
        else
            json_object_setn_new(made, text, naq_json_resolve(raw, text), item);
        if (naq_json_more(j, close, &more, &err) != NAQ_OK) more = true, j->at = j->end;
    }
    naq_json_leave(j);
    if (!more) return made;
    json_decref(made);
    return NULL;
}

/* Write a jansson value with our writers. */
static void put(naq_buf *out, const json_t *value) {
    const char *key;
    json_t *item;
    size_t i;
    bool first = true;
    char *to;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        naq_buf_putc(out, '{');
        json_object_foreach((json_t *)value, key, item) {
            if (!first) naq_buf_putc(out, ',');
            first = false;
            CHECK(naq_json_put_string(out, key, strlen(key)) == NULL);
            naq_buf_putc(out, ':');
            put(out, item);
        }
        naq_buf_putc(out, '}');
        break;
    case JSON_ARRAY:
        naq_buf_putc(out, '[');
        json_array_foreach(value, i, item) {
            if (i > 0) naq_buf_putc(out, ',');
            put(out, item);
        }
        naq_buf_putc(out, ']');
        break;
    case JSON_STRING:
        CHECK(naq_json_put_string(out, json_string_value(value), json_string_length(value)) ==
              NULL);
        break;
    case JSON_INTEGER:
        naq_buf_int(out, json_integer_value(value));
        break;
    case JSON_REAL:
        to = naq_buf_reserve(out, NAQ_DOUBLE_MAX);
        if (to != NULL) out->len += naq_double_format(json_real_value(value), to);
        break;
    default:
        naq_buf_puts(out, json_is_null(value) ? "null" : json_is_true(value) ? "true" : "false");
    }
}

enum { FLAGS = JSON_DECODE_ANY | JSON_ALLOW_NUL };
static size_t accepted, refused;

static bool judge(const char *text, size_t len, naq_buf *out) {
    naq_json j;
    naq_slice value;
    naq_json_kind kind;
    naq_err err;
    json_error_t why;
    naq_json_begin(&j, text, len);
    bool ours =
        naq_json_value(&j, &value, &kind, &err) == NAQ_OK && naq_json_end(&j, &err) == NAQ_OK;
    json_t *theirs = json_loadb(text, len, FLAGS, &why);
    bool unfit = false, fine = true;
    json_t *read = NULL;
    if (ours) {
        naq_json_begin(&j, text, len);
        read = build(&j, &unfit);
    }
    if (!ours || unfit) {
        /* jansson has no such keys as "a\u0000", takes any depth that occurs here and underflows.
         */
        bool deep = !ours && strstr(err.message, "nested deeper") != NULL;
        fine = theirs == NULL || deep;
        refused++;
    } else if (theirs == NULL) {
        fine = json_error_code(&why) == json_error_null_byte_in_key;
    } else {
        fine = read != NULL && json_equal(read, theirs);
        naq_buf_clear(out);
        put(out, theirs);
        json_t *again = json_loadb(out->data, out->len, FLAGS, &why);
        fine = fine && again != NULL && json_equal(again, theirs);
        json_decref(again);
        accepted++;
    }
    if (!fine)
        fprintf(stderr, "%.*s\n  ours: %s, jansson: %s\n", (int)len, text,
                ours ? "accepted" : err.message, theirs != NULL ? "accepted" : why.text);
    /* The envelope must take the same bytes without reading past them; its verdict is its own. */
    naq_envelope e;
    if (naq_envelope_parse(text, len, &e, &err) == NAQ_OK) {
        naq_buf_clear(out);
        fine = naq_envelope_next(text, len, e.hop + 1, e.attempt, 1, (naq_slice){"{}", 2}, out,
                                 &err) == NAQ_OK &&
               naq_envelope_parse(out->data, out->len, &e, &err) == NAQ_OK && fine;
    }
    json_decref(read);
    json_decref(theirs);
    return fine;
}

int main(int argc, char **argv) {
    long iterations = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 20261121;
    naq_buf out = {0};
    long wrong = 0;
    for (long i = 0; i < iterations && wrong < 10; i++) {
        char text[MAX_TEXT];
        size_t len = mutate(text);
        char *exact = malloc(len > 0 ? len : 1); /* the sanitizer sees a step past its end */
        if (exact == NULL) return 2;
        memcpy(exact, text, len);
        if (!judge(exact, len, &out)) wrong++;
        free(exact);
    }
    naq_buf_free(&out);
    printf("%s fuzz_json: %zu accepted, %zu refused by both, %ld differences\n",
           wrong == 0 && failures_in_case == 0 ? "ok  " : "FAIL", accepted, refused, wrong);
    return wrong != 0 || failures_in_case != 0;
}
