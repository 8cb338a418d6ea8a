/* main.c -- naq-baseline COMMAND [name=value...] [-- PROGRAM...]: see bench/README.md. */
#include "baseline.h"

#include <stdio.h>
#include <string.h>

static int cmd_ack(void) {
    return cmd_consume(false);
}

static int cmd_record(void) {
    return cmd_consume(true);
}

static const struct {
    const char *name;
    int (*run)(void);
    const char *help;
} COMMANDS[] = {
    {"publish-one", cmd_publish_one, "L1: n= jobs one by one"},
    {"publish", cmd_publish_window, "L2: n= jobs job= args=, 1024 acks in flight"},
    {"ack", cmd_ack, "L3: pulls and acks n= jobs"},
    {"record", cmd_record, "L4: pulls n= jobs, publishes a record for each, then acks"},
    {"read-bucket", cmd_read_bucket,
     "reads n= jobs, bucket= of the delayed store, and removes none"},
    {"put-delayed", cmd_put_delayed, "as L2: n= jobs due from= to= seconds from now"},
    {"pace", cmd_pace, "publishes rate= jobs a second over seconds=, each at its time"},
    {"js-publish", cmd_js_publish, "n= messages into the stream of bench.js, one by one"},
    {"kv-get", cmd_kv_get, "n= reads of the key \"key\" of bucket="},
    {"connect", cmd_connect,
     "n= times op=publish|stream|kv|many in threads=, connecting each time"},
    {"latency", cmd_latency, "L5: n= publishes gap_us= apart to a waiting pull"},
    {"latencies", cmd_latencies, "the latencies that jobs recorded"},
    {"watch", cmd_watch, "runs a worker until the queue is empty, or jobs= fewer"},
    {"with-worker", cmd_with_worker, "runs the second program while the first one serves"},
    {"idle", cmd_idle, "memory and wakes of an idle worker over seconds="},
    {"start", cmd_start, "from executing the worker to its first job"},
    {"soak", cmd_soak, "n= jobs through one worker, its memory"},
    {"wipe", cmd_wipe, "removes all streams"},
};

int main(int argc, char **argv) {
    options_init(argc, argv);
    size_t n = sizeof COMMANDS / sizeof COMMANDS[0];
    for (size_t i = 0; argc > 1 && i < n; i++)
        if (strcmp(argv[1], COMMANDS[i].name) == 0) return COMMANDS[i].run();
    fprintf(stderr, "usage: naq-baseline COMMAND [url=] [queue=] [server=PID] [name=value...]"
                    " [-- PROGRAM...]\n");
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "  %-12s %s\n", COMMANDS[i].name, COMMANDS[i].help);
    return 2;
}
