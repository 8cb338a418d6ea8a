/* zone_rule.h -- the yearly rule of a time zone in POSIX form: "CET-1CEST,M3.5.0,M10.5.0/3". Pure.
 */
#ifndef NAQ_BASE_ZONE_RULE_H
#define NAQ_BASE_ZONE_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/zone.h"

/* A day of each year and a time on it. */
typedef struct naq_zone_turn {
    enum { NAQ_TURN_WEEKDAY, NAQ_TURN_JULIAN, NAQ_TURN_ORDINAL } kind;
    int month, week, weekday; /* WEEKDAY: week 5 is the last */
    int day;                  /* JULIAN: 1 to 365, no 29 February; ORDINAL: 0 to 365 */
    int32_t second;           /* local time of that day, may lie outside of it */
} naq_zone_turn;

typedef struct naq_zone_rule {
    int32_t standard, summer; /* offsets, seconds east */
    bool turns;               /* else standard for ever */
    naq_zone_turn begin, end; /* of summer time */
} naq_zone_rule;

bool naq_zone_rule_parse(naq_zone_rule *rule, const char *text);
naq_zone_span naq_zone_rule_at(const naq_zone_rule *rule, int64_t utc);

#endif
