/* test_plan.c -- recurring schedules without a server: times from the end against going through
 * them all, records read and written again, and records of any bytes. */
#include "run/plan.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

static uint64_t state = 88172645463325252u;
static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

/* The n-th from the end, the slow way. */
static bool slow_back(const naq_recurrence *r, int64_t after, int64_t until, int n, int64_t *out) {
    int64_t all[8192], at = after;
    int count = 0;
    while (count < 8192 && naq_recurrence_next(r, at, &at) && at <= until)
        all[count++] = at;
    if (count == 0) return false;
    *out = all[count > n ? count - n : 0];
    return true;
}

static void finds_times_from_the_end(void) {
    static const char *const EXPRESSIONS[] = {"* * * * * *", "*/7 * * * *",     "0 3 * * *",
                                              "0 0 1 1 *",   "0-9 0 4 * * mon", "30 2 * * *",
                                              "0 12 29 2 *"};
    naq_zone *zone = NULL;
    naq_err err;
    if (!CHECK(naq_zone_open(&zone, "Europe/Berlin", &err) == NAQ_OK)) return;
    for (int i = 0; i < 400; i++) {
        naq_recurrence r = {.starts_ms = INT64_MIN, .ends_ms = INT64_MAX};
        int64_t now = 1700000000000 + (int64_t)draw(100000000) * 1000, span;
        if (draw(3) == 0) {
            r.interval_ms = 1 + (int64_t)draw(100000);
            r.anchor_ms = now - (int64_t)draw(1000000);
            r.at_anchor = draw(2);
            span = r.interval_ms * (int64_t)draw(3000);
        } else {
            size_t which = draw(sizeof EXPRESSIONS / sizeof EXPRESSIONS[0]);
            r.zone = zone;
            if (!CHECK(naq_cron_parse(&r.cron, EXPRESSIONS[which], &err) == NAQ_OK)) break;
            span = which == 0 ? (int64_t)draw(4000) * 1000 : (int64_t)draw(25) * 86400000;
        }
        int n = 1 + (int)draw(NAQ_RECURRENCE_BACK);
        int64_t fast = 0, slow = 0;
        bool found = naq_recurrence_back(&r, now, now + span, n, &fast);
        CHECK(found == slow_back(&r, now, now + span, n, &slow) && fast == slow);
    }
    /* Thirty years of seconds take no time. */
    naq_recurrence r = {.zone = zone, .starts_ms = INT64_MIN, .ends_ms = INT64_MAX};
    int64_t last = 0;
    CHECK(naq_cron_parse(&r.cron, "* * * * * *", &err) == NAQ_OK);
    CHECK(naq_recurrence_back(&r, 0, 1700000000500, 1, &last) && last == 1700000000000);
    naq_zone_close(zone);
}

static void keeps_its_bounds(void) {
    naq_recurrence r = {.interval_ms = 1000, .anchor_ms = 5000, .starts_ms = 7000, .ends_ms = 9000};
    int64_t at = 0;
    CHECK(naq_recurrence_next(&r, INT64_MIN, &at) && at == 7000);
    CHECK(naq_recurrence_next(&r, 7000, &at) && at == 8000);
    CHECK(naq_recurrence_next(&r, 8999, &at) && at == 9000);
    CHECK(!naq_recurrence_next(&r, 9000, &at));
    r.starts_ms = INT64_MIN;
    CHECK(naq_recurrence_next(&r, 0, &at) && at == 6000); /* not the anchor itself */
    r.at_anchor = true;
    CHECK(naq_recurrence_next(&r, 0, &at) && at == 5000);
}

static const char RECORD[] =
    "{\"v\":1,\"queue\":\"q\",\"priority\":\"high\",\"payload\":{\"v\":1,\"job\":\"j\",\"args\":[1,"
    "{}]},"
    "\"cron\":\"*/5 * * * *\",\"timezone\":\"Europe/Berlin\",\"state\":\"active\",\"repeat\":9,"
    "\"jitter\":1.5,\"overlap\":\"skip\",\"misfire\":\"all\",\"next_run\":1700000100,"
    "\"done_until\":1699999800.000,\"runs\":3,\"skipped\":1,\"last_run\":1699999800.25,"
    "\"last_job\":\"s-1699999800000\",\"recent\":[1,2,3],\"mine\":{\"kept\":null},\"held\":true}";

static void comes_back_as_it_was(void) {
    naq_zones zones = {0};
    naq_plan p, again;
    naq_err err;
    naq_buf out = {0};
    CHECK(naq_plan_read(&p, "s", RECORD, strlen(RECORD), 0, &zones, &err) == NAQ_OK);
    CHECK(p.next_ms == 1700000100000 && p.jitter_ms == 1500 && p.overlap == NAQ_OVERLAP_SKIP);
    CHECK(p.misfire == NAQ_MISFIRE_ALL && p.repeat == 9 && p.held && p.n_recent == 3);
    CHECK(naq_plan_write(&p, &out, &err) == NAQ_OK);
    CHECK(memmem(out.data, out.len, "\"mine\":{\"kept\":null}", 20) != NULL);
    CHECK(naq_plan_read(&again, "s", out.data, out.len, 0, &zones, &err) == NAQ_OK);
    CHECK(again.next_ms == p.next_ms && again.done_until_ms == p.done_until_ms);
    CHECK(again.runs == 3 && again.skipped == 1 && again.last_run_ms == 1699999800250);
    CHECK(strcmp(again.last_job, "s-1699999800000") == 0 && again.n_recent == 3 && again.held);
    int64_t due = naq_plan_due(&p, "s");
    CHECK(due >= p.next_ms && due <= p.next_ms + 1500 && due == naq_plan_due(&again, "s"));
    for (int i = 0; i < 6; i++) {
        CHECK(again.state == NAQ_PLAN_ACTIVE);
        naq_plan_ran(&again, again.next_ms, "s-1", 1);
        naq_plan_settle(&again, again.next_ms);
    }
    CHECK(again.state == NAQ_PLAN_FINISHED && again.next_ms == INT64_MAX);
    naq_plan_free(&p);
    naq_plan_free(&again);
    naq_buf_free(&out);
    naq_zones_free(&zones);
}

/* Whatever stands there: refused or followed, and what is written can be read. */
static void survives_any_bytes(void) {
    naq_zones zones = {0};
    int followed = 0;
    for (int i = 0; i < 20000; i++) {
        char text[sizeof RECORD];
        memcpy(text, RECORD, sizeof text);
        size_t len = strlen(text);
        for (uint64_t k = draw(4); k > 0; k--)
            text[draw(len)] = "0123456789{}[]\",:eE.-ntf \\/*\0\xff"[draw(30)];
        naq_plan p, again;
        naq_err err;
        naq_buf out = {0};
        if (naq_plan_read(&p, "s", text, len, 1700000000000, &zones, &err) == NAQ_OK &&
            !p.unreadable) {
            followed++;
            CHECK(naq_plan_write(&p, &out, &err) == NAQ_OK);
            CHECK(naq_plan_read(&again, "s", out.data, out.len, 1700000000000, &zones, &err) ==
                  NAQ_OK);
            naq_plan_free(&again);
        } else if (naq_plan_write_failed(text, len, &err, &out, &err) == NAQ_OK) {
            CHECK(naq_plan_read(&again, "s", out.data, out.len, 0, &zones, &err) == NAQ_OK);
            CHECK(again.state == NAQ_PLAN_OTHER);
            naq_plan_free(&again);
        }
        naq_plan_free(&p);
        naq_buf_free(&out);
    }
    CHECK(followed > 1000);
    naq_zones_free(&zones);
}

int main(void) {
    run("finds times from the end", finds_times_from_the_end);
    run("keeps its bounds", keeps_its_bounds);
    run("a record comes back as it was", comes_back_as_it_was);
    run("survives any bytes", survives_any_bytes);
    return failures > 0;
}
