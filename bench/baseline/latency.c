/* latency.c -- L5: from just before a publish to the moment a waiting pull has the message, one at
 * a time on an idle machine; and the same figure read back from the records of naq's jobs.
 *
 * Publisher and receiver are processes of their own, as a client and a worker are. Clocks are
 * CLOCK_MONOTONIC, which is one clock for the whole machine. */
#include "baseline.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static double number_after(const char *data, int len, const char *key) {
    const char *at = memmem(data, (size_t)len, key, strlen(key));
    return at ? strtod(at + strlen(key), NULL) : 0;
}

/* The receiver: an ordinary subscription on an inbox, pulls of 64, each message acked. */
static void receive(long n) {
    natsConnection *nc = connect_plain(true);
    natsSubscription *sub = NULL;
    natsInbox *inbox = NULL;
    char subject[SUBJECT_MAX];
    double *samples = calloc((size_t)n, sizeof *samples);
    long credit = 0;
    if (!samples) die("out of memory");
    consumers_ensure(jetstream(nc));
    check(natsInbox_Create(&inbox), "inbox");
    check(natsConnection_SubscribeSync(&sub, nc, inbox), "subscribe");
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", JOBS_STREAM,
             consumer_name());
    for (long i = 0; i < n;) {
        natsMsg *m = NULL;
        if (credit == 0) {
            check(natsConnection_PublishRequestString(nc, subject, inbox,
                                                      "{\"batch\":64,\"expires\":60000000000}"),
                  "pull");
            credit = 64;
        }
        check(natsSubscription_NextMsg(&m, sub, 30000), "receive");
        double now = mono();
        double sent = number_after(natsMsg_GetData(m), natsMsg_GetDataLength(m), "\"sent\":");
        if (sent == 0) die("a message without a time: %s", natsMsg_GetSubject(m));
        samples[i++] = now - sent;
        credit--;
        check(natsConnection_PublishString(nc, natsMsg_GetReply(m), "+ACK"), "ack");
        natsMsg_Destroy(m);
    }
    check(natsConnection_Flush(nc), "flush");
    print_percentiles(samples, n);
}

int cmd_latency(void) {
    long n = option_long("n", 500), gap_us = option_long("gap_us", 3000);
    pid_t receiver = fork(); /* before libnats has started its threads */
    if (receiver < 0) die("fork failed");
    if (receiver == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        receive(n);
        return 0;
    }
    natsConnection *nc = connect_plain(true);
    jsCtx *js = jetstream(nc);
    jsPubOptions po;
    check(jsPubOptions_Init(&po), "options");
    consumers_ensure(js);
    consumer_await_pull(js, receiver);
    for (long i = 0; i < n; i++) {
        char subject[SUBJECT_MAX], msg_id[80], payload[PAYLOAD_MAX], args[64];
        nap(gap_us);
        snprintf(args, sizeof args, "{\"sent\":%.9f}", mono());
        int len = job_write("latency", args, subject, msg_id, payload);
        natsMsg *m = NULL;
        check(natsMsg_Create(&m, subject, NULL, payload, len), "message");
        po.MsgId = msg_id;
        check(js_PublishMsg(NULL, js, m, &po, NULL), "publish");
        natsMsg_Destroy(m);
    }
    child_wait(receiver, 40, NULL, NULL);
    return 0;
}

/* Latencies of jobs that recorded {"sent","began"} as their result. */
int cmd_latencies(void) {
    natsConnection *nc = connect_plain(true);
    jsCtx *js = jetstream(nc);
    natsSubscription *sub = NULL;
    uint64_t n = stream_messages(js, RESULTS_STREAM);
    double *samples = calloc(n + 1, sizeof *samples);
    if (!samples) die("out of memory");
    jsSubOptions so;
    check(jsSubOptions_Init(&so), "options");
    so.Ordered = true;
    check(js_SubscribeSync(&sub, js, RESULTS_SUBJECT ">", NULL, &so, NULL), "read the records");
    for (uint64_t i = 0; i < n; i++) {
        natsMsg *m = NULL;
        check(natsSubscription_NextMsg(&m, sub, 5000), "read the records");
        double sent = number_after(natsMsg_GetData(m), natsMsg_GetDataLength(m), "\"sent\":");
        double began = number_after(natsMsg_GetData(m), natsMsg_GetDataLength(m), "\"began\":");
        if (sent == 0 || began == 0)
            die("a record without its times: %.*s", natsMsg_GetDataLength(m), natsMsg_GetData(m));
        samples[i] = began - sent;
        natsMsg_Destroy(m);
    }
    natsSubscription_Destroy(sub);
    print_percentiles(samples, (long)n);
    return 0;
}
