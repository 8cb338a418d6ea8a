/* sweep.c -- left-overs of a consumer, up to its ack floor. */
#include "run/sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "nats/delayed.h"
#include "nats/leftover.h"
#include "nats/results.h"
#include "nats/stream.h"

/* Of one call of ack_lost(). */
enum { LOOKS = 1000, ACKS = 20000 };

/* The record's word on a message of this hop: over, or superseded by a later hop. */
static bool is_settled(const naq_buf *record, int64_t hop) {
    char state[16];
    naq_slice text = {record->data, record->len};
    naq_reply_text(text, "state", state, sizeof state);
    bool ended = strcmp(state, "completed") == 0 || strcmp(state, "failed") == 0 ||
                 strcmp(state, "cancelled") == 0;
    return ended || naq_reply_int(text, "hop", 0) > hop;
}

/* The job once more, as a later hop in the delayed store, due now. */
static naq_status once_more(naq_conn *c, const char *prefix, const char *queue,
                            naq_priority priority, const char *id, const naq_envelope *job,
                            const naq_stored *m, naq_err *err) {
    naq_buf payload = {0};
    naq_status status = naq_envelope_next(m->data.data, m->data.len, job->hop + 1, job->attempt,
                                          job->enqueued_us > 0 ? job->enqueued_us : m->time_us,
                                          (naq_slice){0}, &payload, err);
    if (status == NAQ_OK) {
        naq_delayed_job d = {.prefix = prefix,
                             .id = id,
                             .queue = queue,
                             .priority = priority,
                             .hop = job->hop + 1,
                             .due_ms = naq_wall_us() / 1000,
                             .payload = payload.data,
                             .len = payload.len};
        status = naq_delayed_put(c, &d, err);
    }
    naq_buf_free(&payload);
    return status;
}

static naq_status settle(naq_conn *c, const char *prefix, const char *queue, naq_priority priority,
                         const naq_stored *m, naq_err *err) {
    const char *dot = memrchr(m->subject.data, '.', m->subject.len);
    char id[NAQ_ID_TEXT] = "";
    size_t n = dot == NULL ? 0 : (size_t)(m->subject.data + m->subject.len - dot - 1);
    naq_envelope job;
    /* What is no job has its dead letter: it was acked. */
    if (dot == NULL || !naq_id_valid(dot + 1, n) ||
        naq_envelope_parse(m->data.data, m->data.len, &job, err) != NAQ_OK)
        return NAQ_OK;
    memcpy(id, dot + 1, n);
    id[n] = '\0';
    naq_record record;
    memset(&record, 0, sizeof record);
    naq_status status = naq_results_find(c, prefix, id, &record, err);
    bool settled = status == NAQ_OK && is_settled(&record.entry.value, job.hop);
    naq_buf_free(&record.entry.value);
    if (status == NAQ_JOB_NOT_FOUND || (status == NAQ_OK && !settled)) {
        /* A retry has no record: it waits in the delayed store, perhaps for this very subject. */
        char delayed[96], filter[200];
        int64_t waiting = 0;
        (void)snprintf(delayed, sizeof delayed, "%s_delayed", prefix);
        (void)snprintf(filter, sizeof filter, "%s.d.*.%s", prefix, id);
        status = naq_stream_count(c, delayed, filter, &waiting, err);
        settled = waiting > 0;
    }
    if (status != NAQ_OK || settled) return status;
    naq_log(NAQ_WARNING, "job %s: the server forgot how it ended; it is run once more", id);
    return once_more(c, prefix, queue, priority, id, &job, m, err);
}

/* Acks what a consumer waits for and the stream does not have: nobody can get it, so nobody else
 * acks it. Only below a message that is there: such a sequence is never used again. *passed is how
 * far this has come. */
static naq_status ack_lost(naq_conn *c, const char *stream, const char *consumer,
                           const naq_consumer_info *info, uint64_t until, uint64_t *passed,
                           naq_err *err) {
    if (*passed < info->ack_floor) *passed = info->ack_floor;
    int looks = 0, acks = 0;
    while (*passed < until && looks++ < LOOKS && acks < ACKS) {
        naq_stored m;
        naq_status status = naq_message_next(c, stream, *passed + 1, ">", &m, err);
        if (status == NAQ_KEY_NOT_FOUND) return NAQ_OK;
        if (status != NAQ_OK) return status;
        uint64_t there = m.sequence;
        naq_stored_free(&m);
        for (; *passed + 1 < there && *passed < until && acks < ACKS; acks++) {
            char subject[320];
            (void)snprintf(subject, sizeof subject, "$JS.ACK.%s.%s.1.%" PRIu64 ".0.1.0", stream,
                           consumer, *passed + 1);
            status = naq_conn_publish(c, subject, "+ACK", 4, err);
            if (status != NAQ_OK) return status;
            ++*passed;
        }
        if (*passed + 1 == there) *passed = there;
    }
    return NAQ_OK;
}

bool naq_sweep(naq_conn *c, const char *prefix, const char *queue, naq_priority priority,
               uint64_t *until, uint64_t *passed) {
    char stream[96], consumer[140], filter[200];
    (void)snprintf(stream, sizeof stream, "%s_jobs", prefix);
    (void)snprintf(consumer, sizeof consumer, "%s_%s", queue, NAQ_PRIORITY_NAMES[priority]);
    (void)snprintf(filter, sizeof filter, "%s.q.%s.%s.*", prefix, queue,
                   NAQ_PRIORITY_NAMES[priority]);
    naq_consumer_info info;
    naq_err err;
    if (naq_consumer_look(c, stream, consumer, &info, &err) != NAQ_OK) return false;
    naq_status status = NAQ_OK;
    /* Not at the first call: what is only late comes by itself. */
    if (*until > 0 && info.ack_floor < *until && info.ack_pending > 0)
        status = ack_lost(c, stream, consumer, &info, *until, passed, &err);
    if (*until == 0) *until = info.delivered;
    long gone = 0;
    for (uint64_t from = 1; status == NAQ_OK && from <= info.ack_floor;) {
        naq_stored m;
        status = naq_message_next(c, stream, from, filter, &m, &err);
        if (status == NAQ_OK && m.sequence > info.ack_floor) status = NAQ_KEY_NOT_FOUND;
        if (status == NAQ_OK) status = settle(c, prefix, queue, priority, &m, &err);
        if (status == NAQ_OK) status = naq_message_delete(c, stream, m.sequence, &err);
        if (status == NAQ_OK) gone++;
        from = m.sequence + 1;
        naq_stored_free(&m);
    }
    if (gone > 0)
        naq_log(NAQ_INFO, "queue %s: %ld messages that a killed server had kept are gone", queue,
                gone);
    if (status != NAQ_OK && status != NAQ_KEY_NOT_FOUND) {
        naq_log(NAQ_WARNING, "queue %s: left-overs cannot be cleared: %s (%s)", queue, err.message,
                naq_status_code(err.status));
        return false;
    }
    return info.ack_floor >= *until;
}
