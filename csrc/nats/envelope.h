/* envelope.h -- a job on the wire: the payload of docs/wire.md, read and rewritten. Any thread. */
#ifndef NAQ_NATS_ENVELOPE_H
#define NAQ_NATS_ENVELOPE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/status.h"

typedef enum naq_priority { NAQ_HIGH, NAQ_NORMAL, NAQ_LOW, NAQ_PRIORITIES } naq_priority;

extern const char *const NAQ_PRIORITY_NAMES[NAQ_PRIORITIES]; /* "high", "normal", "low" */
bool naq_priority_parse(const char *name, size_t len, naq_priority *out);

/* Raw JSON, as given: checked where they are applied. */
typedef struct naq_envelope_limits {
    bool any;
    naq_slice timeout, memory_limit, cpu_limit, max_instructions, sandbox;
} naq_envelope_limits;

/* Borrowed from the message's bytes; valid as long as those. Slices of absent members have at NULL.
 */
typedef struct naq_envelope {
    naq_slice job;        /* the name, without quotes; escapes are refused in names */
    naq_slice args;       /* raw JSON */
    naq_slice attempts;   /* raw JSON array */
    int64_t attempts_cut; /* how many are missing there */
    int64_t max_retries;  /* -1: not given, or no count */
    double result_ttl;    /* seconds; -1: not given, or no such time */
    naq_slice trace;      /* without quotes; at NULL when it is no traceparent */
    naq_envelope_limits limits;
    int64_t enqueued_us; /* 0: not given */
    int64_t hop;         /* 0 when absent */
    int64_t attempt;     /* 1 when absent */
    bool released_late;  /* it may have been released from the delayed store before */
} naq_envelope;

/* NAQ_UNDECODABLE with the reason when the payload is not a job (see docs/wire.md). One pass. Of
 * members with the same name the last one counts. */
naq_status naq_envelope_parse(const char *data, size_t len, naq_envelope *out, naq_err *err);

/* What is different in the next publish of a job. */
typedef struct naq_next {
    int64_t hop, attempt;
    int64_t enqueued_us;      /* 0: `enqueued_at` stays as it is */
    naq_slice failed_attempt; /* one JSON object, appended to `attempts`; at NULL: none */
    size_t max_history;       /* bytes that `attempts` may take (history.h) */
} naq_next;

/* The same job for its next publish: every other member of `payload` kept as it is. On failure
 * (NAQ_UNDECODABLE, or NAQ_TOO_LARGE when memory is out) out is as long as before. */
naq_status naq_envelope_step(const char *payload, size_t len, const naq_next *next, naq_buf *out,
                             naq_err *err);
/* The same with as much history as is kept at most. */
naq_status naq_envelope_next(const char *payload, size_t len, int64_t hop, int64_t attempt,
                             int64_t enqueued_us, naq_slice failed_attempt, naq_buf *out,
                             naq_err *err);

/* Append a payload without what naq_envelope_step() sets anew: `attempts` and `attempts_cut`. As it
 * is when it is no object. */
void naq_envelope_put_bare(const char *payload, size_t len, naq_buf *out);

/* The name of a job: 1 to NAQ_JOB_NAME_MAX bytes of UTF-8 that stand in JSON as they are, so
 * without quotes, backslashes and control characters. */
enum { NAQ_JOB_NAME_MAX = 128 };
bool naq_job_name_valid(const char *s, size_t n);

/* What a payload leaves free of the server's max_payload, for headers, the members of its next hop
 * and the rest of a dead letter: a job within naq_envelope_max() can always be buried whole. */
enum { NAQ_JOB_ROOM = 4096 };
static inline int64_t naq_envelope_max(int64_t max_payload) {
    return max_payload > 2 * NAQ_JOB_ROOM ? max_payload - NAQ_JOB_ROOM : max_payload / 2;
}

/* A subject taken apart; false if it is none of these, or has a bad queue, priority or id:
 * <prefix>.q.<queue>.<priority>.<id>, <prefix>.f.<queue>.<id> (priority NAQ_NORMAL) and
 * <prefix>.d.<bucket>.<id> (priority NAQ_NORMAL, queue absent: a header has both). */
typedef struct naq_address {
    naq_slice queue;
    naq_priority priority;
    naq_slice id;
} naq_address;
bool naq_address_parse(const char *subject, const char *prefix, naq_address *out);

#endif
