/* test_envelope.c -- payloads and subjects: what makes a job, and the same job's next publish. */
#include "nats/envelope.h"

#include "check.h"

static naq_status parse(const char *text, naq_envelope *e, naq_err *err) {
    return naq_envelope_parse(text, strlen(text), e, err);
}

static bool refuses(const char *text, const char *why) {
    naq_envelope e;
    naq_err err = {.message = "accepted"};
    bool ok = parse(text, &e, &err) == NAQ_UNDECODABLE && err.status == NAQ_UNDECODABLE &&
              strstr(err.message, why) != NULL;
    if (!ok) fprintf(stderr, "%s: %s\n", text, err.message);
    return ok;
}

static void reads_members(void) {
    naq_envelope e;
    naq_err err;
    CHECK(
        parse("{\"v\":1,\"job\":\"resize\",\"args\":{\"w\":[1]},\"enqueued_at\":1763697600.123456,"
              "\"hop\":3,\"attempt\":2,\"attempts\":[{}],\"max_retries\":5,\"result_ttl\":0.5,"
              "\"other\":{\"job\":1}}",
              &e, &err) == NAQ_OK);
    CHECK_TEXT("resize", e.job.at, e.job.len);
    CHECK_TEXT("{\"w\":[1]}", e.args.at, e.args.len);
    CHECK_TEXT("[{}]", e.attempts.at, e.attempts.len);
    CHECK(e.max_retries == 5 && e.result_ttl == 0.5);
    CHECK(e.enqueued_us == INT64_C(1763697600123456) && e.hop == 3 && e.attempt == 2);
}

static void fills_in(void) {
    naq_envelope e;
    naq_err err;
    CHECK(parse(" {\"job\" : \"a\"} ", &e, &err) == NAQ_OK);
    CHECK(e.args.at == NULL && e.attempts.at == NULL && e.max_retries == -1);
    CHECK(e.enqueued_us == 0 && e.hop == 0 && e.attempt == 1);
    CHECK(parse("{\"job\":\"a\",\"enqueued_at\":1763697600}", &e, &err) == NAQ_OK);
    CHECK(e.enqueued_us == INT64_C(1763697600000000));
    CHECK(parse("{\"job\":\"a\",\"enqueued_at\":1.7636976001234567e9}", &e, &err) == NAQ_OK);
    CHECK(e.enqueued_us == INT64_C(1763697600123457));
    CHECK(parse("{\"job\":\"a\",\"job\":\"b\"}", &e, &err) == NAQ_OK);
    CHECK_TEXT("b", e.job.at, e.job.len);
    CHECK(parse("{\"\\u006a\\u006f\\u0062\":\"escaped\"}", &e, &err) == NAQ_OK);
    CHECK_TEXT("escaped", e.job.at, e.job.len);
}

static void refuses_others(void) {
    CHECK(refuses("", "object expected"));
    CHECK(refuses("[]", "object expected"));
    CHECK(refuses("{\"job\":\"a\"", "byte 11"));
    CHECK(refuses("{\"job\":\"a\"}x", "nothing more expected"));
    CHECK(refuses("{\"job\":\"a\",\"args\":[1,]}", "value expected"));
    CHECK(refuses("{\"job\":\"a\",\"args\":\"\xFF\"}", "not UTF-8"));
    CHECK(refuses("{}", "it has no job"));
    CHECK(refuses("{\"job\":5}", "job must be a string"));
    CHECK(refuses("{\"job\":\"\"}", "1 to 128 bytes"));
    CHECK(refuses("{\"job\":\"a\\u0062\"}", "without escapes"));
    CHECK(refuses("{\"v\":2,\"job\":\"a\"}", "only version 1"));
    CHECK(refuses("{\"v\":\"1\",\"job\":\"a\"}", "only version 1"));
    CHECK(refuses("{\"job\":\"a\",\"hop\":-1}", "hop must be"));
    CHECK(refuses("{\"job\":\"a\",\"hop\":1.5}", "hop must be"));
    CHECK(refuses("{\"job\":\"a\",\"hop\":9223372036854775807}", "hop must be"));
    CHECK(refuses("{\"job\":\"a\",\"attempt\":0}", "attempt must be"));
    CHECK(refuses("{\"job\":\"a\",\"attempt\":\"1\"}", "attempt must be"));
    CHECK(refuses("{\"job\":\"a\",\"attempts\":{}}", "attempts must be"));
    CHECK(refuses("{\"job\":\"a\",\"enqueued_at\":-1}", "enqueued_at must be"));
    CHECK(refuses("{\"job\":\"a\",\"enqueued_at\":1e999}", "enqueued_at must be"));
    CHECK(refuses("{\"job\":\"a\",\"enqueued_at\":1763697600123456}", "enqueued_at must be"));
    char deep[400] = "{\"job\":\"a\",\"args\":";
    memset(deep + strlen(deep), '[', 128);
    CHECK(refuses(deep, "nested deeper than 128 levels"));
    char name[200] = "{\"job\":\"";
    memset(name + strlen(name), 'n', NAQ_JOB_NAME_MAX);
    size_t len = strlen(name);
    naq_envelope e;
    naq_err err;
    strcpy(name + len, "\"}");
    CHECK(parse(name, &e, &err) == NAQ_OK);
    strcpy(name + len, "n\"}");
    CHECK(refuses(name, "1 to 128 bytes"));
}

static void makes_the_next(void) {
    const char *payload =
        "{ \"v\":1, \"hop\":0,\"job\":\"a\",\"args\": {\"x\" : 1.50} ,\"attempt\":1,"
        "\"enqueued_at\":5,\"mine\":\"\\u0041\"}";
    naq_buf out = {0};
    naq_err err;
    naq_slice none = {NULL, 0};
    CHECK(naq_envelope_next(payload, strlen(payload), 1, 2, 5000000, none, &out, &err) == NAQ_OK);
    CHECK_BUF("{\"v\":1,\"job\":\"a\",\"args\":{\"x\" : 1.50},\"mine\":\"\\u0041\","
              "\"enqueued_at\":5.000000,\"hop\":1,\"attempt\":2}",
              &out);
    naq_buf_clear(&out);
    CHECK(naq_envelope_next(payload, strlen(payload), 1, 2, 0, none, &out, &err) == NAQ_OK);
    CHECK(strstr((naq_buf_putc(&out, '\0'), out.data), "\"enqueued_at\":5,") != NULL);
    naq_buf_clear(&out);
    naq_buf_puts(&out, "before");
    CHECK(naq_envelope_next("{\"job\":}", 8, 1, 2, 0, none, &out, &err) == NAQ_UNDECODABLE);
    CHECK_BUF("before", &out);
    naq_buf_free(&out);
}

static void keeps_twenty_attempts(void) {
    naq_buf payload = {0}, out = {0};
    naq_err err;
    naq_envelope e;
    naq_buf_puts(&payload, "{\"job\":\"a\"}");
    for (int i = 1; i <= 25; i++) {
        char failed[32];
        int len = snprintf(failed, sizeof failed, "{\"attempt\":%d}", i);
        naq_buf_clear(&out);
        CHECK(naq_envelope_next(payload.data, payload.len, i, i + 1, 1,
                                (naq_slice){failed, (size_t)len}, &out, &err) == NAQ_OK);
        naq_buf_clear(&payload);
        naq_buf_put(&payload, out.data, out.len);
    }
    CHECK(naq_envelope_parse(payload.data, payload.len, &e, &err) == NAQ_OK);
    CHECK(e.hop == 25 && e.attempt == 26);
    int count = 0;
    for (const char *p = e.attempts.at; p < e.attempts.at + e.attempts.len; p++)
        count += *p == '{';
    CHECK(count == 20);
    CHECK(strncmp(e.attempts.at, "[{\"attempt\":6},", 15) == 0);
    CHECK(strncmp(e.attempts.at + e.attempts.len - 15, ",{\"attempt\":25}]", 15) == 0 ||
          strncmp(e.attempts.at + e.attempts.len - 16, ",{\"attempt\":25}]", 16) == 0);
    naq_buf_free(&payload);
    naq_buf_free(&out);
}

static void takes_subjects_apart(void) {
    naq_address a;
    CHECK(naq_address_parse("naq.q.images.low.job-42", "naq", &a));
    CHECK_TEXT("images", a.queue.at, a.queue.len);
    CHECK_TEXT("job-42", a.id.at, a.id.len);
    CHECK(a.priority == NAQ_LOW);
    CHECK(naq_address_parse("my.app.q.i.high.x", "my.app", &a) && a.priority == NAQ_HIGH);
    CHECK(naq_address_parse("naq.f.images.x", "naq", &a) && a.priority == NAQ_NORMAL);
    CHECK_TEXT("images", a.queue.at, a.queue.len);
    CHECK(naq_address_parse("naq.d.2939496.x", "naq", &a) && a.queue.at == NULL);
    CHECK_TEXT("x", a.id.at, a.id.len);
    static const char *const BAD[] = {
        "",
        "naq",
        "naq.",
        "naq.q",
        "naq.q.",
        "naq.q.images",
        "naq.q.images.low",
        "naq.q.images.low.",
        "naq.q.images.low.a.b",
        "naq.q.images.low.a ",
        "naq.q.images.lower.a",
        "naq.q.images.lo.a",
        "naq.q..low.a",
        "naq.q.im$.low.a",
        "naqs.q.images.low.a",
        "aq.q.images.low.a",
        "naq.x.images.a",
        "naq.f.images.",
        "naq.f.images.low.a",
        "naq.q.images.low.*",
        "naq.q.images.low.12345678901234567890123456789012345678901234567890123456789012345"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        if (!CHECK(!naq_address_parse(BAD[i], "naq", &a))) fprintf(stderr, "  %s\n", BAD[i]);
}

int main(void) {
    run("envelope reads the members it knows", reads_members);
    run("envelope fills in what is absent", fills_in);
    run("envelope refuses what is no job", refuses_others);
    run("envelope writes the next publish", makes_the_next);
    run("envelope keeps the latest twenty attempts", keeps_twenty_attempts);
    run("address takes subjects apart", takes_subjects_apart);
    return failures != 0;
}
