/* js.c -- one message after the other into a stream: libnats' js_Publish on a stream that naq made.
 */
#include "baseline.h"

#include <stdio.h>
#include <unistd.h>

int cmd_js_publish(void) {
    long n = option_long("n", 10000);
    natsConnection *nc = connect_plain(true);
    jsCtx *js = jetstream(nc);
    char data[100];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = 'v';
    double cpu = process_cpu(getpid()), server = process_cpu((pid_t)option_long("server", 0));
    double t = mono();
    for (long i = 0; i < n; i++) {
        jsPubAck *ack = NULL;
        check(js_Publish(&ack, js, "bench.js", data, sizeof data, NULL, NULL), "publish");
        if (ack->Sequence == 0) die("an ack without a sequence");
        jsPubAck_Destroy(ack);
    }
    t = mono() - t;
    cpu = process_cpu(getpid()) - cpu;
    server = process_cpu((pid_t)option_long("server", 0)) - server;
    printf("n=%ld rate=%.0f client_us=%.2f server_us=%.2f\n", n, (double)n / t,
           cpu / (double)n * 1e6, server / (double)n * 1e6);
    return 0;
}
