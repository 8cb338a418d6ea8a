/* cron.h -- cron expressions: parsed, and the next time of one in a zone. Pure, any thread.
 *
 * Five fields (minute hour day month weekday), six with seconds first, or @yearly, @annually,
 * @monthly,
 * @weekly, @daily, @midnight, @hourly. A field is a list of *, n, a-b, each with /step or not;
 * months and weekdays have names (jan, mon), Sunday is 0 or 7. Days: L (the last), LW (the last
 * Monday to Friday), 15W (the one nearest to the 15th, in its month). Weekdays: 5L (the last
 * Friday), 5#3 (the third).
 *
 * Day and weekday both given: either will do. A field that begins with * does not count as given.
 *
 * Where clocks are put forward, a time that does not exist runs at the moment after the gap, once
 * for all of one gap; where they are put back, a time that comes twice runs the first time. With *
 * or a step of it as hours the expression means real hours instead: it runs whenever the clocks
 * show a matching time. */
#ifndef NAQ_BASE_CRON_H
#define NAQ_BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/zone.h"

typedef struct naq_cron {
    uint64_t seconds, minutes;               /* bit n: n matches */
    uint32_t hours, days, months;            /* days from bit 1, months from bit 1 */
    uint32_t nearest;                        /* nW */
    uint8_t weekdays, last_weekdays, nth[6]; /* bit 0: Sunday; nth[k]: the k-th of the month */
    bool last_day, last_working_day;         /* L, LW */
    bool any_day, any_weekday;               /* began with * */
    bool real_hours;                         /* hours are * or a step of it */
} naq_cron;

/* NAQ_INVALID with the position of the fault, from 1: an expression that is wrong, or that no day
 * ever matches. */
naq_status naq_cron_parse(naq_cron *out, const char *text, naq_err *err);

/* The first time after `after` (seconds since 1970, UTC) that matches. false: there is none within
 * the next 400 years. */
bool naq_cron_next(const naq_cron *cron, const naq_zone *zone, int64_t after, int64_t *next);

#endif
