/* past_run.c -- its record, its message, its record again: a job goes from the one to the other. */
#include "run/past_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nats/leftover.h"
#include "nats/reply.h"
#include "nats/results.h"

void naq_past_run_id(char out[NAQ_ID_TEXT], const char *schedule, int64_t due_ms) {
    (void)snprintf(out, NAQ_ID_TEXT, "%s-%" PRId64, schedule, due_ms);
}

typedef enum trace { NONE, ONGOING, ENDED, UNREAD } trace;

static trace read_record(naq_conn *c, const char *prefix, const char *job) {
    naq_record record;
    naq_err err;
    char state[16];
    memset(&record, 0, sizeof record);
    naq_status status = naq_results_find(c, prefix, job, &record, &err);
    naq_slice text = {record.entry.value.data, record.entry.value.len};
    trace found = UNREAD;
    if (status == NAQ_JOB_NOT_FOUND) {
        found = record.expired ? ENDED : NONE;
    } else if (status == NAQ_OK) {
        naq_reply_text(text, "state", state, sizeof state);
        found = strcmp(state, "running") == 0 || strcmp(state, "retry") == 0 ? ONGOING : ENDED;
    }
    naq_buf_free(&record.entry.value);
    return found;
}

bool naq_past_run_recorded(naq_conn *c, const char *prefix, const char *job) {
    trace found = read_record(c, prefix, job);
    return found == ONGOING || found == ENDED;
}

static naq_past_run told_by(trace found) {
    return found == ENDED     ? NAQ_PAST_RUN_ENDED
           : found == ONGOING ? NAQ_PAST_RUN_GOES_ON
                              : NAQ_PAST_RUN_UNKNOWN;
}

naq_past_run naq_past_run_look(naq_conn *c, const char *prefix, const char *queue,
                               naq_priority priority, const char *job) {
    char stream[96], subject[256];
    trace found = read_record(c, prefix, job);
    if (found != NONE) return told_by(found);
    (void)snprintf(stream, sizeof stream, "%s_jobs", prefix);
    (void)snprintf(subject, sizeof subject, "%s.q.%s.%s.%s", prefix, queue,
                   NAQ_PRIORITY_NAMES[priority], job);
    naq_stored m;
    naq_err err;
    naq_status status = naq_message_last(c, stream, subject, &m, &err);
    naq_stored_free(&m);
    if (status == NAQ_OK) return NAQ_PAST_RUN_GOES_ON;
    if (status != NAQ_KEY_NOT_FOUND) return NAQ_PAST_RUN_UNKNOWN;
    found = read_record(c, prefix, job);
    return found == NONE ? NAQ_PAST_RUN_ENDED : told_by(found);
}
