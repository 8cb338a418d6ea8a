/* attempt.c -- parse, ask, run, and hand the outcome on. Read this one to know what a job's run is.
 */
#include "run/attempt.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/claim.h"
#include "run/outcome.h"

static void copy_text(char out[NAQ_ID_TEXT], naq_slice s) {
    size_t n = s.len < NAQ_ID_MAX ? s.len : NAQ_ID_MAX;
    memcpy(out, s.at, n);
    out[n] = '\0';
}

static void begin(naq_attempt *a) {
    naq_slot *slot = a->slot;
    memset(&a->job, 0, sizeof a->job);
    a->job.attempt = 1;
    if (!slot->bad_address) copy_text(a->id, slot->address.id);
    copy_text(a->queue, slot->address.queue);
    a->finished_us = a->started_us;
    a->enqueued_us = slot->stored_us;
    a->found_record = false;
    a->alone = false;
    a->crashed_worker[0] = '\0';
    slot->verdict = NAQ_VERDICT_LEAVE;
}

static void run(naq_attempt *a) {
    naq_slot *slot = a->slot;
    naq_call call = {.name = a->job.job,
                     .args = a->job.args,
                     .id = slot->address.id,
                     .queue = slot->address.queue,
                     .attempt = a->job.attempt,
                     .enqueued_us = a->enqueued_us,
                     .max_retries = a->job.max_retries,
                     .max_result = a->at->max_payload - 1024};
    const naq_did_what *what = naq_vm_call(a->vm, &call);
    a->finished_us = naq_wall_us();
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
    }
}

/* Never run, but it must not bury a job that ended under the same id. */
static void bury_undecodable(naq_attempt *a, const char *why) {
    a->job = (naq_envelope){.job = {"", 0}, .attempt = 1};
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

static naq_permit ask(naq_attempt *a, bool claim) {
    bool exact;
    double ttl =
        a->job.result_ttl.at != NULL ? naq_json_double(a->job.result_ttl) : a->at->result_ttl;
    naq_permit permit = naq_claim(a, claim, naq_result_class_for(ttl, &exact));
    a->started_us = naq_wall_us();
    return permit;
}

static void decode_ask_run(naq_attempt *a) {
    naq_slot *slot = a->slot;
    naq_err err;
    if (slot->bad_address) {
        bury_bad_id(a);
        return;
    }
    if (naq_envelope_parse(slot->payload, slot->payload_len, &a->job, &err) != NAQ_OK) {
        bury_undecodable(a, err.message);
        return;
    }
    if (a->job.enqueued_us > 0) a->enqueued_us = a->job.enqueued_us;

    bool claim = slot->delivered > 1 || a->job.hop > 0;
    naq_permit permit = claim || slot->suspect ? ask(a, claim) : NAQ_PERMIT_RUN;
    switch (permit) {
    case NAQ_PERMIT_RUN:
        run(a);
        break;
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
}

void naq_attempt_run(naq_attempt *a) {
    begin(a);
    decode_ask_run(a);
    if (a->alone) naq_slots_together(a->at->slots);
}
