/* process.c -- the programs that are measured: started, waited for, their CPU and memory read. */
#include "baseline.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void nap(long us) {
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

double process_cpu(pid_t pid) {
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    if (pid == 0) return 0;
    if (pid == getpid()) {
        struct rusage r;
        getrusage(RUSAGE_SELF, &r);
        return (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec +
               (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
    }
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f) die("no process %d", (int)pid);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *after_name = strrchr(text, ')');
    if (!after_name || sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                              &user, &system) != 2)
        die("cannot read %s", path);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

pid_t child_start(char **argv) {
    if (!argv || !argv[0]) die("no program given");
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) die("fork: %s", strerror(errno));
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a benchmark cut short leaves no worker behind */
    if (getppid() != parent) _exit(1);
    int fd = open(option("log", "/dev/null"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0) _exit(126);
    execvp(argv[0], argv);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

bool child_ended(pid_t pid) {
    siginfo_t si = {0};
    return waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == pid;
}

void child_wait(pid_t pid, double seconds, double *cpu, long *maxrss_kb) {
    struct rusage r;
    int status = 0;
    for (double until = mono() + seconds; !child_ended(pid); nap(1000)) {
        if (mono() < until) continue;
        kill(pid, SIGKILL);
        die("the program did not end within %.0f s (its output: %s)", seconds,
            option("log", "not kept"));
    }
    wait4(pid, &status, 0, &r);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("the program %s %d (its output: %s)",
            WIFEXITED(status) ? "ended with status" : "was killed by signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), option("log", "not kept"));
    if (cpu)
        *cpu = (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec +
               (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
    if (maxrss_kb) *maxrss_kb = r.ru_maxrss;
}

void consumer_await_pull(jsCtx *js, pid_t worker) {
    for (double until = mono() + 20; mono() < until; nap(2000)) {
        jsConsumerInfo *ci = NULL;
        if (child_ended(worker))
            die("the worker ended by itself (its output: %s)", option("log", "not kept"));
        if (js_GetConsumerInfo(&ci, js, JOBS_STREAM, consumer_name(), NULL, NULL) != NATS_OK)
            continue;
        bool waiting = ci->NumWaiting > 0;
        jsConsumerInfo_Destroy(ci);
        if (waiting) return;
    }
    die("no worker asked for jobs within 20 s (its output: %s)", option("log", "not kept"));
}

long status_field(pid_t pid, pid_t task, const char *field) {
    char path[96], line[256];
    long value = 0;
    size_t n = strlen(field);
    if (task)
        snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)pid, (int)task);
    else
        snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f) return 0; /* the thread has ended meanwhile */
    while (fgets(line, sizeof line, f))
        if (strncmp(line, field, n) == 0 && line[n] == ':') value = atol(line + n + 1);
    fclose(f);
    return value;
}

/* Voluntary context switches of all threads: how often the process went to sleep and woke. */
static long wakes(pid_t pid, long *threads) {
    char path[64];
    long sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (!d) die("no process %d", (int)pid);
    *threads = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        sum += status_field(pid, (pid_t)atol(e->d_name), "voluntary_ctxt_switches");
        ++*threads;
    }
    closedir(d);
    return sum;
}

int cmd_with_worker(void) {
    jsCtx *js = jetstream(connect_plain(true));
    pid_t worker = child_start(option_command(0));
    consumer_await_pull(js, worker);
    nap(option_long("settle_ms", 200) * 1000);
    child_wait(child_start(option_command(1)), (double)option_long("seconds", 60), NULL, NULL);
    kill(worker, SIGTERM);
    child_wait(worker, 30, NULL, NULL);
    return 0;
}

int cmd_idle(void) {
    jsCtx *js = jetstream(connect_plain(true));
    long seconds = option_long("seconds", 10), threads = 0;
    pid_t worker = child_start(option_command(0));
    consumer_await_pull(js, worker);
    nap(option_long("settle_ms", 2000) * 1000);
    long before = wakes(worker, &threads);
    double cpu = process_cpu(worker), t = mono();
    nap(seconds * 1000000);
    t = mono() - t;
    cpu = process_cpu(worker) - cpu;
    long woken = wakes(worker, &threads) - before;
    printf("rss_kb=%ld anon_kb=%ld threads=%ld wakes=%.2f cpu_ms=%.1f\n",
           status_field(worker, 0, "VmRSS"), status_field(worker, 0, "RssAnon"), threads,
           (double)woken / t, cpu * 1e3);
    kill(worker, SIGTERM);
    child_wait(worker, 30, NULL, NULL);
    return 0;
}
