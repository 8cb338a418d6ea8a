/* attempt.c -- parse, ask, run, and hand the outcome on. Read this one to know what a job's run is.
 */
#include "run/attempt.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/claim.h"
#include "run/outcome.h"
#include "run/timekeeper.h"

static void copy_text(char out[NAQ_ID_TEXT], naq_slice s) {
    size_t n = s.len < NAQ_ID_MAX ? s.len : NAQ_ID_MAX;
    memcpy(out, s.at, n);
    out[n] = '\0';
}

static const naq_envelope NOTHING_KNOWN = {
    .job = {"", 0}, .attempt = 1, .max_retries = -1, .result_ttl = -1};

void naq_attempt_begin(naq_attempt *a) {
    naq_slot *slot = a->slot;
    a->job = NOTHING_KNOWN;
    if (!slot->bad_address) copy_text(a->id, slot->address.id);
    copy_text(a->queue, slot->address.queue);
    a->finished_us = a->started_us;
    a->enqueued_us = slot->stored_us;
    a->found_record = false;
    a->alone = false;
    a->claimed = false;
    a->crashed_worker[0] = '\0';
    a->old_letter = 0;
    slot->verdict = NAQ_VERDICT_LEAVE;
}

/* Whether the job has ended, now that this worker was told so: its record decides. */
static bool drop_ended(naq_attempt *a) {
    naq_permit permit = naq_claim_look(a);
    if (permit == NAQ_PERMIT_RUN) return false;
    a->slot->dropped = permit == NAQ_PERMIT_DROP;
    a->slot->verdict = permit == NAQ_PERMIT_DROP ? NAQ_VERDICT_ACK : NAQ_VERDICT_LEAVE;
    return true;
}

/* It was stopped. Somebody else's word for that, without a record, costs the run, not the job. */
static void end_cancelled(naq_attempt *a) {
    if (!drop_ended(a)) a->slot->verdict = NAQ_VERDICT_RETURN;
}

/* The worker ends before the job did: back to the queue, as if this start had not been. */
static void go_back(naq_attempt *a) {
    naq_log(NAQ_WARNING, "job %s is cut off and given back: its worker ends", a->id);
    naq_claim_undo(a);
    a->slot->verdict = NAQ_VERDICT_RETURN;
}

/* False: given up meanwhile, a is being copied by the timekeeper. */
static bool run(naq_attempt *a) {
    naq_slot *slot = a->slot;
    naq_call call = {.name = a->job.job,
                     .args = a->job.args,
                     .id = slot->address.id,
                     .queue = slot->address.queue,
                     .attempt = a->job.attempt,
                     .enqueued_us = a->enqueued_us,
                     .max_retries = a->job.max_retries,
                     .trace = a->job.trace,
                     .limits = a->job.limits,
                     .max_result = a->at->max_payload - 1024};
    const naq_did_what *what = naq_vm_call(a->vm, &call);
    if (what->did == NAQ_DID_LOSE) return false;
    a->finished_us = naq_wall_us();
    if (what->did != NAQ_DID_CANCEL && naq_cancels_has(a->at->cancels, a->id, a->job.hop) &&
        drop_ended(a))
        return true;
    switch (what->did) {
    case NAQ_DID_RETURN:
        naq_outcome_success(a, what);
        break;
    case NAQ_DID_SNOOZE:
        naq_outcome_snooze(a, what->seconds);
        break;
    case NAQ_DID_DISCARD:
        naq_outcome_dead(a, "discarded", what->code.data, what->message.data, NULL);
        break;
    case NAQ_DID_UNDECODABLE:
        naq_outcome_dead(a, "undecodable", "UNDECODABLE", what->message.data, NULL);
        break;
    case NAQ_DID_FAIL:
    case NAQ_DID_NOT_KNOW:
        naq_outcome_failure(a, what);
        break;
    case NAQ_DID_CANCEL:
        end_cancelled(a);
        break;
    case NAQ_DID_CUT_OFF:
        go_back(a);
        break;
    case NAQ_DID_LOSE:
        break;
    }
    return true;
}

/* Never run, but it must not bury a job that ended under the same id. */
static void bury_undecodable(naq_attempt *a, const char *why) {
    a->job = NOTHING_KNOWN;
    switch (naq_claim(a, false, NAQ_RESULTS_7D)) {
    case NAQ_PERMIT_RUN:
        naq_outcome_dead(a, "undecodable", "UNDECODABLE", why, NULL);
        break;
    case NAQ_PERMIT_DROP:
        a->slot->dropped = true;
        a->slot->verdict = NAQ_VERDICT_ACK;
        break;
    default:
        break;
    }
}

/* The subject's last token cannot be a key or part of another subject: the letter goes by the
 * message's sequence instead, which is the same at every delivery. */
static void bury_bad_id(naq_attempt *a) {
    char why[256];
    const char *id = strrchr(naq_msg_subject(a->slot->msg), '.');
    (void)snprintf(why, sizeof why, "the id \"%.100s\" is not 1 to 64 of [A-Za-z0-9_-]",
                   id != NULL ? id + 1 : "");
    (void)snprintf(a->id, sizeof a->id, "bad-id-%llu", (unsigned long long)a->slot->stream_seq);
    bury_undecodable(a, why);
}

naq_result_class naq_attempt_class(const naq_attempt *a) {
    double given = a->job.result_ttl;
    return naq_result_class_for(given >= 0 ? given : a->at->result_ttl, NULL);
}

static naq_permit ask(naq_attempt *a, bool claim) {
    naq_permit permit = naq_claim(a, claim, naq_attempt_class(a));
    a->started_us = naq_wall_us();
    return permit;
}

static bool decode_ask_run(naq_attempt *a) {
    naq_slot *slot = a->slot;
    naq_err err;
    if (slot->bad_address) {
        bury_bad_id(a);
        return true;
    }
    if (naq_envelope_parse(slot->payload, slot->payload_len, &a->job, &err) != NAQ_OK) {
        bury_undecodable(a, err.message);
        return true;
    }
    if (a->job.enqueued_us > 0) a->enqueued_us = a->job.enqueued_us;
    if (slot->lost) {
        (void)drop_ended(a); /* else it is with whoever has claimed it */
        return true;
    }
    if (naq_cancels_has(a->at->cancels, a->id, a->job.hop) && drop_ended(a)) return true;
    if (naq_cancels_drops(a->at->cancels, a->id, slot->stream_seq)) {
        slot->dropped = true;
        slot->verdict = NAQ_VERDICT_ACK;
        return true;
    }

    bool claim = slot->delivered > 1 || a->job.hop > 0 || a->job.released_late;
    naq_permit permit = claim || slot->suspect ? ask(a, claim) : NAQ_PERMIT_RUN;
    switch (permit) {
    case NAQ_PERMIT_RUN:
        return run(a);
    case NAQ_PERMIT_DROP:
        slot->dropped = true;
        slot->verdict = NAQ_VERDICT_ACK;
        break;
    case NAQ_PERMIT_LEAVE:
        break;
    case NAQ_PERMIT_CRASHED:
        naq_outcome_crashed(a);
        break;
    }
    return true;
}

bool naq_attempt_run(naq_attempt *a) {
    naq_attempt_begin(a);
    if (!decode_ask_run(a)) return false;
    a->slot->alone = a->alone;
    return true;
}

static const char *struck(naq_stop why) {
    switch (why) {
    case NAQ_STOP_TIMEOUT:
        return "its timeout";
    case NAQ_STOP_MEMORY:
        return "its memory limit";
    case NAQ_STOP_CPU:
        return "its CPU limit";
    case NAQ_STOP_INSTRUCTIONS:
        return "its instruction limit";
    default:
        return "being cancelled";
    }
}

void naq_attempt_give_up(naq_attempt *a, naq_stop why) {
    a->finished_us = naq_wall_us();
    if (why == NAQ_STOP_CUT_OFF) {
        go_back(a);
    } else if (why == NAQ_STOP_CANCELLED) {
        end_cancelled(a);
    } else {
        naq_did_what what = {.did = NAQ_DID_FAIL, .reason = naq_stop_reason(NAQ_STOP_STUCK)};
        naq_buf_printf(&what.message,
                       "it could not be stopped within %g s after %s: a call into C, or a "
                       "finalizer, that does not end",
                       NAQ_GRACE_MS / 1000.0, struck(why));
        naq_buf_putc(&what.message, '\0');
        naq_buf_puts(&what.code, naq_stop_code(NAQ_STOP_STUCK));
        naq_buf_putc(&what.code, '\0');
        a->slot->verdict = NAQ_VERDICT_LEAVE;
        if (!what.message.failed && !what.code.failed) naq_outcome_failure(a, &what);
        naq_buf_free(&what.message);
        naq_buf_free(&what.code);
    }
    a->slot->alone = a->alone;
}
