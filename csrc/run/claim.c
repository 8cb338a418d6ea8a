/* claim.c -- reading a job's record before a run, and writing the claim. */
#include "run/claim.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/letterbox.h"

/* The members of a record that decide. */
typedef struct standing {
    naq_slice state, worker; /* without quotes */
    naq_slice started_at;    /* a number */
    int64_t hop, starts;
} standing;

static bool is(naq_slice s, const char *text) {
    return s.at != NULL && s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

static naq_status read_standing(const naq_buf *record, standing *out, naq_err *err) {
    memset(out, 0, sizeof *out);
    naq_json j;
    naq_json_begin(&j, record->data, record->len);
    naq_status status = naq_json_object(&j, err);
    for (bool first = true, more = true; status == NAQ_OK; first = false) {
        naq_slice key, value;
        naq_json_kind kind;
        status = naq_json_member(&j, first, &more, &key, &value, &kind, err);
        if (status != NAQ_OK || !more) break;
        long long n;
        if (is(key, "state") && kind == NAQ_JSON_STRING)
            out->state = (naq_slice){value.at + 1, value.len - 2};
        else if (is(key, "worker") && kind == NAQ_JSON_STRING)
            out->worker = (naq_slice){value.at + 1, value.len - 2};
        else if (is(key, "started_at") && kind == NAQ_JSON_NUMBER)
            out->started_at = value;
        else if (is(key, "hop") && naq_json_int(value, &n))
            out->hop = n;
        else if (is(key, "starts") && naq_json_int(value, &n))
            out->starts = n;
    }
    return status;
}

static bool terminal(naq_slice state) {
    return is(state, "completed") || is(state, "failed") || is(state, "cancelled");
}

static naq_status write_claim(naq_attempt *a, int64_t starts, naq_err *err) {
    char bucket[96];
    naq_results_bucket(a->at->prefix, a->slot->result_class, bucket, sizeof bucket);
    naq_buf record = {0};
    naq_buf_puts(&record, "{\"state\":\"running\",\"job\":");
    naq_buf_json_string(&record, a->job.job.at, a->job.job.len);
    naq_buf_printf(&record, ",\"queue\":\"%s\",\"priority\":\"%s\",\"hop\":%lld,\"starts\":%lld,",
                   a->queue, NAQ_PRIORITY_NAMES[a->slot->address.priority], (long long)a->job.hop,
                   (long long)starts);
    naq_buf_printf(&record,
                   "\"attempt\":%lld,\"worker\":\"%s\",\"started_at\":", (long long)a->job.attempt,
                   a->at->worker_id);
    naq_buf_time(&record, naq_wall_us());
    naq_buf_putc(&record, '}');
    uint64_t revision = 0;
    naq_status status = naq_kv_put(a->at->conn, bucket, a->id, record.data, record.len,
                                   a->slot->expected, &revision, err);
    naq_buf_free(&record);
    if (status == NAQ_OK) {
        a->slot->expected = (int64_t)revision;
        a->claimed = true;
    }
    return status;
}

static void remember(naq_attempt *a, const naq_buf *before) {
    a->before_len = before->len < sizeof a->before ? (int)before->len : -1;
    if (a->before_len > 0) memcpy(a->before, before->data, before->len);
}

void naq_claim_undo(naq_attempt *a) {
    if (!a->claimed) return;
    char bucket[96];
    naq_err err;
    uint64_t revision = 0;
    naq_status status;
    naq_results_bucket(a->at->prefix, a->slot->result_class, bucket, sizeof bucket);
    if (a->before_len < 0)
        a->before_len = snprintf(a->before, sizeof a->before,
                                 "{\"state\":\"retry\",\"hop\":%lld,\"attempt\":%lld}",
                                 (long long)a->job.hop, (long long)a->job.attempt);
    if (a->before_len > 0)
        status = naq_kv_put(a->at->conn, bucket, a->id, a->before, (size_t)a->before_len,
                            a->slot->expected, &revision, &err);
    else
        status = naq_kv_delete(a->at->conn, bucket, a->id, a->slot->expected, &err);
    a->claimed = false;
    if (status != NAQ_OK)
        naq_log(NAQ_WARNING, "job %s: its claim was not taken back: %s (%s)", a->id, err.message,
                naq_status_code(status));
}

static void remember_crash(naq_attempt *a, const standing *s, int64_t starts) {
    (void)snprintf(a->crashed_worker, sizeof a->crashed_worker, "%.*s",
                   s->worker.at != NULL ? (int)s->worker.len : 1,
                   s->worker.at != NULL ? s->worker.at : "?");
    double at = s->started_at.at != NULL ? naq_json_double(s->started_at) : 0;
    a->crashed_us = at > 0 && at < 1e11 ? (int64_t)(at * 1e6) : a->started_us;
    a->crashed_starts = starts;
}

/* Whether somebody may have run this very message before. */
static bool came_before(const naq_attempt *a) {
    return a->slot->delivered > 1 || a->slot->suspect || a->slot->lost || a->job.released_late;
}

static naq_permit leave(const naq_attempt *a, const char *what, const naq_err *err) {
    naq_log(err->status == NAQ_WRONG_REVISION ? NAQ_INFO : NAQ_WARNING,
            "job %s is left alone: %s: %s (%s)", a->id, what, err->message,
            naq_status_code(err->status));
    return NAQ_PERMIT_LEAVE;
}

/* It has ended. If it did not fail, a letter of it is of somebody whose record was refused. */
static naq_permit drop(const naq_attempt *a, const standing *s) {
    uint64_t letter;
    naq_err err;
    if (is(s->state, "failed") || !came_before(a)) return NAQ_PERMIT_DROP;
    if (naq_letterbox_look(a, 0, s->hop, &letter, &err) != NAQ_OK ||
        naq_letterbox_take(a, letter, &err) != NAQ_OK)
        return leave(a, "whether it left a dead letter is not known", &err);
    return NAQ_PERMIT_DROP;
}

/* Starts under a claim that ended with their worker. The one of this worker did not: it could not
 * store what became of the job, because the server was away. */
static int64_t crashes(const naq_attempt *a, const standing *s) {
    if (s->hop != a->job.hop || !is(s->state, "running")) return 0;
    return is(s->worker, a->at->worker_id) ? s->starts - 1 : s->starts;
}

static naq_permit decide(naq_attempt *a, bool claim, const standing *s) {
    naq_err err;
    if (terminal(s->state)) return drop(a, s);
    /* A later hop was delivered somewhere: this message is a left-over whose ack was lost. */
    if (s->hop > a->job.hop) return NAQ_PERMIT_DROP;
    /* Read before the claim is written: a letter that comes later is of somebody who still lives,
     * and finds out himself. */
    if (came_before(a) &&
        naq_letterbox_look(a, a->job.hop, a->job.hop, &a->old_letter, &err) != NAQ_OK)
        return leave(a, "whether it left a dead letter is not known", &err);
    if (!claim && a->old_letter == 0) return NAQ_PERMIT_RUN;

    int64_t starts = crashes(a, s);
    if (starts > 0 && starts >= a->at->max_crashes) {
        remember_crash(a, s, starts);
        return NAQ_PERMIT_CRASHED;
    }
    if (starts > 0) {
        /* It was begun before and never ended: it may be what kills workers. Nobody else's job
         * should be near it, or would be counted as a suspect too. */
        naq_slots_alone(a->at->slots);
        a->alone = true;
    }
    if (write_claim(a, starts + 1, &err) != NAQ_OK) {
        /* Somebody was faster. A cancel is the end of it, and leaves the message to whoever had it;
         * of another worker the lease tells. */
        if (err.status == NAQ_WRONG_REVISION && naq_claim_look(a) == NAQ_PERMIT_DROP)
            return NAQ_PERMIT_DROP;
        return leave(a, "its claim was not written", &err);
    }
    if (naq_letterbox_take(a, a->old_letter, &err) != NAQ_OK)
        return leave(a, "the dead letter of an earlier start stays", &err);
    a->old_letter = 0;
    return NAQ_PERMIT_RUN;
}

naq_permit naq_claim(naq_attempt *a, bool claim, naq_result_class preferred) {
    naq_record record;
    memset(&record, 0, sizeof record);
    naq_err err;
    standing s = {0};
    naq_status status = naq_results_find(a->at->conn, a->at->prefix, a->id, &record, &err);
    a->slot->result_class = preferred;
    a->slot->expected = 0;
    if (status == NAQ_OK) {
        a->slot->result_class = record.where;
        a->slot->expected = (int64_t)record.entry.revision;
        status = read_standing(&record.entry.value, &s, &err);
        if (status != NAQ_OK) {
            /* Somebody's hand wrote it. Nothing in it can be relied on; the revision can. */
            naq_log(NAQ_WARNING, "job %s: its record is not readable: %s", a->id, err.message);
            memset(&s, 0, sizeof s);
            status = NAQ_OK;
        }
    } else if (status == NAQ_JOB_NOT_FOUND) {
        /* A deleted record leaves a marker whose revision the next write must expect. */
        if (record.entry.revision > 0) {
            a->slot->result_class = record.where;
            a->slot->expected = (int64_t)record.entry.revision;
        }
        status = NAQ_OK;
    }
    naq_permit permit = NAQ_PERMIT_LEAVE;
    if (status == NAQ_OK) {
        a->found_record = true;
        remember(a, &record.entry.value);
        permit = decide(a, claim, &s);
    } else {
        permit = leave(a, "its record cannot be read", &err);
    }
    naq_buf_free(&record.entry.value);
    return permit;
}

naq_permit naq_claim_look(naq_attempt *a) {
    naq_record record;
    memset(&record, 0, sizeof record);
    naq_err err;
    standing s = {0};
    naq_status status = naq_results_find(a->at->conn, a->at->prefix, a->id, &record, &err);
    naq_permit permit = NAQ_PERMIT_RUN;
    if (status == NAQ_OK && read_standing(&record.entry.value, &s, &err) == NAQ_OK) {
        if (terminal(s.state))
            permit = drop(a, &s);
        else if (s.hop > a->job.hop)
            permit = NAQ_PERMIT_DROP;
    } else if (status != NAQ_OK && status != NAQ_JOB_NOT_FOUND) {
        permit = leave(a, "its record cannot be read", &err);
    }
    naq_buf_free(&record.entry.value);
    return permit;
}

naq_standing naq_claim_standing(naq_attempt *a) {
    naq_record record;
    memset(&record, 0, sizeof record);
    naq_err err;
    naq_status status = naq_results_find(a->at->conn, a->at->prefix, a->id, &record, &err);
    naq_buf_free(&record.entry.value);
    int64_t revision = (int64_t)record.entry.revision;
    if (status != NAQ_OK && status != NAQ_JOB_NOT_FOUND) {
        naq_log(NAQ_WARNING, "job %s: its record cannot be read: %s (%s)", a->id, err.message,
                naq_status_code(status));
        return NAQ_STANDING_UNKNOWN;
    }
    if (revision == a->slot->expected) return NAQ_STANDING_OURS;
    naq_log(NAQ_WARNING, "job %s: the outcome of worker %s is refused: another worker has it now",
            a->id, a->at->worker_id);
    return NAQ_STANDING_LOST;
}
