/* lease.h -- the slots of a queue's concurrency, leased to workers: the record that they share, as
 * one of them sees it. Pure; one thread.
 *
 * The record is one JSON object: {"held":{"<worker>":{"slots":3,"beat":17}}}. Whoever holds slots
 * raises its beat every NAQ_LEASE_RENEW_MS. A beat that was seen to stand still for NAQ_LEASE_MS,
 * by the clock of who looks and while he was connected, is a worker's that is gone: its slots are
 * free. No two clocks are compared. */
#ifndef NAQ_RUN_LEASE_H
#define NAQ_RUN_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { NAQ_LEASE_MS = 8000, NAQ_LEASE_RENEW_MS = 2000 };

typedef struct naq_holder {
    char worker[160];
    int slots;
    int64_t beat;
    int64_t seen_ms; /* when this beat was first seen */
} naq_holder;

typedef struct naq_leases {
    naq_holder *all;
    int n;
    uint64_t revision; /* of the record; 0: there is none */
} naq_leases;

/* The record as of a revision; an older one than is known is nothing new. len 0: deleted. */
void naq_leases_read(naq_leases *l, const char *text, size_t len, uint64_t revision,
                     int64_t now_ms);
/* Nothing is known any more. */
void naq_leases_forget(naq_leases *l);
/* The beats are looked at anew: who was not connected cannot say that one stands still. */
void naq_leases_doubt(naq_leases *l, int64_t now_ms);

/* Slots that the others hold. *lapse_ms: when the first of them may be free; INT64_MAX: none. */
int naq_leases_others(const naq_leases *l, const char *me, int64_t now_ms, int64_t *lapse_ms);
/* Whether the record says that `me` holds that many under that beat. */
bool naq_leases_holds(const naq_leases *l, const char *me, int slots, int64_t beat);
/* The record with `me` holding so many (0: not in it), and without those that are gone. */
void naq_leases_write(const naq_leases *l, const char *me, int slots, int64_t beat, int64_t now_ms,
                      naq_buf *out);

#endif
