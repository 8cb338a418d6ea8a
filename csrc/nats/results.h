/* results.h -- where a job's record stands: the one module that knows the result buckets.
 *
 * Everything that writes or reads a record goes through here, so that another way of storing them
 * (many records in one message, say) can come later without touching the rest. */
#ifndef NAQ_NATS_RESULTS_H
#define NAQ_NATS_RESULTS_H

#include "nats/kv.h"

typedef enum naq_result_class {
    NAQ_RESULTS_1H,
    NAQ_RESULTS_1D,
    NAQ_RESULTS_7D,
    NAQ_RESULTS_30D,
    NAQ_RESULTS_FOREVER,
    NAQ_RESULT_CLASSES
} naq_result_class;

/* The smallest class that keeps a record for ttl seconds; exact tells whether it keeps it just so
 * long. */
naq_result_class naq_result_class_for(double ttl_seconds, bool *exact);
/* "naq_results_7d" */
void naq_results_bucket(const char *prefix, naq_result_class k, char *out, size_t size);
/* "$KV.naq_results_7d." : a record's subject without the id */
void naq_results_subject(const char *prefix, naq_result_class k, char *out, size_t size);

typedef struct naq_record {
    naq_kv_entry entry;
    naq_result_class where;
    bool expired; /* with NAQ_JOB_NOT_FOUND: there was one, and its time is over */
} naq_record;
/* [blocks] Look in all classes at once. NAQ_JOB_NOT_FOUND when there is none, or it was deleted or
 * has expired (then entry.revision and where are its own, 0 otherwise: the next write must expect
 * it). entry.value is the caller's to free. */
naq_status naq_results_find(naq_conn *c, const char *prefix, const char *id, naq_record *out,
                            naq_err *err);
/* [blocks] Wait for a terminal record, or the end of a result_ttl 0 job told on <prefix>.n.<id>.
 * Appends the record to out. NAQ_TIMEOUT. Woken by the write itself (a core subscription on the
 * record's subject), then read back from the stream, because a refused write is seen on the subject
 * too. */
naq_status naq_results_wait(naq_conn *c, const char *prefix, const char *id, int64_t timeout_ms,
                            naq_buf *out, naq_err *err);

#endif
