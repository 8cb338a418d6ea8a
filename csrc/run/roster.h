/* roster.h -- the schedules a leader knows, by id and by place. One thread. */
#ifndef NAQ_RUN_ROSTER_H
#define NAQ_RUN_ROSTER_H

#include "run/plan.h"

typedef struct naq_entry {
    char id[NAQ_PLAN_ID_MAX + 1];
    uint32_t place, generation; /* stays where it is until it is removed */
    uint32_t next;              /* of the same hash */
    bool used;

    naq_plan plan;
    uint64_t revision;     /* of the record that plan was read from, or that we wrote last */
    int64_t queued_ms;     /* where it stands in the heap; INT64_MAX: nowhere */
    int64_t not_before_ms; /* after a failure */

    bool dirty;  /* the record does not say yet what we did */
    bool listed; /* to be written */
    bool behind; /* the record has been written since: wait for what the watch brings */
    bool unsure; /* whether our last write arrived is not known */
    int64_t unsaved_runs, unsaved_skipped;
} naq_entry;

typedef struct naq_roster {
    naq_entry **all; /* by place */
    uint32_t n, cap, n_used;
    uint32_t *heads; /* by hash: place + 1 */
    uint32_t n_heads;
} naq_roster; /* all zero: empty */

void naq_roster_free(naq_roster *r);
naq_entry *naq_roster_find(const naq_roster *r, const char *id); /* NULL: none */
naq_entry *naq_roster_add(naq_roster *r, const char *id);        /* NULL: out of memory */
void naq_roster_remove(naq_roster *r, naq_entry *e);             /* frees its plan, too */

/* A number for a heap that tells when what it meant is gone. */
uint64_t naq_roster_token(const naq_entry *e);
naq_entry *naq_roster_at(const naq_roster *r, uint64_t token); /* NULL: gone */

#endif
