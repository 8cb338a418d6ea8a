/* leader.c -- taking, keeping and giving up the lease. */
#include "run/leader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/patience.h"
#include "nats/nstatus.h"
#include "nats/publish.h"
#include "nats/reply.h"

enum {
    ASK_MS = 2000,     /* bounded, so that a stop is never waited for long */
    TROUBLE_MS = 1000, /* before another try when nobody knows who leads */
    RACE_MS = 50       /* somebody was faster by a moment */
};

static const char KEY[] = "scheduler";

static int64_t renew_every(const naq_leader *l) {
    return l->ttl_ms / 2;
}

/* One that is not answered, or that found no leader of the bucket. */
static int64_t repeat_after(const naq_leader *l) {
    return l->ttl_ms / 5;
}

/* Who is awake anyway renews a little early, and need not wake once more for it. */
static int64_t renew_slack(const naq_leader *l) {
    return l->ttl_ms / 25;
}

static int64_t held_for(const naq_leader *l) {
    return l->ttl_ms * 8 / 10;
}

static int64_t others_wait(const naq_leader *l) {
    return l->ttl_ms * 19 / 20;
}

/* On libnats' thread: each write of the key passes here. Nothing is answered, above all not to the
 * address at which its writer awaits the ack. */
static void hear(void *ctx, const char *data, size_t len, naq_buf *out) {
    (void)out;
    naq_leader *l = ctx;
    pthread_mutex_lock(&l->mu);
    naq_buf_clear(&l->heard);
    naq_buf_put(&l->heard, data, len);
    l->heard_ms = naq_mono_ms();
    l->renewed = len > 0;
    bool wake = len == 0 || l->alert; /* removed: it is free */
    pthread_mutex_unlock(&l->mu);
    if (wake) naq_service_nudge(l->service);
}

/* What is configured, unless the bucket forgets keys sooner: its TTL was fixed when it was made. */
static naq_status effective_ttl(naq_conn *conn, const char *prefix, int64_t *ttl_ms, naq_err *err) {
    char api[160], text[256];
    naq_buf answer = {0};
    (void)snprintf(api, sizeof api, "$JS.API.STREAM.INFO.KV_%s_leader", prefix);
    naq_status status = naq_conn_request(conn, api, "", 0, ASK_MS, &answer, err);
    naq_slice a = {answer.data, answer.len};
    int js = status == NAQ_OK ? naq_reply_error(a, text, sizeof text) : 0;
    if (js != 0) status = naq_from_js(err, js, text, "bucket %s_leader", prefix);
    int64_t kept_ms = naq_reply_int(naq_reply_member(a, "config"), "max_age", 0) / 1000000;
    if (status == NAQ_OK && kept_ms > 0 && kept_ms != *ttl_ms) {
        naq_log(NAQ_WARNING,
                "scheduler.lock_ttl is %.3g s, but the bucket %s_leader was made with %.3g s%s",
                (double)*ttl_ms / 1000, prefix, (double)kept_ms / 1000,
                kept_ms < *ttl_ms ? ", which counts" : "");
        if (kept_ms < *ttl_ms) *ttl_ms = kept_ms;
    }
    naq_buf_free(&answer);
    return status;
}

naq_status naq_leader_open(naq_leader *l, naq_conn *conn, const char *prefix, const char *id,
                           int64_t ttl_ms, naq_service *service, naq_err *err) {
    memset(l, 0, sizeof *l);
    l->conn = conn;
    l->prefix = prefix;
    l->id = id;
    if (effective_ttl(conn, prefix, &ttl_ms, err) != NAQ_OK) return err->status;
    l->ttl_ms = ttl_ms;
    l->service = service;
    naq_id_new(l->instance);
    if (gethostname(l->host, sizeof l->host - 1) != 0) (void)snprintf(l->host, 5, "host");
    (void)snprintf(l->subject, sizeof l->subject, "$KV.%s_leader.%s", prefix, KEY);
    pthread_mutex_init(&l->mu, NULL);
    return NAQ_OK;
}

void naq_leader_close(naq_leader *l) {
    if (l->service == NULL) return;
    naq_responder_close(l->ear);
    naq_buf_free(&l->heard);
    pthread_mutex_destroy(&l->mu);
    memset(l, 0, sizeof *l);
}

/* The key as it stands */

typedef struct standing {
    naq_buf value; /* empty: nobody has it */
    uint64_t revision;
} standing;

static bool told_to_stop(void *service) {
    return naq_service_stopping(service);
}

/* Who stops a scheduler whose server is mute waits no longer than that for it to be read. A write
 * is waited for: a lease that nobody knows of would keep the next leader waiting. */
static naq_status read_key(naq_leader *l, standing *out, naq_err *err) {
    char api[160], request[192], text[256];
    (void)snprintf(api, sizeof api, "$JS.API.STREAM.MSG.GET.KV_%s_leader", l->prefix);
    int n = snprintf(request, sizeof request, "{\"last_by_subj\":\"%s\"}", l->subject);
    naq_buf answer = {0};
    naq_patience_ends(told_to_stop, l->service);
    naq_status status = naq_conn_request(l->conn, api, request, (size_t)n, ASK_MS, &answer, err);
    naq_patience_ends(NULL, NULL);
    naq_slice a = {answer.data, answer.len};
    int js = status == NAQ_OK ? naq_reply_error(a, text, sizeof text) : 0;
    naq_stored m;
    memset(&m, 0, sizeof m);
    if (js != 0 && js != NAQ_JS_MSG_NOT_FOUND) {
        status = naq_fail(err, NAQ_CONFIGURATION, "bucket %s_leader: %s", l->prefix, text);
    } else if (js == 0 && status == NAQ_OK) {
        if (!naq_reply_stored(a, &m))
            status = naq_fail(err, NAQ_INVALID, "bucket %s_leader: an answer that makes no sense",
                              l->prefix);
        out->revision = m.sequence;
        out->value = m.data;
        m.data = (naq_buf){0};
    }
    naq_stored_free(&m);
    naq_buf_free(&answer);
    return status;
}

static bool is_ours(const naq_leader *l, const naq_buf *value) {
    return value->len > 0 &&
           memmem(value->data, value->len, l->instance, strlen(l->instance)) != NULL;
}

/* Whether a value that is another's has stood long enough; else how long that still takes. */
static bool stood_still(naq_leader *l, const naq_buf *value, int64_t *wait_ms) {
    int64_t now = naq_mono_ms();
    pthread_mutex_lock(&l->mu);
    bool known = l->heard.len == value->len && memcmp(l->heard.data, value->data, value->len) == 0;
    if (!known) {
        naq_buf_clear(&l->heard);
        naq_buf_put(&l->heard, value->data, value->len);
        l->heard_ms = now;
    }
    *wait_ms = l->heard_ms + others_wait(l) - now;
    pthread_mutex_unlock(&l->mu);
    return *wait_ms <= 0;
}

static void write_value(const naq_leader *l, naq_buf *b) {
    naq_buf_puts(b, "{\"leader\":");
    naq_buf_json_string(b, l->id, strlen(l->id));
    naq_buf_puts(b, ",\"host\":");
    naq_buf_json_string(b, l->host, strlen(l->host));
    naq_buf_printf(b, ",\"pid\":%d,\"instance\":\"%s\",\"ttl\":%.3f,\"since\":", (int)getpid(),
                   l->instance, (double)l->ttl_ms / 1000);
    naq_buf_time(b, l->since_us);
    naq_buf_puts(b, ",\"seen_at\":");
    naq_buf_time(b, naq_wall_us());
    naq_buf_putc(b, '}');
}

static naq_status write_key(naq_leader *l, const naq_buf *value, uint64_t expected,
                            const naq_header *operation, uint64_t *revision, naq_err *err) {
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, expected);
    naq_header headers[2] = {{"Nats-Expected-Last-Subject-Sequence", digits}};
    if (operation != NULL) headers[1] = *operation;
    naq_pub_ack ack = {0};
    naq_status status = naq_publish(l->conn, l->subject, NULL, headers, operation != NULL ? 2 : 1,
                                    value->data, value->len, ASK_MS, &ack, err);
    *revision = ack.sequence;
    return status;
}

static naq_status not_leader(const naq_leader *l, const naq_buf *value, naq_err *err) {
    char who[160];
    naq_reply_text((naq_slice){value->data, value->len}, "leader", who, sizeof who);
    return naq_fail(err, NAQ_NOT_LEADER, "scheduler %s: %s leads", l->id,
                    who[0] != '\0' ? who : "another one");
}

/* The lease was seen to be renewed a moment ago: nothing need be asked. */
static bool heard_lately(naq_leader *l, int64_t *wait_ms, naq_err *err) {
    int64_t now = naq_mono_ms();
    pthread_mutex_lock(&l->mu);
    int64_t left = l->heard_ms + others_wait(l) - now;
    bool lately = l->ear != NULL && l->heard.len > 0 && left > 0;
    if (lately) {
        *wait_ms = left;
        (void)not_leader(l, &l->heard, err);
    }
    pthread_mutex_unlock(&l->mu);
    return lately;
}

naq_status naq_leader_take(naq_leader *l, int64_t *wait_ms, naq_err *err) {
    *wait_ms = TROUBLE_MS;
    if (!naq_conn_up(l->conn))
        return naq_fail(err, NAQ_CONNECTION, "scheduler %s: no connection", l->id);
    if (heard_lately(l, wait_ms, err)) return NAQ_NOT_LEADER;
    standing now = {0};
    naq_status status = NAQ_OK;
    /* A leader does not listen to itself. */
    if (l->ear == NULL) status = naq_responder_open(&l->ear, l->conn, l->subject, hear, l, err);
    if (status == NAQ_OK) status = read_key(l, &now, err);
    naq_buf value = {0};
    if (status != NAQ_OK) goto done;
    if (now.value.len > 0 && !is_ours(l, &now.value) && !stood_still(l, &now.value, wait_ms)) {
        status = not_leader(l, &now.value, err);
        goto done;
    }
    l->since_us = naq_wall_us();
    write_value(l, &value);
    int64_t sent_ms = naq_mono_ms();
    status = write_key(l, &value, now.revision, NULL, &l->revision, err);
    if (status == NAQ_OK) {
        l->sent_ms = l->renewed_ms = sent_ms;
        l->until_ms = sent_ms + held_for(l);
        l->unanswered = l->lost = false;
        l->explained = l->number;
        naq_responder_close(l->ear);
        l->ear = NULL;
    } else if (status == NAQ_WRONG_REVISION) {
        *wait_ms = RACE_MS;
        status = not_leader(l, &now.value, err);
    }
done:
    naq_buf_free(&value);
    naq_buf_free(&now.value);
    return status;
}

bool naq_leader_renewed(naq_leader *l, int64_t wait_ms) {
    int64_t end_ms = naq_mono_ms() + wait_ms;
    bool renewed = false, gone = false;
    for (int64_t left = wait_ms; left > 0 && !renewed && !gone; left = end_ms - naq_mono_ms()) {
        pthread_mutex_lock(&l->mu);
        l->alert = true;
        renewed = l->renewed;
        gone = l->heard.len == 0;
        pthread_mutex_unlock(&l->mu);
        if (!renewed && !gone) (void)naq_service_sleep(l->service, left);
    }
    pthread_mutex_lock(&l->mu);
    l->alert = false;
    renewed = l->renewed;
    pthread_mutex_unlock(&l->mu);
    return renewed;
}

bool naq_leader_leads(const naq_leader *l, int64_t now_ms) {
    return !l->lost && now_ms < l->until_ms;
}

int64_t naq_leader_deadline(const naq_leader *l) {
    return l->sent_ms + (l->unanswered ? repeat_after(l) : renew_every(l));
}

void naq_leader_confirm(naq_leader *l) {
    if (!l->unanswered) l->sent_ms = 0;
}

void naq_leader_tick(naq_leader *l, naq_loop *loop, int64_t now_ms) {
    if (now_ms < naq_leader_deadline(l) - renew_slack(l)) return;
    naq_buf value = {0};
    naq_err err;
    write_value(l, &value);
    if (!value.failed &&
        naq_loop_publish(loop, l->subject, NAQ_LEADER_TOKEN | ++l->number, (int64_t)l->revision,
                         value.data, value.len, &err) == NAQ_OK)
        l->unanswered = true;
    l->sent_ms = l->sent_at_ms[l->number % NAQ_LEADER_RENEWALS] = now_ms;
    naq_buf_free(&value);
}

/* Answers may be slow: a renewal that was sent before the answer to the one before it came stands
 * under a condition that this one changed. That it is refused is our own doing. */
void naq_leader_answered(naq_leader *l, uint32_t token, const naq_answer *answer) {
    uint16_t number = (uint16_t)token;
    if (answer->status == NAQ_OK) {
        l->revision = answer->sequence;
        l->explained = l->number;
        if ((uint16_t)(l->number - number) >= NAQ_LEADER_RENEWALS) return; /* of long ago */
        l->renewed_ms = l->sent_at_ms[number % NAQ_LEADER_RENEWALS];
        l->until_ms = l->renewed_ms + held_for(l);
        l->unanswered = false;
    } else if (answer->status == NAQ_WRONG_REVISION && (int16_t)(number - l->explained) > 0) {
        l->lost = true;
    } /* else there is no leader of its stream just now: it is repeated until our time is over */
}

void naq_leader_resign(naq_leader *l) {
    if (!naq_leader_leads(l, naq_mono_ms()) || !naq_conn_up(l->conn)) return;
    naq_buf nothing = {0};
    uint64_t revision;
    naq_err err;
    naq_header deleted = {"KV-Operation", "DEL"};
    if (write_key(l, &nothing, l->revision, &deleted, &revision, &err) != NAQ_OK)
        naq_log(NAQ_INFO, "scheduler %s: its lease was not given up: %s", l->id, err.message);
    l->lost = true;
}
