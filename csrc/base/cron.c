/* cron.c -- the next time that a cron expression matches.
 *
 * The calendar is searched in local time; zone.h says what is when. */
#include "base/cron.h"

#include "base/calendar.h"
#include "base/cron_fields.h"

enum { DAYS_IN_400_YEARS = 146097 };

/* The working day (Monday to Friday) nearest to a day, in its month. */
static int nearest_working_day(naq_date date, int length) {
    int weekday = naq_weekday_of(naq_day_of(date));
    if (weekday == 6) return date.day > 1 ? date.day - 1 : date.day + 2;
    if (weekday == 0) return date.day < length ? date.day + 1 : date.day - 2;
    return date.day;
}

static bool day_of_month_matches(const naq_cron *cron, naq_date date, int length) {
    if (cron->days >> date.day & 1) return true;
    if (cron->last_day && date.day == length) return true;
    if (cron->last_working_day) {
        naq_date last = {date.year, date.month, length};
        if (date.day == nearest_working_day(last, length)) return true;
    }
    /* Nearest to one of the days around: two away at the most. */
    for (int n = date.day > 2 ? date.day - 2 : 1; n <= date.day + 2 && n <= length; n++) {
        naq_date wanted = {date.year, date.month, n};
        if ((cron->nearest >> n & 1) && nearest_working_day(wanted, length) == date.day)
            return true;
    }
    return false;
}

static bool weekday_matches(const naq_cron *cron, naq_date date, int weekday, int length) {
    if (cron->weekdays >> weekday & 1) return true;
    if ((cron->last_weekdays >> weekday & 1) && date.day > length - 7) return true;
    return cron->nth[(date.day - 1) / 7 + 1] >> weekday & 1;
}

static bool day_matches(const naq_cron *cron, int64_t day, naq_date date) {
    int length = naq_month_length(date.year, date.month);
    bool of_month = day_of_month_matches(cron, date, length);
    bool of_week = weekday_matches(cron, date, naq_weekday_of(day), length);
    return cron->any_day || cron->any_weekday ? of_month && of_week : of_month || of_week;
}

/* The first matching day from `day` on, up to the last one looked at. */
static bool next_day(const naq_cron *cron, int64_t *day, int64_t last) {
    for (int64_t d = *day; d <= last; d++) {
        naq_date date = naq_date_of(d);
        if (!(cron->months >> date.month & 1)) {
            d += naq_month_length(date.year, date.month) - date.day; /* on to the next first */
            continue;
        }
        if (!day_matches(cron, d, date)) continue;
        *day = d;
        return true;
    }
    return false;
}

/* The first bit set from `from` on; -1: none. */
static int next_bit(uint64_t bits, int from) {
    if (from > 63 || bits >> from == 0) return -1;
    return from + __builtin_ctzll(bits >> from);
}

/* The first matching second of a day from `from` on; -1: none. */
static int next_second(const naq_cron *cron, int from) {
    int h = from / 3600, m = from / 60 % 60, s = from % 60;
    for (int hour = next_bit(cron->hours, h); hour >= 0; hour = next_bit(cron->hours, hour + 1)) {
        int minute = next_bit(cron->minutes, hour > h ? 0 : m);
        if (hour == h && minute == m) {
            int second = next_bit(cron->seconds, s);
            if (second >= 0) return hour * 3600 + minute * 60 + second;
            minute = next_bit(cron->minutes, m + 1);
        }
        if (minute >= 0) return hour * 3600 + minute * 60 + next_bit(cron->seconds, 0);
    }
    return -1;
}

/* The first matching local time from *local on. */
static bool next_local(const naq_cron *cron, int64_t *local, int64_t last_day) {
    int64_t day = naq_day_at(*local), begin = day;
    while (next_day(cron, &day, last_day)) {
        int second = next_second(cron, day == begin ? (int)(*local - day * NAQ_DAY_S) : 0);
        if (second >= 0) {
            *local = day * NAQ_DAY_S + second;
            return true;
        }
        day++;
    }
    return false;
}

bool naq_cron_possible(const naq_cron *cron) {
    int64_t day = 0;
    return next_day(cron, &day, DAYS_IN_400_YEARS);
}

/* Whenever the clocks show a matching time: stretch by stretch of one offset. */
static bool next_shown(const naq_cron *cron, const naq_zone *zone, int64_t from, int64_t last_day,
                       int64_t *next) {
    for (;;) {
        naq_zone_span span = naq_zone_at(zone, from);
        int64_t local = from + span.offset;
        if (!next_local(cron, &local, last_day)) return false;
        if (local - span.offset < span.until) {
            *next = local - span.offset;
            return true;
        }
        from = span.until;
    }
}

bool naq_cron_next(const naq_cron *cron, const naq_zone *zone, int64_t after, int64_t *next) {
    int64_t last_day = naq_day_at(after) + DAYS_IN_400_YEARS;
    if (cron->real_hours) return next_shown(cron, zone, after + 1, last_day, next);
    /* Each local time once, in its order: several may stand for one moment behind a gap, and those
     * that come for the second time have their moment in the past. */
    int64_t local = after + naq_zone_at(zone, after).offset;
    for (; next_local(cron, &local, last_day); local++) {
        *next = naq_zone_first(zone, local);
        if (*next > after) return true;
    }
    return false;
}
