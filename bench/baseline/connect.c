/* connect.c -- a connection for each operation, as a program without a pool does it: libnats
 * connects, works and disconnects, n= times in each of threads= threads. */
#include "baseline.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_THREADS = 64, MANY = 100 };

static const char DATA[] =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
    "45678";

static void publish(jsCtx *js, int times) {
    for (int i = 0; i < times; i++)
        check(js_Publish(NULL, js, "bench.connections", DATA, (int)sizeof DATA, NULL, NULL),
              "publish");
}

static void look(jsCtx *js) {
    jsStreamInfo *info = NULL;
    check(js_GetStreamInfo(&info, js, "bench_connections", NULL, NULL), "stream info");
    jsStreamInfo_Destroy(info);
}

static void get(jsCtx *js) {
    kvStore *kv = NULL;
    kvEntry *entry = NULL;
    check(js_KeyValue(&kv, js, "bench_connections"), "bucket");
    check(kvStore_Get(&entry, kv, "key"), "get");
    kvEntry_Destroy(entry);
    kvStore_Destroy(kv);
}

static void *connect_and_work(void *arg) {
    long n = *(const long *)arg;
    const char *what = option("op", "publish");
    for (long i = 0; i < n; i++) {
        natsConnection *nc = connect_plain(true);
        jsCtx *js = jetstream(nc);
        if (strcmp(what, "stream") == 0)
            look(js);
        else if (strcmp(what, "kv") == 0)
            get(js);
        else
            publish(js, strcmp(what, "many") == 0 ? MANY : 1);
        jsCtx_Destroy(js);
        natsConnection_Destroy(nc);
    }
    return NULL;
}

int cmd_connect(void) {
    long n = option_long("n", 100), threads = option_long("threads", 1);
    if (threads < 1 || threads > MAX_THREADS) die("threads=%ld: 1 to %d", threads, MAX_THREADS);
    pthread_t thread[MAX_THREADS];
    long before = status_field(getpid(), 0, "VmRSS");
    double t = mono();
    for (long i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, connect_and_work, &n) != 0) die("no more threads");
    for (long i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    t = mono() - t;
    printf("seconds=%.6f grown_kb=%ld\n", t, status_field(getpid(), 0, "VmHWM") - before);
    return 0;
}
