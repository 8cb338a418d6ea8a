/* delayed.c -- what the scheduler does, without a scheduler: jobs put into the delayed store as L2
 * puts them onto a queue, a bucket of it read, jobs published each at its time. */
#include "baseline.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

enum { BUCKET_MS = 600 * 1000 };

/* One job as docs/wire.md has it in the delayed store. */
static natsMsg *delayed_message(int64_t due_ms, char msg_id[80]) {
    char queued[SUBJECT_MAX], payload[PAYLOAD_MAX], subject[SUBJECT_MAX], due[24], to[96];
    int len = job_write("noop", DEFAULT_ARGS, queued, msg_id, payload);
    snprintf(subject, sizeof subject, "naq.d.%" PRId64 "%s", due_ms / BUCKET_MS,
             strrchr(queued, '.'));
    snprintf(due, sizeof due, "%" PRId64, due_ms);
    snprintf(to, sizeof to, "%s.normal", queue_name());
    natsMsg *m = NULL;
    check(natsMsg_Create(&m, subject, NULL, payload, len), "message");
    check(natsMsgHeader_Set(m, "Naq-Due", due), "message");
    check(natsMsgHeader_Set(m, "Naq-To", to), "message");
    return m;
}

int cmd_put_delayed(void) {
    long n = option_long("n", 100000), from = option_long("from", 3600),
         to = option_long("to", 90000);
    jsCtx *js = jetstream(connect_plain(false));
    jsPubOptions po;
    check(jsPubOptions_Init(&po), "options");
    int64_t base = naq_wall_us() / 1000 + from * 1000;
    double t = mono();
    for (long i = 0; i < n; i++) {
        char msg_id[80];
        natsMsg *m = delayed_message(base + (to - from) * 1000 * (i * 7919 % n) / n, msg_id);
        po.MsgId = msg_id;
        check(js_PublishMsgAsync(js, &m, &po), "publish");
    }
    check(jsPubOptions_Init(&po), "options");
    po.MaxWait = 60000;
    check(js_PublishAsyncComplete(js, &po), "wait for the acks");
    printf("n=%ld rate=%.0f\n", n, (double)n / (mono() - t));
    return 0;
}

static void sleep_until_us(int64_t wall_us) {
    struct timespec at = {wall_us / 1000000, wall_us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL) != 0) {
    }
}

int cmd_pace(void) {
    long rate = option_long("rate", 5000), n = rate * option_long("seconds", 30);
    jsCtx *js = jetstream(connect_plain(true));
    jsPubOptions po;
    check(jsPubOptions_Init(&po), "options");
    int64_t first = naq_wall_us() + 500000;
    for (long i = 0; i < n; i++) {
        char args[64], subject[SUBJECT_MAX], msg_id[80], payload[PAYLOAD_MAX];
        int64_t due = first + i * 1000000 / rate;
        snprintf(args, sizeof args, "{\"due\":%" PRId64 ".%06d}", due / 1000000,
                 (int)(due % 1000000));
        int len = job_write("noop", args, subject, msg_id, payload);
        natsMsg *m = NULL;
        check(natsMsg_Create(&m, subject, NULL, payload, len), "message");
        po.MsgId = msg_id;
        if (naq_wall_us() < due) sleep_until_us(due);
        check(js_PublishMsgAsync(js, &m, &po), "publish");
    }
    check(jsPubOptions_Init(&po), "options");
    po.MaxWait = 60000;
    check(js_PublishAsyncComplete(js, &po), "wait for the acks");
    printf("n=%ld\n", n);
    return 0;
}

void bucket_consumer(jsCtx *js, const char *name, int64_t bucket) {
    char filter[SUBJECT_MAX];
    jsConsumerConfig c;
    check(jsConsumerConfig_Init(&c), "consumer");
    snprintf(filter, sizeof filter, "naq.d.%" PRId64 ".*", bucket);
    c.Durable = name;
    c.FilterSubject = filter;
    c.AckPolicy = js_AckExplicit;
    c.AckWait = 86400 * INT64_C(1000000000);
    c.MaxDeliver = -1;
    c.MaxAckPending = 1 << 30; /* libnats leaves out a negative one */
    c.HeadersOnly = true;
    c.MemoryStorage = true;
    c.Replicas = 1;
    check(js_AddConsumer(NULL, js, DELAYED_STREAM, &c, NULL, NULL), "create the consumer");
}
