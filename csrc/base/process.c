/* process.c -- fork and exec from a process that has threads, and waiting without polling.
 *
 * Between fork and exec the child may only make async-signal-safe calls: another thread may have
 * held the allocator's lock at the fork. So everything that needs memory (the path of the program,
 * the environment) is made before it. */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

extern char **environ;

/* What the child tells its parent through a pipe when it could not exec. */
typedef struct child_failure {
    int step; /* an index of STEPS */
    int code; /* errno */
} child_failure;

enum { STEP_PARENT, STEP_CWD, STEP_STDIN, STEP_STDOUT, STEP_STDERR, STEP_EXEC };
static const char *const STEPS[] = {"its parent ended", "working directory", "standard input",
                                    "standard output",  "standard error",    "exec"};

/* The file that execvp would run. */
static naq_status find_program(const char *name, char *out, size_t size, naq_err *err) {
    if (strchr(name, '/') != NULL) {
        if ((size_t)snprintf(out, size, "%s", name) >= size)
            return naq_fail(err, NAQ_INVALID, "program name too long");
        return NAQ_OK;
    }
    const char *path = getenv("PATH");
    if (path == NULL) path = "/usr/local/bin:/usr/bin:/bin";
    bool denied = false;
    for (const char *at = path; *name != '\0';) {
        size_t n = strcspn(at, ":");
        int wrote = snprintf(out, size, "%.*s%s%s", (int)n, at, n > 0 ? "/" : "./", name);
        if (wrote > 0 && (size_t)wrote < size) {
            if (access(out, X_OK) == 0) return NAQ_OK;
            if (errno == EACCES) denied = true;
        }
        if (at[n] == '\0') break;
        at += n + 1;
    }
    return naq_fail(err, NAQ_INVALID, denied ? "%s: permission denied" : "%s: not found in PATH",
                    name);
}

static void child_die(int report, int step) {
    child_failure f = {step, errno};
    if (write(report, &f, sizeof f) < 0) {
        /* The parent is gone; nobody is left to tell. */
    }
    _exit(127);
}

static void child_open(int report, int step, const char *path, int flags, int as) {
    int fd = open(path, flags, 0640);
    if (fd < 0 || (fd != as && dup2(fd, as) < 0)) child_die(report, step);
    if (fd != as) close(fd);
}

/* Runs in the child: async-signal-safe calls only. All signals are still blocked. */
static void child_run(const naq_spawn *s, const char *program, pid_t parent, int report) {
    if (s->death_signal != 0) {
        prctl(PR_SET_PDEATHSIG, s->death_signal);
        errno = 0;
        /* The parent may have died before the request took effect. */
        if (getppid() != parent) child_die(report, STEP_PARENT);
    }
    struct sigaction fresh = {.sa_handler = SIG_DFL};
    for (int n = 1; n < NSIG; n++)
        sigaction(n, &fresh, NULL); /* fails for KILL, STOP and libc's own, which is right */
    setpgid(0, 0);
    if (s->cwd != NULL && chdir(s->cwd) != 0) child_die(report, STEP_CWD);
    child_open(report, STEP_STDIN, "/dev/null", O_RDONLY, STDIN_FILENO);
    const int append = O_WRONLY | O_CREAT | O_APPEND;
    if (s->stdout_path != NULL)
        child_open(report, STEP_STDOUT, s->stdout_path, append, STDOUT_FILENO);
    if (s->stderr_path != NULL)
        child_open(report, STEP_STDERR, s->stderr_path, append, STDERR_FILENO);
    /* Files that the interpreter opened carry no close-on-exec flag. */
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(program, (char *const *)(uintptr_t)s->argv,
           s->env != NULL ? (char *const *)(uintptr_t)s->env : environ);
    child_die(report, STEP_EXEC);
}

naq_status naq_spawn_start(const naq_spawn *s, pid_t *pid, naq_err *err) {
    char program[PATH_MAX];
    if (find_program(s->argv[0], program, sizeof program, err) != NAQ_OK) return err->status;
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return naq_fail(err, NAQ_INVALID, "%s: pipe: %s", s->argv[0], strerror(errno));

    /* No handler of this process may run in the child before its dispositions are reset. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t child = fork();
    int code = errno;
    if (child == 0) child_run(s, program, parent, report[1]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (child < 0) {
        close(report[0]);
        return naq_fail(err, NAQ_INVALID, "%s: fork: %s", s->argv[0], strerror(code));
    }
    /* Also here, so that the group exists as soon as the caller has the pid. */
    setpgid(child, child);

    child_failure failure;
    ssize_t n;
    do {
        n = read(report[0], &failure, sizeof failure);
    } while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == (ssize_t)sizeof failure) {
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
        }
        return naq_fail(err, NAQ_INVALID, "%s: %s: %s", program, STEPS[failure.step],
                        strerror(failure.code));
    }
    *pid = child;
    return NAQ_OK;
}

naq_status naq_process_exec(const char *const *argv, naq_err *err) {
    char program[PATH_MAX];
    if (find_program(argv[0], program, sizeof program, err) != NAQ_OK) return err->status;
    (void)fflush(NULL);
    execv(program, (char *const *)(uintptr_t)argv);
    return naq_fail(err, NAQ_INVALID, "%s: %s", program, strerror(errno));
}

naq_status naq_process_wait(pid_t pid, int64_t ms, naq_exit *state, int *code, naq_err *err) {
    *state = NAQ_RUNNING;
    *code = 0;
    int64_t deadline = ms < 0 ? -1 : naq_mono_ms() + ms;
    /* By the raw call: glibc 2.36 has the wrapper in a header of its own that C libraries before
     * lack. */
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return naq_fail(err, NAQ_INVALID, "process %d: %s", (int)pid,
                        errno == ESRCH ? "no such process" : strerror(errno));
    int ready;
    do {
        int64_t left = deadline < 0 ? -1 : deadline - naq_mono_ms();
        if (deadline >= 0 && left < 0) left = 0;
        if (left > INT_MAX) left = INT_MAX;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ready = poll(&p, 1, (int)left);
    } while (ready == 0 && (deadline < 0 || naq_mono_ms() < deadline));
    close(fd);

    int status;
    pid_t got = waitpid(pid, &status, WNOHANG);
    if (got < 0)
        return naq_fail(err, NAQ_INVALID, "process %d: %s", (int)pid,
                        errno == ECHILD ? "not a child of this process" : strerror(errno));
    if (got == 0) return NAQ_OK;
    if (WIFEXITED(status)) {
        *state = NAQ_EXITED;
        *code = WEXITSTATUS(status);
    } else {
        *state = NAQ_SIGNALED;
        *code = WTERMSIG(status);
    }
    return NAQ_OK;
}
