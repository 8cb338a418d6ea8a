/* recurrence.h -- when something recurs: a cron expression in a zone, or an interval from an
 * anchor, between two ends. Milliseconds since 1970. Pure; the zone is borrowed. */
#ifndef NAQ_BASE_RECURRENCE_H
#define NAQ_BASE_RECURRENCE_H

#include "base/cron.h"

typedef struct naq_recurrence {
    const naq_zone *zone; /* NULL: an interval */
    naq_cron cron;
    int64_t interval_ms, anchor_ms;
    bool at_anchor; /* the anchor is a time itself; else the first comes an interval later */
    int64_t starts_ms, ends_ms; /* both may be times; INT64_MIN, INT64_MAX: none */
} naq_recurrence;

/* The first time after `after_ms`. false: there is none any more. */
bool naq_recurrence_next(const naq_recurrence *r, int64_t after_ms, int64_t *next_ms);

enum { NAQ_RECURRENCE_BACK = 100 };

/* Of the times after `after_ms` and not after `until_ms` the n-th from the end (1: the last one, at
 * most NAQ_RECURRENCE_BACK), or the first when there are fewer. false: there are none. */
bool naq_recurrence_back(const naq_recurrence *r, int64_t after_ms, int64_t until_ms, int n,
                         int64_t *time_ms);

#endif
