/* stream.c -- the streams and buckets of docs/wire.md: created where missing, compared where they
 * exist.
 *
 * One table says what each looks like. A row becomes a list of settings in JSON, which is both what
 * a create request says and what the server's answer is compared with. All objects are asked for
 * at once, so that a worker's start pays one round trip. Replicas are not compared: a cluster's
 * administrator may have chosen them. */
#include "nats/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nats/inbox.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

#define SECOND INT64_C(1000000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

enum {
    ASK_MS = 5000,
    CREATE_MS = 15000,
    LOOKS = 10, /* while somebody else creates */
    LOOK_MS = 100,
    MANY_REPLICAS = 3,
    SETTINGS_MAX = 20
};

typedef enum shape { WORK_QUEUE, LOG, BUCKET } shape;

/* %s in subjects is the prefix. */
typedef struct object {
    shape shape;
    const char *name;        /* after the prefix and "_" */
    const char *subjects[4]; /* streams only */
    int64_t max_age;         /* 0: for ever; -1: the workers' TTL; -2: the leader's */
    int64_t max_bytes;       /* 0: no limit */
    bool direct;             /* direct gets; buckets always have them */
    bool own_limits;         /* max_age and max_bytes are options, and not compared */
} object;

static const object LAYOUT[] = {
    {WORK_QUEUE, "jobs", {"%s.q.*.high.*", "%s.q.*.normal.*", "%s.q.*.low.*"}, 0, 0, false, false},
    {WORK_QUEUE, "delayed", {"%s.d.*.*"}, 0, 0, true, false},
    {LOG, "failed", {"%s.f.*.*"}, 30 * DAY, INT64_C(1) << 30, false, true},
    {LOG, "events", {"%s.e.*.*.*"}, 7 * DAY, INT64_C(1) << 30, false, false},
    {BUCKET, "results_1h", {NULL}, HOUR, 0, true, false},
    {BUCKET, "results_1d", {NULL}, DAY, 0, true, false},
    {BUCKET, "results_7d", {NULL}, 7 * DAY, 0, true, false},
    {BUCKET, "results_30d", {NULL}, 30 * DAY, 0, true, false},
    {BUCKET, "results_forever", {NULL}, 0, 0, true, false},
    {BUCKET, "workers", {NULL}, -1, 0, true, false},
    {BUCKET, "leader", {NULL}, -2, 0, true, true},
    {BUCKET, "schedules", {NULL}, 0, 0, true, false},
    {BUCKET, "control", {NULL}, 0, 0, true, false},
    {BUCKET, "flows", {NULL}, 0, 0, true, false},
    {BUCKET, "unique", {NULL}, 0, 0, true, false},
};
enum { OBJECTS = sizeof LAYOUT / sizeof *LAYOUT };

typedef struct setting {
    const char *name;
    char value[224]; /* JSON */
    bool may_lack;   /* the server leaves out what is false or zero */
    bool any;        /* whatever it is, it is fine */
} setting;

typedef struct settings {
    setting list[SETTINGS_MAX];
    size_t n;
} settings;

static void put_text(settings *s, const char *name, const char *json) {
    setting *at = &s->list[s->n++];
    at->name = name;
    at->any = false;
    at->may_lack = strcmp(json, "false") == 0 || strcmp(json, "0") == 0;
    (void)snprintf(at->value, sizeof at->value, "%s", json);
}

static void put_int(settings *s, const char *name, int64_t n) {
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)n);
    put_text(s, name, text);
}

static void put_int_or_any(settings *s, const char *name, int64_t n, bool any) {
    put_int(s, name, n);
    s->list[s->n - 1].any = any;
}

static void put_bool(settings *s, const char *name, bool b) {
    put_text(s, name, b ? "true" : "false");
}

static void put_subjects(settings *s, const object *o, const char *prefix) {
    char text[sizeof s->list[0].value], subject[96];
    size_t n = 0;
    if (o->shape == BUCKET) {
        (void)snprintf(text, sizeof text, "[\"$KV.%s_%s.>\"]", prefix, o->name);
    } else {
        for (int i = 0; o->subjects[i] != NULL; i++) {
            (void)snprintf(subject, sizeof subject, o->subjects[i], prefix);
            n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%s\"", i == 0 ? "[" : ",",
                                  subject);
        }
        (void)snprintf(text + n, sizeof text - n, "]");
    }
    put_text(s, "subjects", text);
}

/* What makes the object ours. Buckets are exactly what other clients' key-value APIs create. */
static void settings_of(const object *o, const naq_layout_options *options, const char *prefix,
                        settings *s) {
    bool bucket = o->shape == BUCKET, queue = o->shape == WORK_QUEUE;
    int64_t age = o->max_age;
    if (age == -1)
        age = (options->worker_ttl_ms > 0 ? options->worker_ttl_ms : 60000) * (SECOND / 1000);
    if (age == -2)
        age = (options->leader_ttl_ms > 0 ? options->leader_ttl_ms : 5000) * (SECOND / 1000);
    int64_t bytes = o->max_bytes > 0 ? o->max_bytes : -1;
    bool letters = o->own_limits && o->shape == LOG;
    if (letters && options->failed_age_ms > 0) age = options->failed_age_ms * (SECOND / 1000);
    if (letters && options->failed_bytes > 0) bytes = options->failed_bytes;
    s->n = 0;
    put_subjects(s, o, prefix);
    put_text(s, "retention", queue ? "\"workqueue\"" : "\"limits\"");
    put_text(s, "storage", "\"file\"");
    put_text(s, "discard", o->shape == LOG ? "\"old\"" : "\"new\"");
    put_int_or_any(s, "max_age", age, o->own_limits);
    put_int_or_any(s, "max_bytes", bytes, o->own_limits);
    put_int(s, "max_msgs", -1);
    put_int(s, "max_msg_size", -1);
    put_int(s, "max_consumers", -1);
    put_int(s, "max_msgs_per_subject", o->shape == LOG ? -1 : 1);
    /* The server takes no window longer than the age. */
    bool brief = (bucket || o->own_limits) && age > 0 && age < 2 * MINUTE;
    put_int_or_any(s, "duplicate_window", brief ? age : 2 * MINUTE, o->own_limits);
    put_bool(s, "discard_new_per_subject", queue);
    put_bool(s, "allow_direct", o->direct);
    put_bool(s, "allow_rollup_hdrs", bucket);
    put_bool(s, "deny_delete", bucket);
}

static void create_request(const char *stream, const settings *s, int replicas, naq_buf *out) {
    naq_buf_printf(out, "{\"name\":\"%s\",\"num_replicas\":%d", stream, replicas);
    for (size_t i = 0; i < s->n; i++)
        naq_buf_printf(out, ",\"%s\":%s", s->list[i].name, s->list[i].value);
    naq_buf_putc(out, '}');
}

/* Go writes '>' in JSON as \u003e. */
static void plain_text(naq_slice value, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < value.len && n + 1 < size; i++) {
        if (value.len - i >= 6 && memcmp(value.at + i, "\\u003e", 6) == 0) {
            out[n++] = '>';
            i += 5;
        } else {
            out[n++] = value.at[i];
        }
    }
    out[n] = '\0';
}

/* The first setting that is not ours, as "max_age: 0 found, 60000000000 wanted"; false: none. */
static bool find_difference(naq_slice config, const settings *s, char *out, size_t size) {
    for (size_t i = 0; i < s->n; i++) {
        const setting *want = &s->list[i];
        naq_slice found = naq_reply_member(config, want->name);
        char text[sizeof want->value];
        if (want->any || (found.at == NULL && want->may_lack)) continue;
        plain_text(found, text, sizeof text);
        if (strcmp(text, want->value) == 0) continue;
        (void)snprintf(out, size, "%s: %s found, %s wanted", want->name,
                       found.at != NULL ? text : "nothing", want->value);
        return true;
    }
    return false;
}

/* One ensure under way. */
typedef struct ensure {
    naq_conn *c;
    const naq_layout_options *options;
    const char *prefix;
    naq_layout_report report;
    void *ctx;
    naq_err first; /* the first difference */
    bool differs;
} ensure;

static void title(const ensure *e, const object *o, char *out, size_t size) {
    (void)snprintf(out, size, "%s %s_%s", o->shape == BUCKET ? "bucket" : "stream", e->prefix,
                   o->name);
}

static void stream_name(const ensure *e, const object *o, char *out, size_t size) {
    (void)snprintf(out, size, "%s%s_%s", o->shape == BUCKET ? "KV_" : "", e->prefix, o->name);
}

static void tell(ensure *e, const object *o, bool created, const char *differs) {
    char name[128];
    title(e, o, name, sizeof name);
    if (e->report != NULL) e->report(e->ctx, name, created, differs);
    if (differs == NULL || e->differs) return;
    e->differs = true;
    (void)naq_fail(&e->first, NAQ_CONFIGURATION, "%s differs from naq's: %s", name, differs);
}

/* NAQ_OK and *exists, or the error that ends it all. */
static naq_status judge(ensure *e, const object *o, naq_slice answer, bool *exists, naq_err *err) {
    char text[512];
    int js = naq_reply_error(answer, text, sizeof text);
    *exists = js == 0;
    if (js == NAQ_JS_STREAM_NOT_FOUND) return NAQ_OK;
    if (js != 0) {
        char name[128];
        title(e, o, name, sizeof name);
        (void)naq_from_js(err, js, text, "%s", name);
        return naq_wrap(err, "%s", naq_conn_servers_peek(e->c));
    }
    naq_slice config = naq_reply_member(answer, "config");
    settings wanted;
    settings_of(o, e->options, e->prefix, &wanted);
    if (find_difference(config, &wanted, text, sizeof text)) tell(e, o, false, text);
    return NAQ_OK;
}

/* Ask for the objects in which[0..n) and judge them. Those that do not exist stay in which. */
static naq_status look(ensure *e, const object **which, size_t *n, naq_err *err) {
    naq_ask asks[OBJECTS] = {0};
    char stream[128];
    for (size_t i = 0; i < *n; i++) {
        stream_name(e, which[i], stream, sizeof stream);
        (void)snprintf(asks[i].subject, sizeof asks[i].subject, "$JS.API.STREAM.INFO.%s", stream);
    }
    naq_status status = naq_ask_all(e->c, asks, *n, ASK_MS, err);
    size_t missing = 0;
    for (size_t i = 0; status == NAQ_OK && i < *n; i++) {
        bool exists = true;
        status = judge(e, which[i], naq_ask_answer(&asks[i]), &exists, err);
        if (!exists) which[missing++] = which[i];
    }
    naq_asks_free(asks, *n);
    *n = missing;
    return status;
}

/* What became of one create. Somebody else may have been faster: then *lost, to look again. While
 * that one is at it the server may also speak of overlapping subjects, which are its own; *overlap
 * keeps that for the case that they are another stream's. */
static naq_status created(ensure *e, const object *o, naq_slice answer, bool *lost,
                          naq_err *overlap, naq_err *err) {
    char text[256], name[128];
    int js = naq_reply_error(answer, text, sizeof text);
    *lost = js == JSStreamNameExistErr || js == JSStreamSubjectOverlapErr;
    if (js == 0) tell(e, o, true, NULL);
    if (js == 0 || js == JSStreamNameExistErr) return NAQ_OK;
    title(e, o, name, sizeof name);
    naq_err *kept = *lost ? overlap : err;
    (void)naq_from_js(kept, js, text, "creating %s", name);
    naq_status status = naq_wrap(kept, "%s", naq_conn_servers_peek(e->c));
    return *lost ? NAQ_OK : status;
}

/* Those that somebody else is making: he gets the time to finish, as nobody may read from them
 * before (see create_in_order). */
static naq_status look_again(ensure *e, const object **which, size_t n, const naq_err *overlap,
                             naq_err *err) {
    for (int tries = 0; tries < LOOKS; tries++) {
        struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
        naq_status status = look(e, which, &n, err);
        if (status != NAQ_OK || n == 0) return status;
    }
    *err = *overlap;
    return err->status;
}

static naq_status create(ensure *e, const object **which, size_t n, naq_err *err) {
    if (n == 0) return NAQ_OK;
    naq_ask asks[OBJECTS] = {0};
    naq_buf requests[OBJECTS] = {0};
    char stream[128];
    int replicas = e->options->replicas;
    if (replicas <= 0) replicas = naq_conn_cluster_size(e->c) >= MANY_REPLICAS ? MANY_REPLICAS : 1;
    for (size_t i = 0; i < n; i++) {
        settings wanted;
        settings_of(which[i], e->options, e->prefix, &wanted);
        stream_name(e, which[i], stream, sizeof stream);
        create_request(stream, &wanted, replicas, &requests[i]);
        (void)snprintf(asks[i].subject, sizeof asks[i].subject, "$JS.API.STREAM.CREATE.%s", stream);
        asks[i].data = requests[i].data;
        asks[i].len = requests[i].len;
    }
    naq_status status = naq_ask_all(e->c, asks, n, CREATE_MS, err);
    size_t again = 0;
    naq_err overlap;
    (void)naq_fail(&overlap, NAQ_CONFIGURATION, "streams that are being created do not turn up");
    for (size_t i = 0; status == NAQ_OK && i < n; i++) {
        bool lost = false;
        status = created(e, which[i], naq_ask_answer(&asks[i]), &lost, &overlap, err);
        if (lost) which[again++] = which[i];
    }
    naq_asks_free(asks, n);
    for (size_t i = 0; i < n; i++)
        naq_buf_free(&requests[i]);
    if (status == NAQ_OK && again > 0) status = look_again(e, which, again, &overlap, err);
    return status;
}

/* The answer lists how many messages each matching subject has. The server's own total
 * (num_subjects) would do for one message a subject, but counts the whole stream. */
static int64_t count_messages(naq_slice answer) {
    naq_slice subjects = naq_reply_member(naq_reply_member(answer, "state"), "subjects");
    int64_t total = 0;
    naq_json j;
    naq_err ignored;
    if (subjects.at == NULL) return 0;
    naq_json_begin(&j, subjects.at, subjects.len);
    if (naq_json_object(&j, &ignored) != NAQ_OK) return 0;
    for (bool first = true;; first = false) {
        bool more;
        naq_slice key, value;
        naq_json_kind kind;
        long long n;
        if (naq_json_member(&j, first, &more, &key, &value, &kind, &ignored) != NAQ_OK || !more)
            return total;
        if (naq_json_int(value, &n)) total += n;
    }
}

/* The stream of jobs comes last: while it is missing there is no job, so nobody looks for a record
 * in a bucket that is being made. nats-server 2.9.10 registers a stream before it has a store, and
 * a STREAM.MSG.GET in between ends the whole server (a nil pointer in jsMsgGetRequest). */
static naq_status create_in_order(ensure *e, const object **which, size_t n, naq_err *err) {
    const object *jobs = NULL;
    size_t others = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(which[i]->name, "jobs") == 0)
            jobs = which[i];
        else
            which[others++] = which[i];
    }
    naq_status status = create(e, which, others, err);
    if (status == NAQ_OK && jobs != NULL) status = create(e, &jobs, 1, err);
    return status;
}

naq_status naq_layout_ensure(naq_conn *c, const naq_layout_options *o, naq_layout_report report,
                             void *ctx, naq_err *err) {
    ensure e = {.c = c, .options = o, .report = report, .ctx = ctx};
    e.prefix = o->prefix != NULL ? o->prefix : "naq";
    const object *which[OBJECTS];
    size_t n = OBJECTS;
    for (size_t i = 0; i < n; i++)
        which[i] = &LAYOUT[i];
    naq_status status = look(&e, which, &n, err);
    if (status != NAQ_OK) return status;
    if (o->dry_run) {
        for (size_t i = 0; i < n; i++)
            tell(&e, which[i], true, NULL);
    } else if (n > 0) {
        status = create_in_order(&e, which, n, err);
        if (status != NAQ_OK) return status;
    }
    if (e.differs) {
        *err = e.first;
        return err->status;
    }
    return NAQ_OK;
}

naq_status naq_stream_count(naq_conn *c, const char *stream, const char *filter, int64_t *n,
                            naq_err *err) {
    char subject[160], text[256];
    naq_buf request = {0}, answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    naq_buf_puts(&request, "{\"subjects_filter\":");
    naq_buf_json_string(&request, filter, strlen(filter));
    naq_buf_putc(&request, '}');
    naq_status status =
        naq_conn_request(c, subject, request.data, request.len, ASK_MS, &answer, err);
    naq_slice a = {answer.data, answer.len};
    int js = status == NAQ_OK ? naq_reply_error(a, text, sizeof text) : 0;
    if (js != 0) status = naq_from_js(err, js, text, "stream %s", stream);
    if (status == NAQ_OK) *n = count_messages(a);
    naq_buf_free(&request);
    naq_buf_free(&answer);
    return status;
}
