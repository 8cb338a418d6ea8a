/* takeover.c -- list, delete, until none is left; then the pointer. */
#include "run/takeover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/delayed.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum {
    ASK_MS = 5000,
    BACK = 6,              /* buckets before this one that are opened unseen: an hour */
    NEWS_BACK = 1,         /* the same where nobody has read yet */
    FIRST_LOOK_MS = 10000, /* for stragglers, when nothing makes us expect any */
    AT_ONCE = 32           /* deletions under way */
};

static void list(naq_takeover *t);

static void fail(naq_takeover *t, const char *what, const char *why) {
    naq_log(NAQ_WARNING, "scheduler: %s: %s", what, why);
    t->failed = true;
    t->busy = false;
}

/* Where reading begins: "29394720". */
static void pointed(void *ctx, int64_t arg, naq_slice answer) {
    (void)arg;
    naq_takeover *t = ctx;
    char text[256];
    naq_stored m;
    memset(&m, 0, sizeof m);
    int64_t now_us = naq_wall_us(), oldest = -1;
    int64_t current = now_us / 1000 / NAQ_DELAYED_BUCKET_MS;
    if (answer.at == NULL) {
        fail(t, "where to begin is not known", "no answer");
        return;
    }
    int js = naq_reply_error(answer, text, sizeof text);
    if (js != 0 && js != NAQ_JS_MSG_NOT_FOUND) {
        fail(t, "where to begin is not known", text);
        return;
    }
    if (js == 0 && naq_reply_stored(answer, &m) && m.data.len > 0 && m.data.len < 20) {
        memcpy(text, m.data.data, m.data.len);
        text[m.data.len] = '\0';
        oldest = strtoll(text, NULL, 10);
    }
    naq_stored_free(&m);
    bool known = oldest >= current - BACK;
    int back = oldest < 0 ? NEWS_BACK : BACK;
    if (oldest > current) oldest = current; /* by a clock that was ahead */
    if (oldest < current - back) oldest = current - back;
    naq_buckets_begin(t->buckets, oldest, now_us);
    naq_stragglers_look(t->stragglers, naq_mono_ms() + (known ? FIRST_LOOK_MS : 0));
    t->busy = false;
    t->begun = true;
}

static void find_pointer(naq_takeover *t) {
    char subject[128], request[192];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.KV_%s_control", t->prefix);
    int n = snprintf(request, sizeof request,
                     "{\"last_by_subj\":\"$KV.%s_control.scheduler.oldest\"}", t->prefix);
    if (!naq_errand_send(t->errands, subject, request, (size_t)n, ASK_MS, pointed, t, 0))
        fail(t, "where to begin is not known", "nothing can be sent");
}

static void deleted(void *ctx, int64_t arg, naq_slice answer) {
    (void)arg, (void)answer; /* whether it is gone, the next list tells */
    naq_takeover *t = ctx;
    if (--t->deleting == 0) list(t);
}

static bool ours(const naq_takeover *t, const char *name) {
    return strstr(name, t->buckets->epoch) != NULL;
}

static void delete (naq_takeover *t, const char *name) {
    char subject[320];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.%s_delayed.%s", t->prefix,
                   name);
    if (naq_errand_send(t->errands, subject, "", 0, ASK_MS, deleted, t, 0)) t->deleting++;
}

static void named(void *ctx, int64_t arg, naq_slice answer) {
    (void)arg;
    naq_takeover *t = ctx;
    char text[256] = "no answer";
    if (answer.at == NULL || naq_reply_error(answer, text, sizeof text) != 0) {
        fail(t, "the delayed store's consumers are not known", text);
        return;
    }
    naq_slice consumers = naq_reply_member(answer, "consumers"), value;
    naq_json j;
    naq_json_kind kind;
    naq_err ignored;
    bool more = true, others = false;
    t->deleting = 0;
    if (consumers.at != NULL) {
        naq_json_begin(&j, consumers.at, consumers.len);
        more = naq_json_array(&j, &ignored) == NAQ_OK;
        for (bool first = true; more && t->deleting < AT_ONCE; first = false) {
            if (naq_json_element(&j, first, &more, &value, &kind, &ignored) != NAQ_OK || !more)
                break;
            (void)snprintf(text, sizeof text, "%.*s", (int)value.len - 2, value.at + 1);
            if (ours(t, text)) continue;
            others = true;
            delete (t, text);
        }
    }
    if (t->deleting > 0) return;
    if (others) {
        fail(t, "the delayed store's consumers stay", "nothing can be sent");
    } else if (t->begun) {
        t->busy = false;
    } else {
        find_pointer(t);
    }
}

static void list(naq_takeover *t) {
    char subject[128];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.NAMES.%s_delayed", t->prefix);
    t->busy = true;
    if (!naq_errand_send(t->errands, subject, "", 0, ASK_MS, named, t, 0))
        fail(t, "the delayed store's consumers are not known", "nothing can be sent");
}

void naq_takeover_begin(naq_takeover *t, naq_buckets *buckets, naq_errands *errands,
                        naq_stragglers *stragglers, const char *prefix) {
    *t = (naq_takeover){
        .buckets = buckets, .errands = errands, .stragglers = stragglers, .prefix = prefix};
    list(t);
}

void naq_takeover_again(naq_takeover *t) {
    if (!t->busy) list(t);
}
