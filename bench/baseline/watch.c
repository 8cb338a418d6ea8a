/* watch.c -- runs a worker (naq's, or a baseline) on a filled queue and measures it from outside,
 * both by the same means:
 *
 *   rate        records: from the server's own timestamps of the first and the last record
 *   ack_rate    the same up to the last ack
 *   drain_rate  from the first look at which the queue had shrunk to the one that found it empty
 *   client_us, server_us  CPU a job, of the program and of the server (server=PID) */
#include "baseline.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t record_time(jsCtx *js, uint64_t seq) {
    natsMsg *m = NULL;
    check(js_GetMsg(&m, js, RESULTS_STREAM, seq, NULL, NULL), "look up a record");
    int64_t t = natsMsg_GetTime(m);
    natsMsg_Destroy(m);
    return t;
}

/* The rate between two shares of the records, by the time the server stored them. */
static double rate_between(jsCtx *js, uint64_t n, double from, double to) {
    uint64_t a = 1 + (uint64_t)((double)(n - 1) * from), b = 1 + (uint64_t)((double)(n - 1) * to);
    int64_t ns = record_time(js, b) - record_time(js, a);
    return ns > 0 ? (double)(b - a) / (double)ns * 1e9 : 0;
}

static void print_records(jsCtx *js) {
    jsStreamInfo *si = NULL;
    check(js_GetStreamInfo(&si, js, RESULTS_STREAM, NULL, NULL), RESULTS_STREAM);
    uint64_t n = si->State.Msgs;
    printf(" records=%lu record_bytes=%.0f", (unsigned long)n,
           n ? (double)si->State.Bytes / (double)n : 0);
    jsStreamInfo_Destroy(si);
    if (n < 2) return;
    printf(" rate=%.0f", rate_between(js, n, 0, 1));
    /* Up to the last ack: a short run ends with many jobs recorded and not acked yet. */
    jsConsumerInfo *ci = NULL;
    check(js_GetConsumerInfo(&ci, js, JOBS_STREAM, consumer_name(), NULL, NULL), "consumer");
    printf(" ack_rate=%.0f", (double)n / (double)(ci->AckFloor.Last - record_time(js, 1)) * 1e9);
    jsConsumerInfo_Destroy(ci);
    printf(" rate_half1=%.0f rate_half2=%.0f", rate_between(js, n, 0, 0.5),
           rate_between(js, n, 0.5, 1));
}

int cmd_watch(void) {
    jsCtx *js = jetstream(connect_plain(true));
    pid_t server = (pid_t)option_long("server", 0);
    uint64_t total = stream_messages(js, JOBS_STREAM), left = total, first_left = 0;
    uint64_t until_left = total - (uint64_t)option_long("jobs", (long)total);
    long poll_us = option_long("poll_ms", 5) * 1000, maxrss = 0;
    double seconds = (double)option_long("seconds", 120), t0 = mono(), first = 0, last = 0, cpu = 0;
    double server_cpu = process_cpu(server);
    long looks_after_end = 0; /* the server is still busy with the last acks */
    pid_t worker = child_start(option_command(0));
    /* Looks cost the server a little, so they are few, and the same for both sides. */
    while (left > until_left) {
        nap(poll_us);
        last = mono();
        left = stream_messages(js, JOBS_STREAM);
        if (!first && left < total) {
            first = last;
            first_left = left;
        }
        if (child_ended(worker) && ++looks_after_end * poll_us > 2000000) {
            child_wait(worker, 1, NULL, NULL);
            die("the program ended with %lu of %lu jobs left (its output: %s)",
                (unsigned long)stream_messages(js, JOBS_STREAM), (unsigned long)total,
                option("log", "not kept"));
        }
        if (last - t0 > seconds) {
            kill(worker, SIGKILL);
            die("%lu of %lu jobs left after %.0f s", (unsigned long)left, (unsigned long)total,
                seconds);
        }
    }
    server_cpu = process_cpu(server) - server_cpu;
    child_wait(worker, 60, &cpu, &maxrss);
    double n = (double)(total - until_left);
    printf("jobs=%.0f wall_s=%.3f drain_rate=%.0f client_us=%.2f server_us=%.2f maxrss_kb=%ld", n,
           last - t0, last > first ? (double)(first_left - left) / (last - first) : 0,
           cpu / n * 1e6, server_cpu / n * 1e6, maxrss);
    print_records(js);
    putchar('\n');
    return 0;
}

/* From just before the worker's program is executed to its first job's first line; one a call. */
int cmd_start(void) {
    natsConnection *nc = connect_plain(true);
    jsCtx *js = jetstream(nc);
    natsMsg *m = NULL;
    publish_window(js, 1, "began", "{}");
    double t0 = mono();
    child_wait(child_start(option_command(0)), 30, NULL, NULL);
    jsStreamInfo *si = NULL;
    check(js_GetStreamInfo(&si, js, RESULTS_STREAM, NULL, NULL), RESULTS_STREAM);
    check(js_GetMsg(&m, js, RESULTS_STREAM, si->State.LastSeq, NULL, NULL), "look up the record");
    const char *began =
        memmem(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), "\"began\":", 8);
    if (!began) die("no record of the job: %.*s", natsMsg_GetDataLength(m), natsMsg_GetData(m));
    printf("start_ms=%.2f\n", (strtod(began + 8, NULL) - t0) * 1e3);
    return 0;
}

/* n jobs through one worker, its RSS read after every step of them. Records are thrown away at
 * each step, so that it is the worker's memory that is looked at and not the server's disk. */
int cmd_soak(void) {
    jsCtx *js = jetstream(connect_plain(false));
    long n = option_long("n", 10000000), step = option_long("step", 250000);
    double t0 = mono();
    pid_t worker = child_start(option_command(0));
    setvbuf(stdout, NULL, _IOLBF, 0); /* progress is read as it comes */
    long first_million = 0, largest = 0;
    for (long done = 0; done < n; done += step) {
        publish_window(js, step, "noop", DEFAULT_ARGS);
        for (double until = mono() + 120; stream_messages(js, JOBS_STREAM) > 0; nap(5000)) {
            if (child_ended(worker)) die("the worker ended (its output: %s)", option("log", "-"));
            if (mono() > until) die("the queue does not run empty");
        }
        check(js_PurgeStream(js, RESULTS_STREAM, NULL, NULL), "throw the records away");
        long rss = status_field(worker, 0, "VmRSS");
        if (done + step <= 1000000)
            first_million = rss > first_million ? rss : first_million;
        else
            largest = rss > largest ? rss : largest;
        printf("# %9ld jobs %6.0f s  RSS %ld kB\n", done + step, mono() - t0, rss);
    }
    printf("n=%ld first_kb=%ld largest_kb=%ld seconds=%.0f\n", n, first_million, largest,
           mono() - t0);
    kill(worker, SIGTERM);
    child_wait(worker, 30, NULL, NULL);
    return 0;
}

/* All of naq's streams and buckets removed, so that each measurement begins on new ones. */
int cmd_wipe(void) {
    jsCtx *js = jetstream(connect_plain(true));
    jsStreamNamesList *list = NULL;
    natsStatus s = js_StreamNames(&list, js, NULL, NULL);
    if (s == NATS_NOT_FOUND) return 0;
    check(s, "list the streams");
    for (int i = 0; i < list->Count; i++)
        check(js_DeleteStream(js, list->List[i], NULL, NULL), list->List[i]);
    jsStreamNamesList_Destroy(list);
    return 0;
}
