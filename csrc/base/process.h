/* process.h -- starting programs and waiting for them. Any thread; knows no signals but its own. */
#ifndef NAQ_BASE_PROCESS_H
#define NAQ_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

typedef struct naq_spawn {
    const char *const *argv;               /* NULL-terminated; argv[0] is looked for in PATH */
    const char *const *env;                /* NULL-terminated "NAME=value"; NULL: this process's */
    const char *stdout_path, *stderr_path; /* appended to; NULL: inherited */
    const char *cwd;                       /* NULL: this process's */
    int death_signal; /* what it gets when the thread that called naq_spawn_start ends; 0: nothing
                       */
} naq_spawn;

/* Start a program in a process group of its own, standard input closed to it, no other descriptors
 * inherited, signal mask and dispositions as in a fresh process. NAQ_INVALID with the reason when
 * the program cannot be started (not found, not executable, no such directory). */
naq_status naq_spawn_start(const naq_spawn *s, pid_t *pid, naq_err *err);

/* Replace this process. Returns only on failure. */
naq_status naq_process_exec(const char *const *argv, naq_err *err);

typedef enum naq_exit { NAQ_RUNNING, NAQ_EXITED, NAQ_SIGNALED } naq_exit;

/* [blocks] Wait for a child for ms milliseconds (-1: without limit) and reap it. NAQ_RUNNING when
 * the time is over or a signal was handled meanwhile. code: exit status or signal number.
 * NAQ_INVALID when pid is no child of this process. */
naq_status naq_process_wait(pid_t pid, int64_t ms, naq_exit *state, int *code, naq_err *err);

#endif
