/* plan.h -- one recurring schedule: its record read, what became of it written back.
 *
 * A record (docs/wire.md) says what runs and when, which programs write, and how it stands, which
 * the scheduler does. Writing keeps every member that is not the scheduler's as it is. One thread.
 */
#ifndef NAQ_RUN_PLAN_H
#define NAQ_RUN_PLAN_H

#include "base/id.h"
#include "base/recurrence.h"
#include "nats/envelope.h"

enum { NAQ_PLAN_RECENT = 20, NAQ_PLAN_ID_MAX = 50 };

typedef enum naq_overlap { NAQ_OVERLAP_ALLOW, NAQ_OVERLAP_SKIP, NAQ_OVERLAP_QUEUE_ONE } naq_overlap;
typedef enum naq_misfire { NAQ_MISFIRE_ONCE, NAQ_MISFIRE_SKIP, NAQ_MISFIRE_ALL } naq_misfire;
bool naq_misfire_parse(const char *name, size_t len, naq_misfire *out);

typedef enum naq_plan_state {
    NAQ_PLAN_ACTIVE,
    NAQ_PLAN_FINISHED,
    NAQ_PLAN_FAILED,
    NAQ_PLAN_OTHER /* paused, cancelled, ended before: nothing to do for a scheduler */
} naq_plan_state;

typedef struct naq_plan {
    naq_buf text; /* the record; slices point into it */
    naq_plan_state state;
    naq_slice state_name; /* as it stands there, with its quotes */
    bool unreadable;      /* of one that is not active: not to be written */
    naq_slice payload;    /* of its runs */
    char queue[NAQ_ID_TEXT];
    naq_priority priority;
    naq_recurrence when;
    int64_t repeat; /* 0: without end */
    int64_t jitter_ms;
    naq_overlap overlap;
    int misfire; /* a naq_misfire; -1: as the scheduler is set */

    /* What the scheduler keeps in it. */
    int64_t next_ms;       /* INT64_MAX: none */
    int64_t done_until_ms; /* all times up to here are settled; INT64_MIN: none yet */
    int64_t runs, skipped, failures;
    int64_t last_run_ms; /* 0: none */
    char last_job[NAQ_ID_TEXT];
    bool held; /* next_ms waits for the run before it to end */
    int64_t recent[NAQ_PLAN_RECENT];
    int n_recent;
    naq_buf error; /* a JSON object, of a failed one; empty: none */
} naq_plan;

/* Zones that plans share. All zero: none yet. */
typedef struct naq_zones {
    struct naq_zone_entry {
        char *name;
        naq_zone *zone;
    } * all;
    size_t n;
} naq_zones;
void naq_zones_free(naq_zones *z);

/* Copies the record. now_ms: where a record that says neither next_run nor anchor begins. Refused:
 * NAQ_SERIALIZATION for what is no JSON object, else the reason, and only for an active one; out is
 * fit to be freed in any case. */
naq_status naq_plan_read(naq_plan *out, const char *id, const void *record, size_t len,
                         int64_t now_ms, naq_zones *zones, naq_err *err);
void naq_plan_free(naq_plan *p);

/* The record as it stands now. */
naq_status naq_plan_write(const naq_plan *p, naq_buf *out, naq_err *err);
/* A record that could not be read, marked as failed for that reason. */
naq_status naq_plan_write_failed(const void *record, size_t len, const naq_err *why, naq_buf *out,
                                 naq_err *err);

/* When its next run goes: jitter included, the same on every machine. */
int64_t naq_plan_due(const naq_plan *p, const char *id);
/* The time `due_ms` was run as `job` at now_ms. */
void naq_plan_ran(naq_plan *p, int64_t due_ms, const char *job, int64_t now_ms);
/* All times up to until_ms are settled: on to the next one, or finished. */
void naq_plan_settle(naq_plan *p, int64_t until_ms);
void naq_plan_fail(naq_plan *p, naq_status status, const char *message);

#endif
