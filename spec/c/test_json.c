/* test_json.c -- the scanner: what it accepts, what it refuses and where. The fuzz driver goes
 * wide; these are the cases that have a reason. */
#include "base/json.h"

#include "check.h"

static naq_status scan(const char *text, size_t len, naq_err *err) {
    naq_json j;
    naq_slice value;
    naq_json_kind kind;
    naq_json_begin(&j, text, len);
    naq_status status = naq_json_value(&j, &value, &kind, err);
    return status == NAQ_OK ? naq_json_end(&j, err) : status;
}

static bool accepts(const char *text) {
    naq_err err;
    bool ok = scan(text, strlen(text), &err) == NAQ_OK;
    if (!ok) fprintf(stderr, "%s: %s\n", text, err.message);
    return ok;
}

static bool refuses(const char *text, const char *why) {
    naq_err err = {.message = "accepted"};
    bool ok =
        scan(text, strlen(text), &err) == NAQ_SERIALIZATION && strstr(err.message, why) != NULL;
    if (!ok) fprintf(stderr, "%s: %s\n", text, err.message);
    return ok;
}

static void accepts_values(void) {
    static const char *const GOOD[] = {"null",
                                       " true ",
                                       "false",
                                       "0",
                                       "-1.5e+10",
                                       "\"\"",
                                       "\"\\u0000\\/\\b\"",
                                       "\"\\uD83D\\uDE00\"",
                                       "[]",
                                       "{}",
                                       "[ ]",
                                       "{ }",
                                       "[1,[2,[3]],{\"a\":[{}]}]",
                                       "\r\n\t{ \"a\" : 1 , \"a\" : 2 }\n",
                                       "\"long enough for eight at a time, and \\\" an escape\"",
                                       "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80 and \x7F\""};
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        CHECK(accepts(GOOD[i]));
}

static void refuses_others(void) {
    CHECK(refuses("", "byte 1: value expected"));
    CHECK(refuses("nul", "byte 1: value expected"));
    CHECK(refuses("[1,]", "byte 4: value expected"));
    CHECK(refuses("[,1]", "byte 2: value expected"));
    CHECK(refuses("[1 2]", "byte 4: ',' or ']' expected"));
    CHECK(refuses("[1}", "byte 3: ',' or ']' expected"));
    CHECK(refuses("{\"a\":1]", "byte 7: ',' or '}' expected"));
    CHECK(refuses("{\"a\":1,}", "byte 8: string expected"));
    CHECK(refuses("{a:1}", "byte 2: string expected"));
    CHECK(refuses("{\"a\" 1}", "byte 6: ':' expected"));
    CHECK(refuses("{\"a\"", "':' expected"));
    CHECK(refuses("[[1]", "',' or ']' expected"));
    CHECK(refuses("1 1", "byte 3: nothing more expected"));
    CHECK(refuses("\xEF\xBB\xBF{}", "byte 1: value expected")); /* no byte order mark */
    CHECK(refuses("[1] // no", "nothing more expected"));
    CHECK(refuses("'a'", "value expected"));
    naq_err err;
    CHECK(scan("1\0", 2, &err) != NAQ_OK);
    CHECK(scan(NULL, 0, &err) != NAQ_OK);
}

static void refuses_strings(void) {
    CHECK(refuses("\"abc", "byte 5: unfinished string"));
    CHECK(refuses("\"abc\\\"", "unfinished string"));
    CHECK(refuses("\"a\\x\"", "byte 3: unknown escape"));
    CHECK(refuses("\"a\\", "byte 3: unknown escape"));
    CHECK(refuses("\"\\u12g4\"", "four hexadecimal digits"));
    CHECK(refuses("\"\\u12", "four hexadecimal digits"));
    CHECK(refuses("\"\\uD800\"", "half of a surrogate pair"));
    CHECK(refuses("\"\\uD800\\u0041\"", "half of a surrogate pair"));
    CHECK(refuses("\"\\uDC00\"", "half of a surrogate pair"));
    CHECK(refuses("\"tab\there, beyond eight\"", "byte 5: control character"));
    CHECK(refuses("\"eight by\x1Ftes\"", "byte 10: control character"));
    CHECK(refuses("\"12345678\xFF\"", "byte 10: not UTF-8"));
    CHECK(refuses("\"\xED\xA0\x80\"", "not UTF-8"));
}

/* Each plain byte and each other byte at each place of the eight that are looked at together. */
static void sees_every_place(void) {
    bool right = true;
    for (int c = 0; c < 128; c++) {
        for (int place = 0; place < 17; place++) {
            char text[20] = "\"aaaaaaaaaaaaaaaaa\"";
            text[1 + place] = (char)c;
            naq_err err;
            bool plain = c >= 0x20 && c != '"' && c != '\\';
            right = right && (scan(text, 19, &err) == NAQ_OK) == plain;
        }
    }
    CHECK(right);
}

static void limits_depth(void) {
    char text[2 * (NAQ_JSON_DEPTH + 1) + 1];
    naq_err err;
    memset(text, '[', NAQ_JSON_DEPTH);
    memset(text + NAQ_JSON_DEPTH, ']', NAQ_JSON_DEPTH);
    CHECK(scan(text, 2 * (size_t)NAQ_JSON_DEPTH, &err) == NAQ_OK);
    memset(text, '[', NAQ_JSON_DEPTH + 1);
    CHECK(scan(text, NAQ_JSON_DEPTH + 1, &err) == NAQ_SERIALIZATION);
    CHECK(strstr(err.message, "byte 129: nested deeper than 128 levels") != NULL);
}

static void steps_through(void) {
    const char *text = " {\"a\" : [1, 2.5 ] , \"b\\n\":\"x\",\"\":null} ";
    naq_json j;
    naq_err err;
    naq_slice key, value;
    naq_json_kind kind;
    bool more;
    naq_json_begin(&j, text, strlen(text));
    CHECK(naq_json_object(&j, &err) == NAQ_OK);
    CHECK(naq_json_member(&j, true, &more, &key, &value, &kind, &err) == NAQ_OK && more);
    CHECK_TEXT("a", key.at, key.len);
    CHECK_TEXT("[1, 2.5 ]", value.at, value.len);
    CHECK(kind == NAQ_JSON_ARRAY);
    naq_json inner;
    naq_json_begin(&inner, value.at, value.len);
    CHECK(naq_json_array(&inner, &err) == NAQ_OK);
    CHECK(naq_json_element(&inner, true, &more, &value, &kind, &err) == NAQ_OK && more);
    long long n = 0;
    CHECK(naq_json_int(value, &n) && n == 1);
    CHECK(naq_json_element(&inner, false, &more, &value, &kind, &err) == NAQ_OK && more);
    CHECK(!naq_json_int(value, &n) && naq_json_double(value) == 2.5);
    CHECK(naq_json_element(&inner, false, &more, &value, &kind, &err) == NAQ_OK && !more);
    CHECK(naq_json_member(&j, false, &more, &key, &value, &kind, &err) == NAQ_OK && more);
    CHECK_TEXT("b\\n", key.at, key.len);
    CHECK_TEXT("\"x\"", value.at, value.len);
    CHECK(naq_json_member(&j, false, &more, &key, &value, &kind, &err) == NAQ_OK && more);
    CHECK(key.len == 0 && kind == NAQ_JSON_NULL);
    CHECK(naq_json_member(&j, false, &more, &key, &value, &kind, &err) == NAQ_OK && !more);
    CHECK(naq_json_end(&j, &err) == NAQ_OK);
}

static void resolves_escapes(void) {
    const char *text = "\"a\\u0000\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\u20AC\\ud83d\\ude00z\"";
    naq_buf out = {0};
    naq_err err;
    CHECK(naq_json_unescape((naq_slice){text, strlen(text)}, &out, &err) == NAQ_OK);
    const char expected[] = "a\0\"\\/\b\f\n\r\t\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z";
    CHECK(out.len == sizeof expected - 1 && memcmp(out.data, expected, out.len) == 0);
    naq_buf_clear(&out);
    CHECK(naq_json_put_string(&out, expected, sizeof expected - 1) == NULL);
    CHECK_BUF("\"a\\u0000\\\"\\\\/\\b\\f\\n\\r\\t\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z\"", &out);
    const char *bad = "ok \xC3";
    CHECK(naq_json_put_string(&out, bad, 4) == bad + 3);
    naq_buf_free(&out);
}

int main(void) {
    run("json accepts values", accepts_values);
    run("json refuses what is not quite one", refuses_others);
    run("json refuses bad strings", refuses_strings);
    run("json sees special bytes at every place", sees_every_place);
    run("json limits the depth", limits_depth);
    run("json steps through objects and arrays", steps_through);
    run("json resolves and writes escapes", resolves_escapes);
    return failures != 0;
}
