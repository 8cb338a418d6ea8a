/* zone_rule.c -- reads a POSIX rule and finds the stretch of a year that a moment lies in. */
#include "base/zone_rule.h"

#include <stddef.h>

#include "base/calendar.h"

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

static bool letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Each reader moves *at behind what it read, and answers false for what is not its like. */

static bool read_int(const char **at, int low, int high, int *out) {
    int n = 0;
    if (!digit(**at)) return false;
    for (; digit(**at); (*at)++) {
        n = n * 10 + (**at - '0');
        if (n > high) return false;
    }
    *out = n;
    return n >= low;
}

static bool skip(const char **at, char c) {
    if (**at != c) return false;
    (*at)++;
    return true;
}

/* Letters, or anything between < and >: never needed, as only offsets count. */
static bool skip_name(const char **at) {
    const char *begin = *at;
    if (skip(at, '<')) {
        while (**at != '\0' && **at != '>')
            (*at)++;
        return skip(at, '>');
    }
    while (letter(**at))
        (*at)++;
    return *at - begin >= 3;
}

/* [+-]h[:mm[:ss]] in seconds; hours up to 167, as RFC 8536 allows. */
static bool read_time(const char **at, int32_t *out) {
    int h = 0, m = 0, s = 0;
    bool negative = skip(at, '-');
    if (!negative) (void)skip(at, '+');
    if (!read_int(at, 0, 167, &h)) return false;
    if (skip(at, ':') && !read_int(at, 0, 59, &m)) return false;
    if (skip(at, ':') && !read_int(at, 0, 59, &s)) return false;
    *out = (int32_t)(h * 3600 + m * 60 + s) * (negative ? -1 : 1);
    return true;
}

static bool read_turn(const char **at, naq_zone_turn *t) {
    *t = (naq_zone_turn){.second = 2 * 3600};
    bool ok;
    if (skip(at, 'M')) {
        t->kind = NAQ_TURN_WEEKDAY;
        ok = read_int(at, 1, 12, &t->month) && skip(at, '.') && read_int(at, 1, 5, &t->week) &&
             skip(at, '.') && read_int(at, 0, 6, &t->weekday);
    } else if (skip(at, 'J')) {
        t->kind = NAQ_TURN_JULIAN;
        ok = read_int(at, 1, 365, &t->day);
    } else {
        t->kind = NAQ_TURN_ORDINAL;
        ok = read_int(at, 0, 365, &t->day);
    }
    return ok && (!skip(at, '/') || read_time(at, &t->second));
}

bool naq_zone_rule_parse(naq_zone_rule *rule, const char *text) {
    const char *at = text;
    int32_t west = 0;
    *rule = (naq_zone_rule){0};
    if (!skip_name(&at) || !read_time(&at, &west)) return false;
    rule->standard = -west;
    if (*at == '\0') return true;
    rule->turns = true;
    if (!skip_name(&at)) return false;
    rule->summer = rule->standard + 3600;
    if (*at != ',' && *at != '\0') {
        if (!read_time(&at, &west)) return false;
        rule->summer = -west;
    }
    return skip(&at, ',') && read_turn(&at, &rule->begin) && skip(&at, ',') &&
           read_turn(&at, &rule->end) && *at == '\0';
}

static int64_t day_of_turn(const naq_zone_turn *t, int year) {
    int64_t first = naq_day_of((naq_date){year, 1, 1});
    if (t->kind == NAQ_TURN_ORDINAL) return first + t->day;
    if (t->kind == NAQ_TURN_JULIAN)
        return first + t->day - 1 + (t->day >= 60 && naq_month_length(year, 2) == 29);
    int64_t day = naq_day_of((naq_date){year, t->month, 1});
    day += (t->weekday - naq_weekday_of(day) + 7) % 7 + 7 * (t->week - 1);
    return naq_date_of(day).month == t->month ? day : day - 7; /* the fifth may be the fourth */
}

naq_zone_span naq_zone_rule_at(const naq_zone_rule *rule, int64_t utc) {
    naq_zone_span span = {INT64_MIN, INT64_MAX, rule->standard};
    if (!rule->turns) return span;
    int year = naq_date_of(naq_day_at(utc)).year;
    /* All turns around that year: the latest one up to utc, and the first one after it. Where two
     * fall on one moment (summer time all year), the beginning counts. */
    for (int y = year - 1; y <= year + 1; y++) {
        const naq_zone_turn *turns[] = {&rule->end, &rule->begin};
        const int32_t before[] = {rule->summer, rule->standard};
        const int32_t after[] = {rule->standard, rule->summer};
        for (size_t i = 0; i < 2; i++) {
            int64_t at = day_of_turn(turns[i], y) * NAQ_DAY_S + turns[i]->second - before[i];
            if (at <= utc && at >= span.from) {
                span.from = at;
                span.offset = after[i];
            } else if (at > utc && at < span.until) {
                span.until = at;
            }
        }
    }
    return span;
}
