/* baseline.h -- what the plain C programs of the benchmark share: options, connections, a job and
 * its record as docs/wire.md has them. Everything here ends the process with one sentence on
 * failure: these are measuring tools, there is nobody to hand an error to. */
#ifndef NAQ_BENCH_BASELINE_H
#define NAQ_BENCH_BASELINE_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SUBJECT_MAX = 160, RECORD_MAX = 512, PAYLOAD_MAX = 1024 };

/* Options stand on the command line as name=value, before a lone "--"; what follows that is the
 * program to run. */
void options_init(int argc, char **argv);
const char *option(const char *name, const char *otherwise);
long option_long(const char *name, long otherwise);
/* The k-th program of the command line (from 0), ended by NULL; NULL when there is none. */
char **option_command(int k);

__attribute__((format(printf, 1, 2), noreturn)) void die(const char *fmt, ...);
void check(natsStatus s, const char *what);

/* An ordinary connection to url=. send_asap: write at once, not when the flusher wakes. */
natsConnection *connect_plain(bool send_asap);
jsCtx *jetstream(natsConnection *nc);

/* Names: prefix naq, queue= (bench), priority normal. */
#define JOBS_STREAM "naq_jobs"
#define DELAYED_STREAM "naq_delayed"
#define RESULTS_STREAM "KV_naq_results_7d"
#define RESULTS_SUBJECT "$KV.naq_results_7d."
const char *queue_name(void);
const char *consumer_name(void);
/* The queue's durable consumers, one a priority, as a worker would create them. All three, though
 * only consumer_name() is asked for jobs: the server does work for each of them at every ack. */
void consumers_ensure(jsCtx *js);
/* One as the scheduler has for a bucket of the delayed store. */
void bucket_consumer(jsCtx *js, const char *name, int64_t bucket);
uint64_t stream_messages(jsCtx *js, const char *stream);

/* One job: its subject, its Msg-Id and its payload. args is JSON. Returns the payload's length. */
int job_write(const char *job, const char *args, char subject[SUBJECT_MAX], char msg_id[80],
              char payload[PAYLOAD_MAX]);
/* The arguments every throughput row uses, about 100 bytes. */
extern const char *const DEFAULT_ARGS;
/* The record of a completed no-op job. */
int record_write(char out[RECORD_MAX], int64_t started_us, int64_t finished_us);

double mono(void);
/* User + system seconds that process has used; 0 when pid is 0. */
double process_cpu(pid_t pid);

/* Puts n jobs on the queue, 1024 acks in flight; returns the seconds it took. */
double publish_window(jsCtx *js, long n, const char *job, const char *args);

long status_field(pid_t pid, pid_t task, const char *field); /* of /proc/PID/status */
void nap(long us);

/* A child with its output going to log= (or nowhere). */
pid_t child_start(char **argv);
/* Waits for it, at most so many seconds (then it is killed and that is an error). Returns CPU
 * seconds and peak RSS. Fails when the child fails. */
void child_wait(pid_t pid, double seconds, double *cpu, long *maxrss_kb);
bool child_ended(pid_t pid); /* not waited for yet */
/* Returns when somebody waits for jobs on the queue's consumer. */
void consumer_await_pull(jsCtx *js, pid_t worker);

/* p50, p99 and the largest of n samples in seconds, printed in microseconds. */
void print_percentiles(double *samples, long n);

int cmd_publish_one(void);     /* L1 */
int cmd_publish_window(void);  /* L2 */
int cmd_consume(bool records); /* L3, L4 */
int cmd_read_bucket(void);
int cmd_put_delayed(void);
int cmd_pace(void);
int cmd_kv_get(void);     /* kv:get */
int cmd_js_publish(void); /* js:publish */
int cmd_connect(void);    /* a connection for each operation */
int cmd_latency(void);    /* L5 */
int cmd_latencies(void);
int cmd_watch(void);
int cmd_with_worker(void);
int cmd_idle(void);
int cmd_start(void);
int cmd_soak(void);
int cmd_wipe(void);

#endif
