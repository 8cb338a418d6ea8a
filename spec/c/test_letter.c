/* test_letter.c -- the history of attempts within its bounds, dead letters written, read and turned
 * back into jobs. */
#include "check.h"

#include <stdlib.h>

#include "nats/letter.h"

static bool whole_payload;

static naq_slice slice(const char *s) {
    return (naq_slice){s, strlen(s)};
}

static void put(naq_buf *out, const char *before, int64_t cut, const char *latest, size_t max) {
    naq_history h = {.cut = cut};
    naq_err err;
    if (before != NULL) h.before = slice(before);
    if (latest != NULL) h.latest = slice(latest);
    naq_buf_clear(out);
    CHECK(naq_history_put(out, &h, max, &err) == NAQ_OK);
}

static void history_within_bounds(void) {
    naq_buf out = {0};
    put(&out, NULL, 0, NULL, 100);
    CHECK_BUF("\"attempts\":[]", &out);
    put(&out, "[]", 0, "{\"a\":1}", 100);
    CHECK_BUF("\"attempts\":[{\"a\":1}]", &out);
    put(&out, "[ {\"a\":1} , {\"a\":2} ]", 3, "{\"a\":3}", 100);
    CHECK_BUF("\"attempts\":[{\"a\":1},{\"a\":2},{\"a\":3}],\"attempts_cut\":3", &out);
    /* The newest is written even when nothing fits; older ones go without their tracebacks, then
     * they go. */
    const char *two =
        "[{\"a\":1,\"traceback\":\"one one one one\"},{\"a\":2,\"traceback\":\"two two\"}]";
    put(&out, two, 0, "{\"a\":3}", 0);
    CHECK_BUF("\"attempts\":[{\"a\":3}],\"attempts_cut\":2", &out);
    put(&out, two, 0, "{\"a\":3,\"traceback\":\"three\"}", 0);
    CHECK_BUF("\"attempts\":[{\"a\":3,\"traceback\":\"(cut)\"}],\"attempts_cut\":2", &out);
    put(&out, two, 5, "{\"a\":3}", 66);
    CHECK_BUF("\"attempts\":[{\"a\":1,\"traceback\":\"(cut)\"},{\"a\":2,\"traceback\":\"two two\"},"
              "{\"a\":3}],\"attempts_cut\":5",
              &out);
    put(&out, two, 0, "{\"a\":3}", 40);
    CHECK_BUF("\"attempts\":[{\"a\":2,\"traceback\":\"two two\"},{\"a\":3}],\"attempts_cut\":1",
              &out);
    naq_history bad = {.before = slice("{}")};
    naq_err err;
    CHECK(naq_history_put(&out, &bad, 100, &err) == NAQ_SERIALIZATION);
    naq_buf_free(&out);
}

static naq_letter letter_of(const char *payload, size_t len) {
    return (naq_letter){.id = "job-1",
                        .queue = "mail",
                        .priority = NAQ_HIGH,
                        .reason = "failed",
                        .code = "E",
                        .message = "why",
                        .traceback = "stack",
                        .failed_us = 1500000,
                        .history = {.latest = slice("{\"attempt\":2,\"traceback\":\"stack\"}")},
                        .payload = payload,
                        .payload_len = len};
}

static void writes_and_reads(void) {
    const char *payload = "{\"job\":\"a\",\"args\":[1.50],\"hop\":4,\"attempt\":2,"
                          "\"attempts\":[{\"attempt\":1}],\"attempts_cut\":7,\"mine\":true}";
    naq_letter l = letter_of(payload, strlen(payload));
    l.history.before = slice("[{\"attempt\":1}]");
    l.history.cut = 7;
    naq_buf out = {0}, again = {0};
    naq_err err;
    CHECK(naq_letter_write(&l, 10000, &out, &whole_payload, &err) == NAQ_OK);
    CHECK_BUF("{\"v\":1,\"id\":\"job-1\",\"queue\":\"mail\",\"priority\":\"high\",\"reason\":"
              "\"failed\",\"failed_at\":1.500000,\"error\":{\"code\":\"E\",\"message\":\"why\","
              "\"traceback\":\"stack\"},\"attempts\":[{\"attempt\":1},{\"attempt\":2,\"traceback\":"
              "\"stack\"}],\"attempts_cut\":7,\"payload\":{\"job\":\"a\",\"args\":[1.50],\"hop\":4,"
              "\"attempt\":2,\"mine\":true}}",
              &out);

    naq_letter_members m;
    CHECK(naq_letter_read(out.data, out.len, &m, &err) == NAQ_OK);
    CHECK_TEXT("job-1", m.id.at, m.id.len);
    CHECK_TEXT("high", m.priority.at, m.priority.len);
    CHECK(m.attempts_cut == 7 && m.payload_base64.at == NULL);
    int64_t hop = 0;
    CHECK(naq_letter_revive(&m, &again, &hop, &err) == NAQ_OK);
    CHECK(hop == 5);
    CHECK_BUF("{\"job\":\"a\",\"args\":[1.50],\"mine\":true,\"hop\":5,\"attempt\":1,\"attempts\":["
              "{\"attempt\":1},{\"attempt\":2,\"traceback\":\"stack\"}],\"attempts_cut\":7}",
              &again);
    naq_buf_free(&out);
    naq_buf_free(&again);
}

static void refuses_to_revive(const char *payload, size_t len, size_t max, const char *why) {
    naq_letter l = letter_of(payload, len);
    naq_letter_members m;
    naq_buf out = {0}, again = {0};
    naq_err err;
    int64_t hop;
    CHECK(naq_letter_write(&l, max, &out, &whole_payload, &err) == NAQ_OK);
    CHECK(naq_letter_read(out.data, out.len, &m, &err) == NAQ_OK);
    CHECK(naq_letter_revive(&m, &again, &hop, &err) == NAQ_UNDECODABLE);
    if (!CHECK(strstr(err.message, why) != NULL)) fprintf(stderr, "  %s\n", err.message);
    naq_buf_free(&out);
    naq_buf_free(&again);
}

static void keeps_what_is_no_job(void) {
    refuses_to_revive("not JSON \xff", 10, 10000, "not JSON");
    refuses_to_revive("[1,2]", 5, 10000, "payload");
    refuses_to_revive("{\"v\":2,\"job\":\"a\"}", 17, 10000, "only version 1");
    naq_letter l = letter_of("a\xff", 2);
    naq_buf out = {0};
    naq_err err;
    CHECK(naq_letter_write(&l, 10000, &out, &whole_payload, &err) == NAQ_OK);
    naq_buf_putc(&out, '\0');
    CHECK(strstr(out.data, "\"payload_base64\":\"Yf8=\"}") != NULL);
    naq_buf_free(&out);
    naq_letter_members m;
    CHECK(naq_letter_read("[]", 2, &m, &err) == NAQ_SERIALIZATION);
}

static void fits_where_it_can(void) {
    char *payload = malloc(3000);
    if (payload == NULL) return;
    int n = snprintf(payload, 3000, "{\"job\":\"a\",\"args\":\"%0*d\"}", 2900, 0);
    naq_letter l = letter_of(payload, (size_t)n);
    l.traceback = "a stack of many lines";
    naq_buf out = {0};
    naq_err err;
    size_t whole, cut;
    CHECK(naq_letter_write(&l, 100000, &out, &whole_payload, &err) == NAQ_OK);
    whole = out.len;
    naq_buf_clear(&out);
    CHECK(naq_letter_write(&l, whole - 1, &out, &whole_payload, &err) == NAQ_OK);
    cut = out.len;
    CHECK(cut < whole && cut > 2900 && whole_payload);
    naq_buf_putc(&out, '\0');
    CHECK(strstr(out.data, "\"traceback\":\"(cut)\"") != NULL);
    naq_buf_free(&out);
    CHECK(naq_letter_write(&l, cut - 1, &out, &whole_payload, &err) == NAQ_OK);
    CHECK(out.len < 1000 && !whole_payload);
    naq_buf_putc(&out, '\0');
    CHECK(strstr(out.data, "\"payload_cut\":29") != NULL);
    CHECK(strstr(out.data, "a stack of many lines") != NULL);
    naq_buf_free(&out);
    refuses_to_revive(payload, (size_t)n, 2000, "too large to be kept");
    free(payload);
}

int main(void) {
    run("history: kept within its bounds, and what is cut is said", history_within_bounds);
    run("letter: written, read, revived", writes_and_reads);
    run("letter: what is no job is kept and not revived", keeps_what_is_no_job);
    run("letter: cut until it fits", fits_where_it_can);
    return failures > 0;
}
