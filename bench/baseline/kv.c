/* kv.c -- one key read, over and over: libnats' kvStore_Get on a bucket that naq made. */
#include "baseline.h"

#include <stdio.h>
#include <unistd.h>

int cmd_kv_get(void) {
    long n = option_long("n", 10000);
    natsConnection *nc = connect_plain(true);
    jsCtx *js = jetstream(nc);
    kvStore *kv = NULL;
    check(js_KeyValue(&kv, js, option("bucket", "bench")), "bucket");
    double cpu = process_cpu(getpid()), server = process_cpu((pid_t)option_long("server", 0));
    double t = mono();
    for (long i = 0; i < n; i++) {
        kvEntry *entry = NULL;
        check(kvStore_Get(&entry, kv, "key"), "get");
        if (kvEntry_ValueLen(entry) != 100) die("a value of %d bytes", kvEntry_ValueLen(entry));
        kvEntry_Destroy(entry);
    }
    t = mono() - t;
    cpu = process_cpu(getpid()) - cpu;
    server = process_cpu((pid_t)option_long("server", 0)) - server;
    printf("n=%ld rate=%.0f client_us=%.2f server_us=%.2f\n", n, (double)n / t,
           cpu / (double)n * 1e6, server / (double)n * 1e6);
    return 0;
}
