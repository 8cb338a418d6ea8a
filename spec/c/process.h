/* process.h -- what a process has, how a child of it ended, and waiting until something is so. */
#ifndef NAQ_SPEC_PROCESS_H
#define NAQ_SPEC_PROCESS_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { PATIENCE_MS = 10000 };

static inline bool eventually(bool (*holds)(void *ctx), void *ctx) {
    int64_t end = naq_mono_ms() + PATIENCE_MS;
    while (!holds(ctx)) {
        if (naq_mono_ms() > end) return false;
        usleep(1000);
    }
    return true;
}

static inline int entries_of(const char *path) {
    int n = 0;
    DIR *d = opendir(path);
    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL) closedir(d);
    return n;
}

typedef struct usage {
    int fds, threads;
} usage;

static inline usage usage_now(void) {
    return (usage){entries_of("/proc/self/fd"), entries_of("/proc/self/task")};
}

static inline bool ends_well(pid_t child) {
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

#endif
