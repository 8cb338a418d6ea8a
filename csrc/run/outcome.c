/* outcome.c -- records, retries and dead letters, on the thread that ran the job. */
#include "run/outcome.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/delayed.h"
#include "nats/letter.h"
#include "nats/publish.h"
#include "run/claim.h"
#include "run/letterbox.h"

enum {
    DEFAULT_RETRIES = 3,
    HEADERS = 512,    /* room for a message's headers, which count as payload */
    SHORT_TEXT = 160, /* bytes of a message where there is little room */
};

static void leave(naq_attempt *a, const char *what, const naq_err *err) {
    naq_log(NAQ_ERROR, "job %s: %s: %s (%s); it is delivered again when its lease ends", a->id,
            what, err->message, naq_status_code(err->status));
    a->slot->verdict = NAQ_VERDICT_LEAVE;
}

/* The record is not ours any more: what it says counts. */
static void yield(naq_attempt *a) {
    a->slot->dropped = naq_claim_look(a) == NAQ_PERMIT_DROP;
    a->slot->verdict = a->slot->dropped ? NAQ_VERDICT_ACK : NAQ_VERDICT_LEAVE;
}

static bool still_ours(naq_attempt *a) {
    naq_standing standing = naq_claim_standing(a);
    a->slot->verdict = NAQ_VERDICT_LEAVE;
    if (standing == NAQ_STANDING_LOST) yield(a);
    return standing == NAQ_STANDING_OURS;
}

/* Records */

/* Who ran it, and when. What crashed is the start that its claim tells of, not the burial. */
static void put_start(const naq_attempt *a, naq_buf *b) {
    bool crashed = a->crashed_worker[0] != '\0';
    naq_buf_puts(b, ",\"started_at\":");
    naq_buf_time(b, crashed ? a->crashed_us : a->started_us);
    naq_buf_puts(b, ",\"finished_at\":");
    naq_buf_time(b, a->finished_us);
    naq_buf_puts(b, ",\"worker\":");
    if (crashed) { /* as somebody's record has it */
        naq_buf_json_string(b, a->crashed_worker, strlen(a->crashed_worker));
        return;
    }
    naq_buf_putc(b, '"');
    naq_buf_puts(b, a->at->worker_id);
    naq_buf_putc(b, '"');
}

/* The members that all terminal records share, up to and without the closing brace. */
static void begin_record(naq_attempt *a, naq_buf *r, const char *state) {
    naq_buf_puts(r, "{\"state\":\"");
    naq_buf_puts(r, state);
    if (a->job.job.len > 0) {
        naq_buf_puts(r, "\",\"job\":\"");
        /* The envelope refuses names that need escapes. */
        naq_buf_put(r, a->job.job.at, a->job.job.len);
    }
    naq_buf_puts(r, "\",\"queue\":\"");
    naq_buf_puts(r, a->queue);
    naq_buf_puts(r, "\",\"priority\":\"");
    naq_buf_puts(r, NAQ_PRIORITY_NAMES[a->slot->address.priority]);
    naq_buf_puts(r, "\",\"attempt\":");
    naq_buf_int(r, a->job.attempt);
    if (a->job.max_retries >= 0) {
        naq_buf_puts(r, ",\"max_retries\":");
        naq_buf_int(r, a->job.max_retries);
    }
    if (a->job.hop > 0) {
        naq_buf_puts(r, ",\"hop\":");
        naq_buf_int(r, a->job.hop);
    }
    naq_buf_puts(r, ",\"enqueued_at\":");
    naq_buf_time(r, a->enqueued_us);
    put_start(a, r);
}

static double result_ttl(const naq_attempt *a, double own) {
    if (a->job.result_ttl >= 0) return a->job.result_ttl;
    return own >= 0 ? own : a->at->result_ttl;
}

/* Where the record goes and how long it is meant to stay; appends expires_at where the bucket keeps
 * longer. */
static void place_record(naq_attempt *a, naq_buf *r, double ttl) {
    bool exact;
    naq_result_class k = naq_result_class_for(ttl, &exact);
    /* A record that was there before the run stays in its bucket: one id, one place, one revision.
     */
    if (!a->found_record || a->slot->expected == 0) {
        naq_result_class watched = naq_attempt_class(a); /* a cancel is written there */
        bool own = k == watched || naq_cancels_end(a->at->cancels, a->id, a->job.hop);
        a->slot->result_class = own ? k : watched;
    }
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
    slot->notice_only =
        ttl <= 0 && slot->expected == 0 && naq_cancels_end(a->at->cancels, a->id, a->job.hop);
    if (!slot->notice_only) place_record(a, &slot->record, ttl > 0 ? ttl : 60);
    naq_buf_putc(&slot->record, '}');
    slot->verdict = NAQ_VERDICT_STORE;
}

/* Failed attempts */

static void put_attempt(naq_attempt *a, naq_buf *b, const char *code, const char *message,
                        const char *traceback) {
    naq_buf_printf(b, "{\"attempt\":%lld", (long long)a->job.attempt);
    put_start(a, b);
    naq_buf_putc(b, ',');
    naq_letter_put_error(b, code, message, traceback);
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

/* The same job, one hop on, in the delayed store. */
static naq_status store_next(naq_attempt *a, double seconds, const naq_next *next, naq_err *err) {
    naq_buf payload = {0};
    naq_status status =
        naq_envelope_step(a->slot->payload, a->slot->payload_len, next, &payload, err);
    if (status == NAQ_OK && payload.len > a->at->max_payload - HEADERS)
        status = naq_fail(err, NAQ_TOO_LARGE, "its payload of %zu bytes is too large to be sent on",
                          payload.len);
    if (status == NAQ_OK) {
        naq_delayed_job d = {.prefix = a->at->prefix,
                             .id = a->id,
                             .queue = a->queue,
                             .priority = a->slot->address.priority,
                             .hop = next->hop,
                             .due_ms = due_ms(seconds),
                             .payload = payload.data,
                             .len = payload.len};
        status = naq_delayed_put(a->at->conn, &d, err);
    }
    naq_buf_free(&payload);
    return status;
}

/* The record says which hop counts now: this one's message, should it come back (its ack may be
 * lost with the server), is dropped, and the count of starts that a claim holds ends. A lost write
 * costs another run of this attempt at most, whose next hop is there already. */
static void tell_next(naq_attempt *a, const naq_next *next) {
    char bucket[96], record[256];
    naq_err err;
    uint64_t revision;
    naq_slot *slot = a->slot;
    if (!a->found_record) slot->result_class = naq_attempt_class(a);
    int64_t expected = a->found_record ? slot->expected : 0;
    naq_results_bucket(a->at->prefix, slot->result_class, bucket, sizeof bucket);
    int n = snprintf(record, sizeof record, "{\"state\":\"retry\",\"hop\":%lld,\"attempt\":%lld}",
                     (long long)next->hop, (long long)next->attempt);
    if (naq_kv_put(a->at->conn, bucket, a->id, record, (size_t)n, expected, &revision, &err) !=
        NAQ_OK)
        naq_log(NAQ_INFO, "job %s: its record was not turned to retry: %s", a->id, err.message);
}

/* Sent on for its next attempt, then its record says so. False: it is too large
 * for that even without its history, and nothing was done. */
static bool postpone(naq_attempt *a, double seconds, int64_t attempt, naq_slice failed,
                     naq_err *err) {
    if (!still_ours(a)) return true;
    naq_next next = {.hop = a->job.hop + 1,
                     .attempt = attempt,
                     .enqueued_us = a->enqueued_us,
                     .failed_attempt = failed,
                     .max_history = NAQ_HISTORY_BYTES};
    naq_status status = store_next(a, seconds, &next, err);
    if (status == NAQ_TOO_LARGE && failed.at != NULL) {
        next.max_history = 0;
        status = store_next(a, seconds, &next, err);
    }
    if (status == NAQ_TOO_LARGE) return false;
    if (status != NAQ_OK) {
        leave(a, "its next attempt was not stored", err);
        return true;
    }
    tell_next(a, &next);
    a->slot->retried = true;
    a->slot->verdict = NAQ_VERDICT_ACK;
    return true;
}

void naq_outcome_snooze(naq_attempt *a, double seconds) {
    naq_err err;
    if (!postpone(a, seconds, a->job.attempt, (naq_slice){0}, &err))
        naq_outcome_dead(a, "failed", "TOO_LARGE", err.message, NULL);
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
        decision.max_retries = a->job.max_retries >= 0 ? a->job.max_retries : DEFAULT_RETRIES;
        decision.retry = a->job.attempt <= decision.max_retries;
        decision.delay = 1;
    }
    a->job.max_retries = decision.max_retries; /* for the record */
    naq_log(decision.retry ? NAQ_INFO : NAQ_WARNING,
            "job %s (%.*s) failed in attempt %lld: %s (%s)", a->id, (int)a->job.job.len,
            a->job.job.at, (long long)a->job.attempt, message, code);
    if (!decision.retry) {
        naq_outcome_dead(a, what->reason, code, message, traceback);
        return;
    }
    naq_buf failed = {0};
    put_attempt(a, &failed, code, message, traceback);
    bool sent_on =
        postpone(a, decision.delay, a->job.attempt + 1, (naq_slice){failed.data, failed.len}, &err);
    naq_buf_free(&failed);
    if (sent_on) return;
    naq_log(NAQ_WARNING, "job %s is not tried again: %s", a->id, err.message);
    naq_outcome_dead(a, "failed", code, message, traceback);
}

/* Dead letters */

/* Everything that failed: the earlier attempts of the payload, and this one. */
static naq_history history_of(const naq_attempt *a, const naq_buf *latest) {
    return (naq_history){.before = a->job.attempts,
                         .cut = a->job.attempts_cut,
                         .latest = {latest->data, latest->len}};
}

/* The letter with its error in few words, for what was enqueued to have room beside it. */
static naq_status write_short(naq_attempt *a, const naq_letter *letter, size_t max, naq_buf *text,
                              bool *whole, naq_err *err) {
    char code[64], message[SHORT_TEXT];
    naq_letter brief = *letter;
    naq_buf latest = {0};
    (void)snprintf(code, sizeof code, "%s", letter->code);
    int n = snprintf(message, sizeof message, "%s", letter->message);
    if (n >= SHORT_TEXT) memcpy(message + SHORT_TEXT - 8, " ...cut", 8);
    put_attempt(a, &latest, code, message, NULL);
    brief.code = code;
    brief.message = message;
    brief.traceback = NULL;
    brief.history = history_of(a, &latest);
    naq_status status = naq_letter_write(&brief, max, text, whole, err);
    naq_buf_free(&latest);
    return status;
}

/* Its Msg-Id is the hop's. One that is known is of an earlier start, whose letter was taken back or
 * will be: this one tells of another run, and is published under its own. */
static naq_status put_letter(naq_attempt *a, const naq_buf *text, uint64_t *sequence,
                             naq_err *err) {
    naq_pub_ack ack = {0};
    char subject[256], msg_id[192];
    (void)snprintf(subject, sizeof subject, "%s.f.%s.%s", a->at->prefix, a->queue, a->id);
    (void)snprintf(msg_id, sizeof msg_id, "%s:dead:%lld", a->id, (long long)a->job.hop);
    naq_status status =
        naq_publish(a->at->conn, subject, msg_id, NULL, 0, text->data, text->len, 0, &ack, err);
    if (status == NAQ_OK && ack.duplicate) {
        (void)snprintf(msg_id, sizeof msg_id, "%s:dead:%lld:%lld", a->id, (long long)a->job.hop,
                       (long long)a->finished_us);
        status =
            naq_publish(a->at->conn, subject, msg_id, NULL, 0, text->data, text->len, 0, &ack, err);
    }
    *sequence = ack.sequence;
    return status;
}

static naq_status publish_letter(naq_attempt *a, const naq_letter *letter, uint64_t *sequence,
                                 naq_err *err) {
    naq_buf text = {0};
    size_t max = a->at->max_payload - HEADERS;
    bool whole = true;
    naq_status status = naq_letter_write(letter, max, &text, &whole, err);
    if (status == NAQ_OK && !whole) {
        naq_buf_clear(&text);
        status = write_short(a, letter, max, &text, &whole, err);
    }
    if (status == NAQ_OK && !whole)
        naq_log(NAQ_WARNING, "job %s: its payload of %zu bytes leaves no room for a dead letter",
                a->id, letter->payload_len);
    if (status == NAQ_OK) status = put_letter(a, &text, sequence, err);
    naq_buf_free(&text);
    return status;
}

static naq_status write_failure(naq_attempt *a, const naq_letter *letter, size_t max_history,
                                naq_err *err) {
    naq_buf *r = &a->slot->record;
    double ttl = result_ttl(a, -1);
    naq_buf_clear(r);
    begin_record(a, r, "failed");
    naq_buf_printf(r, ",\"reason\":\"%s\",\"error\":{", letter->reason);
    naq_letter_put_error(r, letter->code, letter->message,
                         max_history > 0 ? letter->traceback : NULL);
    naq_buf_puts(r, "},");
    naq_status status = naq_history_put(r, &letter->history, max_history, err);
    place_record(a, r, ttl > 0 ? ttl : a->at->result_ttl); /* failures always leave a record */
    naq_buf_putc(r, '}');
    return status;
}

/* Published, and refused before its record is written. */
static void withdraw(naq_attempt *a, uint64_t letter) {
    naq_err err;
    if (naq_letterbox_take(a, letter, &err) == NAQ_OK)
        yield(a);
    else
        leave(a, "its dead letter cannot be taken back", &err);
}

static void bury(naq_attempt *a, const naq_letter *letter) {
    naq_slot *slot = a->slot;
    uint64_t sequence = 0;
    naq_err err;
    if (!still_ours(a)) return;
    if (publish_letter(a, letter, &sequence, &err) != NAQ_OK) {
        leave(a, "its dead letter was not stored", &err);
        return;
    }
    /* Whoever changed the record before the letter was there did not see it; who does so from here
     * on does, or leaves it to who gets the message next. */
    naq_standing standing = naq_claim_standing(a);
    if (standing == NAQ_STANDING_LOST) withdraw(a, sequence);
    if (standing != NAQ_STANDING_OURS) return;
    if (naq_letterbox_take(a, a->old_letter, &err) != NAQ_OK) {
        leave(a, "the dead letter of an earlier start stays", &err);
        return;
    }
    naq_log(NAQ_WARNING, "job %s is a dead letter (%s): %s (%s)", a->id, letter->reason,
            letter->message, letter->code);
    naq_status status = write_failure(a, letter, NAQ_HISTORY_BYTES, &err);
    if (status == NAQ_OK && slot->record.len > a->at->max_payload - HEADERS)
        status = write_failure(a, letter, 0, &err);
    if (status != NAQ_OK) {
        leave(a, "its record cannot be written", &err);
        return;
    }
    slot->failed = true;
    slot->verdict = NAQ_VERDICT_STORE;
}

void naq_outcome_crashed(naq_attempt *a) {
    char message[256];
    a->finished_us = naq_wall_us();
    /* A first start is under no claim, and not among those that were counted. */
    (void)snprintf(message, sizeof message,
                   "it was started at least %lld time%s and never ended; the last worker was %s",
                   (long long)a->crashed_starts, a->crashed_starts == 1 ? "" : "s",
                   a->crashed_worker);
    naq_outcome_dead(a, "crashed", "JOB_CRASHED", message, NULL);
}

void naq_outcome_dead(naq_attempt *a, const char *reason, const char *code, const char *message,
                      const char *traceback) {
    naq_buf latest = {0};
    put_attempt(a, &latest, code, message, traceback);
    naq_letter letter = {.id = a->id,
                         .queue = a->queue,
                         .priority = a->slot->address.priority,
                         .reason = reason,
                         .code = code,
                         .message = message,
                         .traceback = traceback,
                         .failed_us = a->finished_us,
                         .history = history_of(a, &latest),
                         .payload = a->slot->payload,
                         .payload_len = a->slot->payload_len};
    bury(a, &letter);
    naq_buf_free(&latest);
}
