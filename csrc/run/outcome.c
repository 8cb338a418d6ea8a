/* outcome.c -- records, retries and dead letters, on the thread that ran the job. */
#include "run/outcome.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/delayed.h"
#include "nats/publish.h"
#include "run/claim.h"

enum { DEFAULT_RETRIES = 3 };

static void leave(naq_attempt *a, const char *what, const naq_err *err) {
    naq_log(NAQ_ERROR, "job %s: %s: %s (%s); it is delivered again when its lease ends", a->id,
            what, err->message, naq_status_code(err->status));
    a->slot->verdict = NAQ_VERDICT_LEAVE;
}

/* Records */

/* The members that all terminal records share, up to and without the closing brace. */
static void begin_record(naq_attempt *a, naq_buf *r, const char *state) {
    naq_buf_puts(r, "{\"state\":\"");
    naq_buf_puts(r, state);
    naq_buf_puts(r, "\",\"job\":\"");
    naq_buf_put(r, a->job.job.at,
                a->job.job.len); /* the envelope refuses names that need escapes */
    naq_buf_puts(r, "\",\"queue\":\"");
    naq_buf_puts(r, a->queue);
    naq_buf_puts(r, "\",\"priority\":\"");
    naq_buf_puts(r, NAQ_PRIORITY_NAMES[a->slot->address.priority]);
    naq_buf_puts(r, "\",\"attempt\":");
    naq_buf_int(r, a->job.attempt);
    if (a->job.max_retries.at != NULL) {
        naq_buf_puts(r, ",\"max_retries\":");
        naq_buf_put(r, a->job.max_retries.at, a->job.max_retries.len);
    }
    if (a->job.hop > 0) {
        naq_buf_puts(r, ",\"hop\":");
        naq_buf_int(r, a->job.hop);
    }
    naq_buf_puts(r, ",\"enqueued_at\":");
    naq_buf_time(r, a->enqueued_us);
    naq_buf_puts(r, ",\"started_at\":");
    naq_buf_time(r, a->started_us);
    naq_buf_puts(r, ",\"finished_at\":");
    naq_buf_time(r, a->finished_us);
    naq_buf_puts(r, ",\"worker\":\"");
    naq_buf_puts(r, a->at->worker_id);
    naq_buf_putc(r, '"');
}

static double result_ttl(const naq_attempt *a, double own) {
    if (a->job.result_ttl.at != NULL) return naq_json_double(a->job.result_ttl);
    return own >= 0 ? own : a->at->result_ttl;
}

/* Where the record goes and how long it is meant to stay; appends expires_at where the bucket keeps
 * longer. */
static void place_record(naq_attempt *a, naq_buf *r, double ttl) {
    bool exact;
    naq_result_class k = naq_result_class_for(ttl, &exact);
    /* A record that was there before the run stays in its bucket: one id, one place, one revision.
     */
    if (!a->found_record || a->slot->expected == 0) a->slot->result_class = k;
    if (exact && a->slot->result_class == k) return;
    naq_buf_puts(r, ",\"expires_at\":");
    naq_buf_time(r, a->finished_us + (int64_t)(ttl * 1e6));
}

void naq_outcome_success(naq_attempt *a, const naq_did_what *what) {
    naq_slot *slot = a->slot;
    double ttl = result_ttl(a, what->result_ttl);
    begin_record(a, &slot->record, "completed");
    if (what->result.len > 0) {
        naq_buf_puts(&slot->record, ",\"result\":");
        naq_buf_put(&slot->record, what->result.data, what->result.len);
    }
    /* A claim has to be replaced by something, or it would stand as "running" for its bucket's
     * life. */
    slot->notice_only = ttl <= 0 && slot->expected == 0;
    if (!slot->notice_only) place_record(a, &slot->record, ttl > 0 ? ttl : 60);
    naq_buf_putc(&slot->record, '}');
    slot->verdict = NAQ_VERDICT_STORE;
}

/* Failed attempts */

static void put_error(naq_buf *b, const char *code, const char *message, const char *traceback) {
    naq_buf_puts(b, "\"code\":");
    naq_buf_json_string(b, code, strlen(code));
    naq_buf_puts(b, ",\"message\":");
    naq_buf_json_string(b, message, strlen(message));
    if (traceback != NULL && *traceback != '\0') {
        naq_buf_puts(b, ",\"traceback\":");
        naq_buf_json_string(b, traceback, strlen(traceback));
    }
}

static void put_attempt(naq_attempt *a, naq_buf *b, const char *code, const char *message,
                        const char *traceback) {
    naq_buf_printf(b,
                   "{\"attempt\":%lld,\"worker\":\"%s\",\"started_at\":", (long long)a->job.attempt,
                   a->at->worker_id);
    naq_buf_time(b, a->started_us);
    naq_buf_puts(b, ",\"finished_at\":");
    naq_buf_time(b, a->finished_us);
    naq_buf_putc(b, ',');
    put_error(b, code, message, traceback);
    naq_buf_putc(b, '}');
}

/* Further off than anybody plans, and still a due time that no arithmetic overflows with. */
static const double LATEST_SECONDS = 100 * 365.25 * 86400;

static int64_t due_ms(double seconds) {
    double wait = seconds > 0 ? seconds : 0; /* NaN: at once */
    if (wait > LATEST_SECONDS) wait = LATEST_SECONDS;
    /* Up, not down: never a part of a millisecond early. */
    return (naq_wall_us() + (int64_t)(wait * 1e6) + 999) / 1000;
}

/* The same job, one hop on, in the delayed store; then the claim, where there is one, says so. */
static void postpone(naq_attempt *a, double seconds, int64_t attempt, naq_slice failed) {
    naq_err err;
    if (!naq_claim_holds(a)) {
        a->slot->verdict = NAQ_VERDICT_LEAVE;
        return;
    }
    naq_buf payload = {0};
    int64_t hop = a->job.hop + 1;
    naq_status status = naq_envelope_next(a->slot->payload, a->slot->payload_len, hop, attempt,
                                          a->enqueued_us, failed, &payload, &err);
    if (status == NAQ_OK) {
        naq_delayed_job d = {.prefix = a->at->prefix,
                             .id = a->id,
                             .queue = a->queue,
                             .priority = a->slot->address.priority,
                             .hop = hop,
                             .due_ms = due_ms(seconds),
                             .payload = payload.data,
                             .len = payload.len};
        status = naq_delayed_put(a->at->conn, &d, &err);
    }
    naq_buf_free(&payload);
    if (status != NAQ_OK) {
        leave(a, "its next attempt was not stored", &err);
        return;
    }
    if (a->slot->expected > 0) {
        /* The claim's count of starts ends here: this start had an outcome. A lost write changes
         * nothing, since the next hop's claim starts counting anew. */
        char bucket[96], record[256];
        naq_results_bucket(a->at->prefix, a->slot->result_class, bucket, sizeof bucket);
        int n =
            snprintf(record, sizeof record, "{\"state\":\"retry\",\"hop\":%lld,\"attempt\":%lld}",
                     (long long)hop, (long long)attempt);
        uint64_t revision;
        if (naq_kv_put(a->at->conn, bucket, a->id, record, (size_t)n, a->slot->expected, &revision,
                       &err) != NAQ_OK)
            naq_log(NAQ_INFO, "job %s: its claim was not turned to retry: %s", a->id, err.message);
    }
    a->slot->retried = true;
    a->slot->verdict = NAQ_VERDICT_ACK;
}

void naq_outcome_snooze(naq_attempt *a, double seconds) {
    postpone(a, seconds, a->job.attempt, (naq_slice){0});
}

void naq_outcome_failure(naq_attempt *a, const naq_did_what *what) {
    const char *message = what->message.data, *code = what->code.data;
    const char *traceback = what->traceback.len > 0 ? what->traceback.data : "";
    naq_decision decision = {0};
    naq_err err;
    naq_slot *slot = a->slot;
    if (naq_vm_decide(a->vm, a->job.job, slot->address.queue, slot->payload, slot->payload_len,
                      a->job.attempt, message, code, &decision, &err) != NAQ_OK) {
        naq_log(NAQ_WARNING, "job %s: %s; the default rules are used", a->id, err.message);
        decision.retry = a->job.attempt <= DEFAULT_RETRIES;
        decision.delay = 1;
    }
    naq_log(decision.retry ? NAQ_INFO : NAQ_WARNING,
            "job %s (%.*s) failed in attempt %lld: %s (%s)", a->id, (int)a->job.job.len,
            a->job.job.at, (long long)a->job.attempt, message, code);
    if (!decision.retry) {
        naq_outcome_dead(a, what->did == NAQ_DID_NOT_KNOW ? "unknown_job" : "failed", code, message,
                         traceback);
        return;
    }
    naq_buf failed = {0};
    put_attempt(a, &failed, code, message, traceback);
    postpone(a, decision.delay, a->job.attempt + 1, (naq_slice){failed.data, failed.len});
    naq_buf_free(&failed);
}

/* Dead letters */

static void put_base64(naq_buf *b, const char *data, size_t len) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < len ? (unsigned char)data[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            naq_buf_putc(b, i + k <= len ? DIGITS[v >> (18 - 6 * k) & 63] : '=');
    }
}

/* "attempts":[...] with the earlier ones from the payload and this one behind them. */
static void put_attempts(naq_attempt *a, naq_buf *b, const char *code, const char *message,
                         const char *traceback) {
    naq_buf_puts(b, ",\"attempts\":[");
    naq_slice before = a->job.attempts;
    if (before.at != NULL && before.len > 2) {
        naq_buf_put(b, before.at + 1, before.len - 2);
        naq_buf_putc(b, ',');
    }
    put_attempt(a, b, code, message, traceback);
    naq_buf_putc(b, ']');
}

static naq_status publish_letter(naq_attempt *a, const char *reason, const char *code,
                                 const char *message, const char *traceback, naq_err *err) {
    naq_slot *slot = a->slot;
    naq_buf letter = {0};
    naq_buf_puts(&letter, "{\"v\":1,\"id\":");
    naq_buf_json_string(&letter, a->id, strlen(a->id));
    naq_buf_puts(&letter, ",\"queue\":");
    naq_buf_json_string(&letter, a->queue, strlen(a->queue));
    naq_buf_printf(&letter, ",\"priority\":\"%s\",\"reason\":\"%s\",\"failed_at\":",
                   NAQ_PRIORITY_NAMES[slot->address.priority], reason);
    naq_buf_time(&letter, a->finished_us);
    naq_buf_puts(&letter, ",\"error\":{");
    put_error(&letter, code, message, traceback);
    naq_buf_putc(&letter, '}');
    put_attempts(a, &letter, code, message, traceback);
    naq_json j;
    naq_slice whole;
    naq_json_kind kind;
    naq_err ignored;
    naq_json_begin(&j, slot->payload, slot->payload_len);
    if (naq_json_value(&j, &whole, &kind, &ignored) == NAQ_OK &&
        naq_json_end(&j, &ignored) == NAQ_OK) {
        naq_buf_puts(&letter, ",\"payload\":");
        naq_buf_put(&letter, whole.at, whole.len);
    } else {
        naq_buf_puts(&letter, ",\"payload_base64\":\"");
        put_base64(&letter, slot->payload, slot->payload_len);
        naq_buf_putc(&letter, '"');
    }
    naq_buf_putc(&letter, '}');

    char subject[256], msg_id[128];
    (void)snprintf(subject, sizeof subject, "%s.f.%s.%s", a->at->prefix, a->queue, a->id);
    (void)snprintf(msg_id, sizeof msg_id, "%s:dead:%lld", a->id, (long long)a->job.hop);
    naq_pub_ack ack;
    naq_status status = letter.failed ? naq_fail(err, NAQ_TOO_LARGE, "out of memory")
                                      : naq_publish(a->at->conn, subject, msg_id, NULL, 0,
                                                    letter.data, letter.len, 0, &ack, err);
    naq_buf_free(&letter);
    return status;
}

void naq_outcome_dead(naq_attempt *a, const char *reason, const char *code, const char *message,
                      const char *traceback) {
    naq_slot *slot = a->slot;
    naq_err err;
    if (!naq_claim_holds(a)) {
        slot->verdict = NAQ_VERDICT_LEAVE;
        return;
    }
    if (publish_letter(a, reason, code, message, traceback, &err) != NAQ_OK) {
        leave(a, "its dead letter was not stored", &err);
        return;
    }
    naq_log(NAQ_WARNING, "job %s is a dead letter (%s): %s (%s)", a->id, reason, message, code);
    double ttl = result_ttl(a, -1);
    naq_buf *r = &slot->record;
    naq_buf_clear(r);
    begin_record(a, r, "failed");
    naq_buf_printf(r, ",\"reason\":\"%s\",\"error\":{", reason);
    put_error(r, code, message, traceback);
    naq_buf_putc(r, '}');
    put_attempts(a, r, code, message, traceback);
    place_record(a, r, ttl > 0 ? ttl : a->at->result_ttl); /* failures always leave a record */
    naq_buf_putc(r, '}');
    slot->failed = true;
    slot->verdict = NAQ_VERDICT_STORE;
}
