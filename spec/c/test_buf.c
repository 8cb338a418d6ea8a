/* test_buf.c -- the growing buffer, and what it writes. */
#include "base/buf.h"

#include "check.h"

static void grows(void) {
    naq_buf b = {0};
    for (int i = 0; i < 5000; i++)
        naq_buf_put(&b, "0123456789", 10);
    CHECK(b.len == 50000 && b.cap >= b.len && !b.failed);
    CHECK(memcmp(b.data + 49990, "0123456789", 10) == 0);
    naq_buf_clear(&b);
    CHECK(b.len == 0 && b.cap >= 50000);
    naq_buf_free(&b);
    CHECK(b.data == NULL && b.cap == 0);
    naq_buf_puts(&b, "again");
    CHECK_BUF("again", &b);
    naq_buf_free(&b);
}

/* AddressSanitizer would end the program where malloc only fails. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

static void remembers_failure(void) {
    naq_buf b = {0};
    naq_buf_puts(&b, "kept");
    CHECK(naq_buf_reserve(&b, (size_t)-1 / 4) == NULL);
    CHECK(b.failed);
    naq_buf_puts(&b, "ignored");
    naq_buf_putc(&b, 'x');
    CHECK_BUF("kept", &b);
    naq_buf_clear(&b);
    CHECK(!b.failed);
    naq_buf_free(&b);
}

static void writes_numbers(void) {
    naq_buf b = {0};
    naq_buf_int(&b, 0);
    naq_buf_putc(&b, ' ');
    naq_buf_int(&b, INT64_MIN);
    naq_buf_putc(&b, ' ');
    naq_buf_int(&b, INT64_MAX);
    CHECK_BUF("0 -9223372036854775808 9223372036854775807", &b);
    naq_buf_clear(&b);
    naq_buf_time(&b, INT64_C(1763697600000042));
    CHECK_BUF("1763697600.000042", &b);
    naq_buf_clear(&b);
    naq_buf_printf(&b, "%s-%d", "x", 12);
    CHECK_BUF("x-12", &b);
    naq_buf_free(&b);
}

static void writes_strings(void) {
    naq_buf b = {0};
    naq_buf_json_string(&b, "a\"b\\c\n\x01\x7f", 8);
    CHECK_BUF("\"a\\\"b\\\\c\\n\\u0001\\u007f\"", &b);
    naq_buf_clear(&b);
    naq_buf_json_string(&b, "\xC3\xA4\xFFz\xE2\x82", 6); /* a stray byte and a cut sequence */
    CHECK_BUF("\"\xC3\xA4\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"", &b);
    naq_buf_free(&b);
}

static void knows_utf8(void) {
    static const struct {
        const char *text;
        size_t length;
    } CASES[] = {{"a", 1},
                 {"\xC2\x80", 2},
                 {"\xC1\xBF", 0}, /* overlong */
                 {"\xE0\xA0\x80", 3},
                 {"\xE0\x9F\xBF", 0}, /* overlong */
                 {"\xED\x9F\xBF", 3},
                 {"\xED\xA0\x80", 0}, /* a surrogate */
                 {"\xF0\x90\x80\x80", 4},
                 {"\xF0\x8F\xBF\xBF", 0}, /* overlong */
                 {"\xF4\x8F\xBF\xBF", 4},
                 {"\xF4\x90\x80\x80", 0}, /* above U+10FFFF */
                 {"\x80", 0},
                 {"\xFF", 0},
                 {"\xE2\x82", 0}}; /* cut */
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const char *s = CASES[i].text;
        CHECK(naq_utf8_length((const unsigned char *)s, strlen(s)) == CASES[i].length);
    }
}

int main(void) {
    run("buf grows, clears and frees", grows);
    run("buf remembers that memory was out", remembers_failure);
    run("buf writes numbers and times", writes_numbers);
    run("buf writes any bytes as a JSON string", writes_strings);
    run("utf8 accepts well-formed sequences only", knows_utf8);
    return failures != 0;
}
