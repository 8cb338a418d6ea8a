/* publish.c -- L1 and L2: jobs published through libnats with a Msg-Id, one by one or with 1024
 * acks in flight. L2 is also how the other rows fill the queue. */
#include "baseline.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

double publish_window(jsCtx *js, long n, const char *job, const char *args) {
    char subject[SUBJECT_MAX], msg_id[80], payload[PAYLOAD_MAX];
    jsPubOptions po;
    check(jsPubOptions_Init(&po), "options");
    double t = mono();
    for (long i = 0; i < n; i++) {
        int len = job_write(job, args, subject, msg_id, payload);
        natsMsg *m = NULL;
        check(natsMsg_Create(&m, subject, NULL, payload, len), "message");
        po.MsgId = msg_id;
        check(js_PublishMsgAsync(js, &m, &po), "publish");
    }
    check(jsPubOptions_Init(&po), "options");
    po.MaxWait = 60000;
    check(js_PublishAsyncComplete(js, &po), "wait for the acks");
    return mono() - t;
}

int cmd_publish_window(void) {
    long n = option_long("n", 100000);
    /* Without SendAsap: the flusher gathers what 1024 pending allow into few writes. */
    natsConnection *nc = connect_plain(option_long("asap", 0));
    jsCtx *js = jetstream(nc);
    double cpu = process_cpu(getpid()), server = process_cpu((pid_t)option_long("server", 0));
    double t = publish_window(js, n, option("job", "noop"), option("args", DEFAULT_ARGS));
    cpu = process_cpu(getpid()) - cpu;
    server = process_cpu((pid_t)option_long("server", 0)) - server;
    printf("n=%ld rate=%.0f client_us=%.2f server_us=%.2f\n", n, (double)n / t,
           cpu / (double)n * 1e6, server / (double)n * 1e6);
    return 0;
}

int cmd_publish_one(void) {
    long n = option_long("n", 10000);
    char subject[SUBJECT_MAX], msg_id[80], payload[PAYLOAD_MAX];
    natsConnection *nc = connect_plain(true);
    jsCtx *js = jetstream(nc);
    jsPubOptions po;
    check(jsPubOptions_Init(&po), "options");
    double cpu = process_cpu(getpid()), server = process_cpu((pid_t)option_long("server", 0));
    double t = mono();
    for (long i = 0; i < n; i++) {
        int len = job_write("noop", DEFAULT_ARGS, subject, msg_id, payload);
        natsMsg *m = NULL;
        check(natsMsg_Create(&m, subject, NULL, payload, len), "message");
        po.MsgId = msg_id;
        check(js_PublishMsg(NULL, js, m, &po, NULL), "publish");
        natsMsg_Destroy(m);
    }
    t = mono() - t;
    cpu = process_cpu(getpid()) - cpu;
    server = process_cpu((pid_t)option_long("server", 0)) - server;
    printf("n=%ld rate=%.0f client_us=%.2f server_us=%.2f\n", n, (double)n / t,
           cpu / (double)n * 1e6, server / (double)n * 1e6);
    return 0;
}
