/* test_lease.c -- limits of queues: settings read, slots by beat, starts on a line of time. */
#include <stdlib.h>

#include "check.h"
#include "run/lease.h"
#include "run/rate.h"
#include "run/setting.h"

static naq_setting setting_of(const char *text, naq_status *status) {
    naq_setting s;
    naq_err err;
    *status = naq_setting_read(&s, text, strlen(text), &err);
    return s;
}

static void reads_settings(void) {
    naq_status status;
    naq_setting s =
        setting_of("{\"paused\":true,\"concurrency\":8,\"rate_limit\":\"90/m\",\"ack_wait\":1.5,"
                   "\"of_later\":{\"a\":1}}",
                   &status);
    CHECK(status == NAQ_OK);
    CHECK(s.paused && s.concurrency == 8 && s.rate == 1.5 && s.ack_wait_ms == 1500);
    CHECK(s.given == (NAQ_SET_PAUSED | NAQ_SET_CONCURRENCY | NAQ_SET_RATE | NAQ_SET_ACK_WAIT));
    s = setting_of("{}", &status);
    CHECK(status == NAQ_OK && s.given == 0);
    s = setting_of("{\"paused\":null,\"rate_limit\":7}", &status);
    CHECK(status == NAQ_OK && s.given == NAQ_SET_RATE && s.rate == 7);
}

/* What cannot be used is left out, the rest is followed. */
static void reads_bad_settings(void) {
    static const char *const BAD[] = {
        "{\"concurrency\":0}",
        "{\"concurrency\":-1}",
        "{\"concurrency\":\"8\"}",
        "{\"concurrency\":1.5}",
        "{\"concurrency\":1e99}",
        "{\"paused\":1}",
        "{\"rate_limit\":0}",
        "{\"rate_limit\":\"x\"}",
        "{\"rate_limit\":\"5/d\"}",
        "{\"rate_limit\":\"/s\"}",
        "{\"rate_limit\":\"\"}",
        "{\"rate_limit\":[]}",
        "{\"rate_limit\":\"1/ss\"}",
        "{\"ack_wait\":\"5\"}",
        "{\"ack_wait\":0}",
        "{\"ack_wait\":-3}",
        "{\"rate_limit\":\"nan\"}",
        "[]",
        "{",
        "",
    };
    naq_status status;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        naq_setting s = setting_of(BAD[i], &status);
        CHECK(status != NAQ_OK && s.given == 0);
    }
    naq_setting s = setting_of("{\"paused\":true,\"concurrency\":\"many\"}", &status);
    CHECK(status == NAQ_CONFIGURATION && s.paused && s.given == NAQ_SET_PAUSED);
}

static void keeps_the_policy_apart(void) {
    static const char TEXT[] =
        "{\"paused\":true,\"max_retries\":2,\"ack_wait\":3,\"retry_on\":[\"A\"]}";
    naq_buf out = {0};
    naq_setting_policy(TEXT, sizeof TEXT - 1, &out);
    CHECK(out.len == strlen("{\"max_retries\":2,\"retry_on\":[\"A\"]}") &&
          memcmp(out.data, "{\"max_retries\":2,\"retry_on\":[\"A\"]}", out.len) == 0);
    naq_buf_clear(&out);
    naq_setting_policy("{\"paused\":true}", 15, &out);
    CHECK(out.len == 0);
    naq_buf_free(&out);
}

static void know(naq_leases *l, const char *text, uint64_t revision, int64_t now) {
    naq_leases_read(l, text, strlen(text), revision, now);
}

static void counts_slots(void) {
    naq_leases l = {0};
    int64_t lapse;
    know(&l, "{\"held\":{\"a\":{\"slots\":3,\"beat\":1},\"b\":{\"slots\":2,\"beat\":9}}}", 5, 1000);
    CHECK(naq_leases_others(&l, "a", 1000, &lapse) == 2);
    CHECK(naq_leases_others(&l, "c", 1000, &lapse) == 5 && lapse == 1000 + NAQ_LEASE_MS);
    CHECK(naq_leases_holds(&l, "a", 3, 1) && !naq_leases_holds(&l, "a", 3, 2));
    CHECK(naq_leases_holds(&l, "c", 0, 0) && !naq_leases_holds(&l, "a", 0, 0));
    /* An older revision is nothing new. */
    know(&l, "{\"held\":{}}", 4, 1000);
    CHECK(naq_leases_others(&l, "c", 1000, &lapse) == 5);
    naq_leases_forget(&l);
    CHECK(naq_leases_others(&l, "c", 1000, &lapse) == 0 && lapse == INT64_MAX);
}

/* A beat that moved is a life; one that was seen to stand still for a lease is a death. */
static void lets_the_dead_go(void) {
    naq_leases l = {0};
    int64_t lapse;
    naq_buf out = {0};
    know(&l, "{\"held\":{\"a\":{\"slots\":3,\"beat\":1},\"b\":{\"slots\":2,\"beat\":1}}}", 1, 0);
    know(&l, "{\"held\":{\"a\":{\"slots\":3,\"beat\":1},\"b\":{\"slots\":2,\"beat\":2}}}", 2, 5000);
    CHECK(naq_leases_others(&l, "c", NAQ_LEASE_MS - 1, &lapse) == 5);
    CHECK(naq_leases_others(&l, "c", NAQ_LEASE_MS, &lapse) == 2);
    naq_leases_write(&l, "c", 1, 7, NAQ_LEASE_MS, &out);
    static const char WANTED[] =
        "{\"held\":{\"b\":{\"slots\":2,\"beat\":2},\"c\":{\"slots\":1,\"beat\":7}}}";
    CHECK(out.len == sizeof WANTED - 1 && memcmp(out.data, WANTED, out.len) == 0);
    /* Who was not connected begins to look anew. */
    naq_leases_doubt(&l, NAQ_LEASE_MS);
    CHECK(naq_leases_others(&l, "c", NAQ_LEASE_MS + 100, &lapse) == 5);
    naq_buf_free(&out);
    naq_leases_forget(&l);
}

static void survives_strange_records(void) {
    static const char *const STRANGE[] = {"",
                                          "no",
                                          "[]",
                                          "{}",
                                          "{\"held\":3}",
                                          "{\"held\":{\"a\":3}}",
                                          "{\"held\":{\"a\":{\"slots\":-4}}}",
                                          "{\"held\":{\"\":{\"slots\":4}}}",
                                          "{\"held\":{\"a\":{\"slots\":1e30}}}"};
    naq_leases l = {0};
    int64_t lapse;
    for (size_t i = 0; i < sizeof STRANGE / sizeof *STRANGE; i++) {
        know(&l, STRANGE[i], i + 1, 0);
        CHECK(naq_leases_others(&l, "c", 0, &lapse) == 0);
    }
    naq_leases_read(&l, NULL, 0, 100, 0);
    CHECK(l.revision == 100);
    naq_leases_forget(&l);
}

/* Four who want as much as they can get, for ten seconds, looking at uneven moments. */
static void keeps_the_rate(void) {
    static const double RATES[] = {0.5, 3, 10, 100, 777, 50000};
    for (size_t i = 0; i < sizeof RATES / sizeof *RATES; i++) {
        int64_t until = 0, open, now = 1763697600000000;
        int64_t begin = now;
        long started = 0;
        unsigned seed = 7;
        naq_hunger hunger = {0};
        while (now < begin + 10000000) {
            int64_t slack = naq_rate_slack_us(&hunger, now / 1000);
            started +=
                naq_rate_take(RATES[i], 4096 + (int)(i % 2) * 100000, slack, now, &until, &open);
            seed = seed * 1103515245 + 12345;
            now += 500 + seed / 65536 % 5000;
        }
        double wanted = RATES[i] * 10;
        CHECK((double)started >= wanted * 0.95 - 1 && (double)started <= wanted * 1.05 + 1);
    }
}

static void is_not_blocked_by_a_clock(void) {
    int64_t open, now = 1763697600000000, until = now + 3600000000;
    CHECK(naq_rate_take(100, 5, 0, now, &until, &open) == 0);
    CHECK(open <= now + 300000); /* an hour ahead nobody can be at this rate */
    until = 0;
    CHECK(naq_rate_take(100, 5, 0, now, &until, &open) == 5);
    until = now;
    CHECK(naq_rate_take(0.001, 1, 0, now, &until, &open) == 1 && until == now + 1000000000);
    CHECK(naq_rate_take(0.001, 1, 0, now + 1, &until, &open) == 0 && open > now + 900000000);
    CHECK(naq_rate_read("{\"until\":17}", 12) == 17 && naq_rate_read("x", 1) == 0);
}

/* Late, but all the time there: nothing is lost. Nobody there for a while: nothing is in hand. */
static void has_waited_or_not(void) {
    naq_hunger h = {0};
    int64_t open, begin = 1763697600000000, until = begin;
    CHECK(naq_rate_slack_us(&h, 1000) == 0);
    CHECK(naq_rate_slack_us(&h, 1150) == 150000);
    CHECK(naq_rate_slack_us(&h, 1300) == 200000);
    CHECK(naq_rate_slack_us(&h, 2301) == 0); /* there was a break */
    naq_rate_wait(&h, 60000);                /* there was none: nothing could be had before that */
    CHECK(naq_rate_slack_us(&h, 60150) == 200000);
    CHECK(naq_rate_take(100, 50, 200000, begin + 150000, &until, &open) == 10);
    CHECK(until == begin + 100000);
    CHECK(naq_rate_take(100, 50, 0, begin + 500000, &until, &open) == 10);
    CHECK(until == begin + 600000);
}

static void follows_the_server_clock(void) {
    naq_server_clock c;
    naq_server_clock_begin(&c, 5000000, 1000000);
    CHECK(c.ahead_us == 4000000);
    naq_server_clock_sample(&c, 9000000, 2000000); /* the first is believed */
    CHECK(c.ahead_us == 7000000);
    naq_server_clock_sample(&c, 9000000, 2100000); /* a late one hardly counts */
    CHECK(c.ahead_us > 6990000 && c.ahead_us < 7000000);
    for (int i = 0; i < 40; i++)
        naq_server_clock_sample(&c, 1000000, 2000000);
    CHECK(c.ahead_us == -1000000); /* it was set back */
}

int main(void) {
    run("settings of a queue are read", reads_settings);
    run("settings that make no sense are left out", reads_bad_settings);
    run("the policy of jobs is kept apart", keeps_the_policy_apart);
    run("slots are counted by worker", counts_slots);
    run("slots of the dead are free, of the living never", lets_the_dead_go);
    run("strange records hold nothing", survives_strange_records);
    run("a rate is kept within five per cent", keeps_the_rate);
    run("a rate makes up for lateness, not for breaks", has_waited_or_not);
    run("a rate is not blocked by a clock or an earlier limit", is_not_blocked_by_a_clock);
    run("the server's clock is followed", follows_the_server_clock);
    return failures != 0;
}
