/* wire.c -- options, connections, and jobs and records as docs/wire.md writes them. */
#include "baseline.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/id.h"

enum { MAX_COMMANDS = 2 };

static int n_args;
static char **args_at;
static char **commands[MAX_COMMANDS];
static int n_commands;

const char *const DEFAULT_ARGS =
    "{\"user\":12345,\"name\":\"Ada Lovelace\",\"ok\":true,\"sizes\":[1,2,3],"
    "\"url\":\"https://example.org/pictures/1.png\"}";

void options_init(int argc, char **argv) {
    args_at = argv;
    for (n_args = 2; n_args < argc && strcmp(argv[n_args], "--") != 0;)
        n_args++;
    for (int i = n_args; i < argc; i++) {
        if (strcmp(argv[i], "--") != 0) continue;
        if (n_commands == MAX_COMMANDS) die("too many programs");
        argv[i] = NULL; /* ends the one before */
        commands[n_commands++] = argv + i + 1;
    }
}

const char *option(const char *name, const char *otherwise) {
    size_t n = strlen(name);
    for (int i = 2; i < n_args; i++)
        if (strncmp(args_at[i], name, n) == 0 && args_at[i][n] == '=') return args_at[i] + n + 1;
    return otherwise;
}

long option_long(const char *name, long otherwise) {
    const char *s = option(name, NULL);
    return s ? atol(s) : otherwise;
}

char **option_command(int k) {
    return k < n_commands ? commands[k] : NULL;
}

void die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("naq-baseline: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

void check(natsStatus s, const char *what) {
    if (s == NATS_OK) return;
    const char *last = nats_GetLastError(NULL);
    die("%s: %s%s%s", what, natsStatus_GetText(s), last ? ": " : "", last ? last : "");
}

natsConnection *connect_plain(bool send_asap) {
    natsOptions *o = NULL;
    natsConnection *nc = NULL;
    check(natsOptions_Create(&o), "options");
    check(natsOptions_SetURL(o, option("url", "nats://127.0.0.1:4222")), "url");
    check(natsOptions_SetSendAsap(o, send_asap), "options");
    check(natsConnection_Connect(&nc, o), "connect");
    natsOptions_Destroy(o);
    return nc;
}

static void publish_failed(jsCtx *js, jsPubAckErr *e, void *closure) {
    (void)js;
    (void)closure;
    die("a publish was refused: %s", e->ErrText ? e->ErrText : natsStatus_GetText(e->Err));
}

jsCtx *jetstream(natsConnection *nc) {
    jsOptions o;
    jsCtx *js = NULL;
    check(jsOptions_Init(&o), "options");
    o.PublishAsync.MaxPending = 1024;
    o.PublishAsync.StallWait = 10000;
    o.PublishAsync.ErrHandler = publish_failed;
    check(natsConnection_JetStream(&js, nc, &o), "JetStream");
    return js;
}

const char *queue_name(void) {
    return option("queue", "bench");
}

const char *consumer_name(void) {
    static char name[80];
    snprintf(name, sizeof name, "%s_normal", queue_name());
    return name;
}

void consumers_ensure(jsCtx *js) {
    static const char *const priorities[] = {"high", "normal", "low"};
    for (int i = 0; i < 3; i++) {
        char name[80], filter[SUBJECT_MAX];
        jsConsumerConfig c;
        check(jsConsumerConfig_Init(&c), "consumer");
        snprintf(name, sizeof name, "%s_%s", queue_name(), priorities[i]);
        snprintf(filter, sizeof filter, "naq.q.%s.%s.*", queue_name(), priorities[i]);
        c.Durable = name;
        c.FilterSubject = filter;
        c.AckPolicy = js_AckExplicit;
        c.AckWait = 30 * INT64_C(1000000000);
        c.MaxDeliver = -1;
        c.MaxAckPending = 1000000;
        c.MaxWaiting = 4096;
        check(js_AddConsumer(NULL, js, JOBS_STREAM, &c, NULL, NULL), "create the consumer");
    }
}

uint64_t stream_messages(jsCtx *js, const char *stream) {
    jsStreamInfo *si = NULL;
    check(js_GetStreamInfo(&si, js, stream, NULL, NULL), stream);
    uint64_t n = si->State.Msgs;
    jsStreamInfo_Destroy(si);
    return n;
}

/* Seconds with six digits, as naq writes its times; sprintf would be a tenth of the job. */
static char *write_seconds(char *p, int64_t us) {
    char digits[24];
    int n = 0;
    for (; us || n < 7; us /= 10, n++) {
        if (n == 6) digits[n++] = '.';
        digits[n] = (char)('0' + us % 10);
    }
    while (n)
        *p++ = digits[--n];
    return p;
}

static char *write_text(char *p, const char *s) {
    size_t n = strlen(s);
    memcpy(p, s, n);
    return p + n;
}

int job_write(const char *job, const char *args, char subject[SUBJECT_MAX], char msg_id[80],
              char payload[PAYLOAD_MAX]) {
    char id[NAQ_ID_NEW + 1];
    naq_id_new(id);
    char *p = write_text(subject, "naq.q.");
    p = write_text(p, queue_name());
    p = write_text(p, ".normal.");
    *write_text(p, id) = '\0';
    p = write_text(msg_id, id);
    *write_text(p, ":0") = '\0';
    p = write_text(payload, "{\"v\":1,\"job\":\"");
    p = write_text(p, job);
    p = write_text(p, "\",\"args\":");
    p = write_text(p, args);
    p = write_text(p, ",\"enqueued_at\":");
    p = write_seconds(p, naq_wall_us());
    *p++ = '}';
    return (int)(p - payload);
}

int record_write(char out[RECORD_MAX], int64_t started_us, int64_t finished_us) {
    char *p = write_text(out, "{\"state\":\"completed\",\"job\":\"noop\",\"queue\":\"bench\","
                              "\"priority\":\"normal\",\"attempt\":1,"
                              "\"enqueued_at\":1763697600.123456,\"started_at\":");
    p = write_seconds(p, started_us);
    p = write_text(p, ",\"finished_at\":");
    p = write_seconds(p, finished_us);
    p = write_text(p, ",\"worker\":\"host-1234-ab12cd\"}");
    return (int)(p - out);
}

double mono(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void print_percentiles(double *samples, long n) {
    if (n < 1) die("nothing was measured");
    qsort(samples, (size_t)n, sizeof *samples, ascending);
    printf("n=%ld p50_us=%.1f p99_us=%.1f max_us=%.1f\n", n, samples[n / 2] * 1e6,
           samples[n * 99 / 100] * 1e6, samples[n - 1] * 1e6);
}
