/* zone.h -- a time zone of the system's tzdata: what its clocks show at a moment, and when they
 * show a time. Immutable once opened: any thread. Times are seconds since 1970, UTC; a local time
 * is the same count as if the zone's clocks were on UTC. */
#ifndef NAQ_BASE_ZONE_H
#define NAQ_BASE_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct naq_zone naq_zone;

/* A stretch of time with one offset: local = utc + offset for from <= utc < until. */
typedef struct naq_zone_span {
    int64_t from, until;
    int32_t offset; /* seconds, positive east */
} naq_zone_span;

/* [reads a file, except for UTC] An IANA name, "Europe/Berlin". NAQ_INVALID: there is no such zone,
 * or no tzdata, or its file is damaged. */
naq_status naq_zone_open(naq_zone **out, const char *name, naq_err *err);
void naq_zone_close(naq_zone *zone);

/* The same from the bytes of a compiled zone file; name is for messages. */
naq_status naq_zone_read(naq_zone **out, const char *name, const void *data, size_t len,
                         naq_err *err);

naq_zone_span naq_zone_at(const naq_zone *zone, int64_t utc);

/* The first moment whose local time is `local`; where the clocks jumped over it, the moment after
 * the jump. Never goes back as local goes forward. */
int64_t naq_zone_first(const naq_zone *zone, int64_t local);

#endif
