/* test_cron.c -- cron expressions against times computed by an independent implementation
 * (vectors/make_cron.py), and against faults: test_cron [vectors]. */
#include "base/cron.h"

#include <stdlib.h>

#include "base/calendar.h"
#include "check.h"

static const char *vectors = CRON_VECTORS;

static naq_zone *zone_named(const char *name) {
    naq_zone *zone = NULL;
    naq_err err;
    if (!CHECK(naq_zone_open(&zone, name, &err) == NAQ_OK)) fprintf(stderr, "%s\n", err.message);
    return zone;
}

/* Cuts the next part off a line, at " | ". */
static char *part(char **line) {
    char *begin = *line, *end = strstr(begin, " | ");
    if (end != NULL) {
        *end = '\0';
        *line = end + 3;
    }
    return begin;
}

static void agrees_with_the_vectors(void) {
    char text[4096];
    int lines = 0;
    FILE *f = fopen(vectors, "r");
    if (!CHECK(f != NULL)) return;
    while (fgets(text, sizeof text, f) != NULL) {
        if (text[0] == '#') continue;
        char *line = text;
        const char *expression = part(&line), *name = part(&line);
        int64_t at = strtoll(part(&line), NULL, 10);
        naq_zone *zone = zone_named(name);
        naq_cron cron;
        naq_err err;
        if (zone == NULL || !CHECK(naq_cron_parse(&cron, expression, &err) == NAQ_OK)) return;
        char *end;
        for (int64_t expected = strtoll(line, &end, 10); end != line;
             line = end, expected = strtoll(line, &end, 10)) {
            int64_t next = 0, from = at;
            bool found = naq_cron_next(&cron, zone, from, &next);
            if (!CHECK(found && next == expected)) {
                fprintf(stderr, "%s in %s after %lld: expected %lld, got %lld\n", expression, name,
                        (long long)from, (long long)expected, (long long)next);
                break;
            }
            at = next;
        }
        naq_zone_close(zone);
        lines++;
    }
    (void)fclose(f);
    CHECK(lines > 1000);
}

static int64_t second_of(int year, int month, int day, int h, int m, int s) {
    return naq_day_of((naq_date){year, month, day}) * NAQ_DAY_S + h * 3600 + m * 60 + s;
}

static int64_t next_in_utc(const char *expression, int64_t after) {
    naq_zone *utc = zone_named("UTC");
    naq_cron cron;
    naq_err err;
    int64_t next = -1;
    if (!CHECK(naq_cron_parse(&cron, expression, &err) == NAQ_OK))
        fprintf(stderr, "%s\n", err.message);
    else
        CHECK(naq_cron_next(&cron, utc, after, &next));
    naq_zone_close(utc);
    return next;
}

static int64_t utc_of(const char *text) {
    int y, mo, d, h, m;
    if (!CHECK(sscanf(text, "%d-%d-%dT%d:%dZ", &y, &mo, &d, &h, &m) == 5)) return -1;
    return naq_day_of((naq_date){y, mo, d}) * NAQ_DAY_S + h * 3600 + m * 60;
}

/* Worked out by hand from the zones' changes: what is easily got wrong. */
static void does_what_clocks_do(void) {
    static const struct {
        const char *expression, *zone, *from, *times[4];
    } CASES[] = {
        /* Two times in one gap; a gap and a time right behind it; many in it. */
        {"30,45 2 * * *",
         "Europe/Berlin",
         "2026-03-28T12:00Z",
         {"2026-03-29T01:00Z", "2026-03-30T00:30Z", "2026-03-30T00:45Z"}},
        {"0,30 2,3 * * *",
         "Europe/Berlin",
         "2026-03-28T12:00Z",
         {"2026-03-29T01:00Z", "2026-03-29T01:30Z", "2026-03-30T00:00Z"}},
        {"*/5 2 * * *",
         "Europe/Berlin",
         "2026-03-28T12:00Z",
         {"2026-03-29T01:00Z", "2026-03-30T00:00Z", "2026-03-30T00:05Z"}},
        /* The repeated hour: once, or with * and * / n as hours both times. */
        {"30 2 * * *",
         "Europe/Berlin",
         "2026-10-24T12:00Z",
         {"2026-10-25T00:30Z", "2026-10-26T01:30Z"}},
        {"30 0-23 * * *",
         "Europe/Berlin",
         "2026-10-24T23:00Z",
         {"2026-10-24T23:30Z", "2026-10-25T00:30Z", "2026-10-25T02:30Z"}},
        {"*/30 * * * *",
         "Europe/Berlin",
         "2026-10-25T00:15Z",
         {"2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"}},
        {"30 */2 * * *",
         "Europe/Berlin",
         "2026-10-24T21:00Z",
         {"2026-10-24T22:30Z", "2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T03:30Z"}},
        /* Half an hour. */
        {"15 2 * * *",
         "Australia/Lord_Howe",
         "2026-10-02T20:00Z",
         {"2026-10-03T15:30Z", "2026-10-04T15:15Z"}},
        {"45 1 * * *",
         "Australia/Lord_Howe",
         "2026-04-03T20:00Z",
         {"2026-04-04T14:45Z", "2026-04-05T15:15Z"}},
        {"*/15 * * * *",
         "Australia/Lord_Howe",
         "2026-04-04T14:45Z",
         {"2026-04-04T15:00Z", "2026-04-04T15:15Z", "2026-04-04T15:30Z"}},
        /* At midnight: the day begins at one o'clock, or its last hour comes twice. */
        {"0 0 * * *",
         "America/Sao_Paulo",
         "2018-11-03T00:00Z",
         {"2018-11-03T03:00Z", "2018-11-04T03:00Z", "2018-11-05T02:00Z"}},
        {"30 0 * * 0",
         "America/Sao_Paulo",
         "2018-11-01T00:00Z",
         {"2018-11-04T03:00Z", "2018-11-11T02:30Z"}},
        {"30 23 * * *",
         "America/Sao_Paulo",
         "2018-02-17T12:00Z",
         {"2018-02-18T01:30Z", "2018-02-19T02:30Z"}},
        /* A quarter of an hour, once for all; a whole day. */
        {"5 0 * * *",
         "Asia/Kathmandu",
         "1985-12-31T12:00Z",
         {"1985-12-31T18:30Z", "1986-01-01T18:20Z"}},
        {"0 12 * * *",
         "Pacific/Apia",
         "2011-12-29T12:00Z",
         {"2011-12-29T22:00Z", "2011-12-30T10:00Z", "2011-12-30T22:00Z"}},
        /* The nearest working day stays in its month, and a month without the day has none. */
        {"0 0 1W * *",
         "UTC",
         "2026-07-31T00:00Z",
         {"2026-08-03T00:00Z", "2026-09-01T00:00Z", "2026-10-01T00:00Z", "2026-11-02T00:00Z"}},
        {"0 0 31W * *",
         "UTC",
         "2026-02-01T00:00Z",
         {"2026-03-31T00:00Z", "2026-05-29T00:00Z", "2026-07-31T00:00Z", "2026-08-31T00:00Z"}},
        {"0 0 29W 2 *",
         "UTC",
         "2025-01-01T00:00Z",
         {"2028-02-29T00:00Z", "2032-02-27T00:00Z", "2036-02-29T00:00Z"}},
        {"0 0 * * 1#5",
         "UTC",
         "2026-02-01T00:00Z",
         {"2026-03-30T00:00Z", "2026-06-29T00:00Z", "2026-08-31T00:00Z"}},
        {"0 0 * 2 0L",
         "UTC",
         "2024-02-26T00:00Z",
         {"2025-02-23T00:00Z", "2026-02-22T00:00Z", "2027-02-28T00:00Z"}},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        naq_zone *zone = zone_named(CASES[i].zone);
        naq_cron cron;
        naq_err err;
        int64_t at = utc_of(CASES[i].from);
        if (zone == NULL || !CHECK(naq_cron_parse(&cron, CASES[i].expression, &err) == NAQ_OK))
            return;
        for (size_t k = 0; k < 4 && CASES[i].times[k] != NULL; k++)
            if (!CHECK(naq_cron_next(&cron, zone, at, &at) && at == utc_of(CASES[i].times[k])))
                fprintf(stderr, "%s in %s: time %zu is %lld, not %s\n", CASES[i].expression,
                        CASES[i].zone, k + 1, (long long)at, CASES[i].times[k]);
        naq_zone_close(zone);
    }
}

static void has_seconds_in_six_fields(void) {
    int64_t t = second_of(2026, 5, 3, 10, 20, 30);
    CHECK(next_in_utc("*/15 * * * * *", t) == t + 15);
    CHECK(next_in_utc("30 20 10 * * *", t) == t + NAQ_DAY_S);
    CHECK(next_in_utc("31 20 10 * * *", t) == t + 1);
    CHECK(next_in_utc("59 59 23 31 12 *", t) == second_of(2026, 12, 31, 23, 59, 59));
}

static void knows_its_macros(void) {
    int64_t t = second_of(2026, 5, 3, 10, 20, 30);
    CHECK(next_in_utc("@yearly", t) == second_of(2027, 1, 1, 0, 0, 0));
    CHECK(next_in_utc(" @Annually ", t) == second_of(2027, 1, 1, 0, 0, 0));
    CHECK(next_in_utc("@monthly", t) == second_of(2026, 6, 1, 0, 0, 0));
    CHECK(next_in_utc("@weekly", t) == second_of(2026, 5, 10, 0, 0, 0));
    CHECK(next_in_utc("@daily", t) == second_of(2026, 5, 4, 0, 0, 0));
    CHECK(next_in_utc("@midnight", t) == second_of(2026, 5, 4, 0, 0, 0));
    CHECK(next_in_utc("@hourly", t) == second_of(2026, 5, 3, 11, 0, 0));
}

static void waits_for_leap_days(void) {
    CHECK(next_in_utc("0 0 29 2 *", second_of(2096, 3, 1, 0, 0, 0)) ==
          second_of(2104, 2, 29, 0, 0, 0));
    /* A February with five Mondays: every 28 years, and not around 2100. */
    CHECK(next_in_utc("0 0 * 2 1#5", second_of(2027, 1, 1, 0, 0, 0)) ==
          second_of(2044, 2, 29, 0, 0, 0));
}

static void says_where_it_is_wrong(void) {
    static const struct {
        const char *expression, *says;
    } FAULTS[] = {
        {"", "at character 1: 0 fields"},
        {"* * * *", "at character 8: 4 fields"},
        {"* * * * * * *", "at character 13: more than six fields"},
        {"60 * * * *", "at character 1, in the minute: must be 0 to 59"},
        {"0 24 * * *", "at character 3, in the hour: must be 0 to 23"},
        {"0 0 0 * *", "at character 5, in the day of month: must be 1 to 31"},
        {"0 0 1 13 *", "at character 7, in the month: must be 1 to 12"},
        {"0 0 * * 8", "at character 9, in the day of week: must be 0 to 7"},
        {"0 0 * * 99999999999999999999", "must be 0 to 7"},
        {"10-5 * * * *", "at character 1, in the minute: the range goes backwards"},
        {"0 0 * * fri-tue", "at character 9, in the day of week: the range goes backwards"},
        {"0 1,5-3 * * *", "at character 5, in the hour: the range goes backwards"},
        {"*/0 * * * *", "at character 3, in the minute: a step must be 1 or more"},
        {"*/ * * * *", "at character 3, in the minute: a step must be a number"},
        {"1, * * * *", "at character 3, in the minute: a value is missing"},
        {"1- * * * *", "at character 3, in the minute: a value is missing"},
        {"x * * * *", "at character 1, in the minute: not a number"},
        {"-1 * * * *", "at character 1, in the minute: not a number"},
        {"0 0 * foo *", "at character 7, in the month: neither a number nor a name"},
        {"0 0 * * monday", "at character 9, in the day of week: neither a number nor a name"},
        {"0 0 * * 1#6", "at character 11, in the day of week: behind # must stand 1 to 5"},
        {"0 0 1-5W * *", "at character 8, in the day of month: not understood"},
        {"0 0 * * L", "at character 9, in the day of week: neither"},
        {"0 0 L-3 * *", "at character 6, in the day of month: not understood"},
        {"0 0 ? * *", "at character 5, in the day of month: not a number"},
        {"1.5 * * * *", "at character 2, in the minute: not understood"},
        {"0 0 30 2 *", "at character 5, in the day of month: no month chosen has such a day"},
        {"0 0 31 4,6,9,11 *", "it would never run"},
        {"0 0 0 30W feb *", "at character 7, in the day of month: no month"},
        {"@reboot", "at character 1: not one of @yearly"},
        {"@daily 5", "not one of"},
        {"@", "not one of"},
    };
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++) {
        naq_cron cron;
        naq_err err = {0};
        if (!CHECK(naq_cron_parse(&cron, FAULTS[i].expression, &err) == NAQ_INVALID) ||
            !CHECK(strstr(err.message, FAULTS[i].says) != NULL))
            fprintf(stderr, "'%s' says: %s\n", FAULTS[i].expression, err.message);
    }
}

static void takes_zones_from_the_system(void) {
    naq_zone *zone = NULL;
    naq_err err;
    CHECK(naq_zone_open(&zone, "Europe/Atlantis", &err) == NAQ_INVALID);
    CHECK(strstr(err.message, "is not known") != NULL);
    CHECK(naq_zone_open(&zone, "../../../etc/passwd", &err) == NAQ_INVALID);
    CHECK(naq_zone_open(&zone, "", &err) == NAQ_INVALID);
    CHECK(naq_zone_open(&zone, "zone.tab", &err) == NAQ_INVALID);
    CHECK(naq_zone_open(&zone, "Europe", &err) == NAQ_INVALID);
    CHECK(zone == NULL);
}

/* Cut short or changed anywhere, a zone file is refused or answers something, but does no harm. */
static void survives_damaged_zone_files(void) {
    static unsigned char file[1 << 16], damaged[1 << 16];
    FILE *f = fopen("/usr/share/zoneinfo/America/New_York", "rb");
    if (!CHECK(f != NULL)) return;
    size_t len = fread(file, 1, sizeof file, f);
    (void)fclose(f);
    unsigned seed = 1;
    for (size_t i = 0; i < 20000; i++) {
        size_t cut = i < len ? i : len;
        memcpy(damaged, file, len);
        for (int k = 0; i >= len && k < 4; k++) {
            seed = seed * 1103515245u + 12345u;
            damaged[seed % len] = (unsigned char)(seed >> 16);
        }
        naq_zone *zone = NULL;
        naq_err err;
        if (naq_zone_read(&zone, "damaged", damaged, cut, &err) != NAQ_OK) continue;
        for (int64_t t = -3000000000; t < 9000000000; t += 777777777) {
            naq_zone_span span = naq_zone_at(zone, t);
            CHECK(span.from <= t && t < span.until);
            (void)naq_zone_first(zone, t);
        }
        naq_zone_close(zone);
    }
}

static unsigned random_below(unsigned *seed, unsigned n) {
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) % n;
}

/* Random texts of what expressions are made of: parsed or refused, and what was parsed goes
 * forward. */
static void survives_any_text(void) {
    static const char *const PIECES[] = {"*", "*",  "*",  "*", "1", "2",  "3",   "5",
                                         "0", "23", "59", "7", "-", ",",  "/",   "#",
                                         "L", "W",  "x",  "@", "?", "\t", "mon", "feb"};
    naq_zone *zone = zone_named("America/New_York");
    unsigned seed = 7;
    int parsed = 0;
    for (int i = 0; i < 200000; i++) {
        char text[128];
        size_t n = 0;
        for (unsigned fields = 4 + random_below(&seed, 4); fields > 0; fields--) {
            for (unsigned pieces = 1 + random_below(&seed, 6) / 4; pieces > 0; pieces--) {
                unsigned which = random_below(&seed, sizeof PIECES / sizeof *PIECES);
                n += (size_t)snprintf(text + n, sizeof text - n, "%s", PIECES[which]);
            }
            n += (size_t)snprintf(text + n, sizeof text - n, " ");
        }
        naq_cron cron;
        naq_err err;
        int64_t next;
        if (naq_cron_parse(&cron, text, &err) != NAQ_OK) continue;
        parsed++;
        CHECK(naq_cron_next(&cron, zone, 1700000000, &next) && next > 1700000000);
    }
    CHECK(parsed > 100);
    naq_zone_close(zone);
}

int main(int argc, char **argv) {
    if (argc > 1) vectors = argv[1];
    run("agrees with the vectors", agrees_with_the_vectors);
    run("does what clocks do", does_what_clocks_do);
    run("has seconds in six fields", has_seconds_in_six_fields);
    run("knows its macros", knows_its_macros);
    run("waits for leap days", waits_for_leap_days);
    run("says where it is wrong", says_where_it_is_wrong);
    run("takes zones from the system", takes_zones_from_the_system);
    run("survives damaged zone files", survives_damaged_zone_files);
    run("survives any text", survives_any_text);
    return failures > 0;
}
