/* recurrence.c -- the times of a recurrence, forwards and from the end. */
#include "base/recurrence.h"

enum { SECOND_MS = 1000, LOOK_BACK_MS = 60 * 1000 };

static int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return a % b < 0 ? q - 1 : q;
}

static bool next_of_interval(const naq_recurrence *r, int64_t after_ms, int64_t *next_ms) {
    int64_t k = floor_div(after_ms - r->anchor_ms, r->interval_ms) + 1;
    int64_t first = r->at_anchor ? 0 : 1;
    *next_ms = r->anchor_ms + (k > first ? k : first) * r->interval_ms;
    return true;
}

bool naq_recurrence_next(const naq_recurrence *r, int64_t after_ms, int64_t *next_ms) {
    if (r->starts_ms != INT64_MIN && after_ms < r->starts_ms) after_ms = r->starts_ms - 1;
    int64_t found;
    if (r->zone == NULL) {
        (void)next_of_interval(r, after_ms, &found);
    } else {
        int64_t second;
        if (!naq_cron_next(&r->cron, r->zone, floor_div(after_ms, SECOND_MS), &second))
            return false;
        found = second * SECOND_MS;
    }
    if (found > r->ends_ms) return false;
    *next_ms = found;
    return true;
}

/* The n-th from the end among the times in (from, until], as naq_recurrence_back(); *count is how
 * many of them there are, n at most. */
static int64_t last_of(const naq_recurrence *r, int64_t from, int64_t until, int n, int *count) {
    int64_t ring[NAQ_RECURRENCE_BACK], at = from;
    int64_t found = 0;
    while (naq_recurrence_next(r, at, &at) && at <= until)
        ring[found++ % n] = at;
    *count = found < n ? (int)found : n;
    return found < n ? ring[0] : ring[found % n];
}

bool naq_recurrence_back(const naq_recurrence *r, int64_t after_ms, int64_t until_ms, int n,
                         int64_t *time_ms) {
    if (n > NAQ_RECURRENCE_BACK) n = NAQ_RECURRENCE_BACK;
    if (until_ms <= after_ms) return false;
    /* Years of a time each second must not be gone through from their beginning: look further and
     * further back until there are enough. */
    int64_t span = r->zone == NULL ? r->interval_ms * n : LOOK_BACK_MS;
    for (;; span *= 2) {
        bool all = span >= until_ms - after_ms;
        int count;
        int64_t time = last_of(r, all ? after_ms : until_ms - span, until_ms, n, &count);
        if (count == 0 && all) return false;
        if (count < n && !all) continue;
        *time_ms = time;
        return true;
    }
}
