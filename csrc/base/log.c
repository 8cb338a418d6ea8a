/* log.c -- the one sink: a level, a format, a file descriptor. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

static const char *const NAMES[] = {"debug", "info", "warning", "error"};

static _Atomic naq_level threshold = NAQ_WARNING;
static atomic_bool as_json;
static atomic_int sink = STDERR_FILENO;

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; /* guards file */
/* The number of the log file, kept from the first one on: another file takes the number over, so
 * that a thread in the middle of a line never writes to a number that is closed or somebody else's.
 */
static int file = -1;

bool naq_level_parse(const char *level, naq_level *out) {
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcasecmp(level, NAMES[i]) == 0) {
            *out = (naq_level)i;
            return true;
        }
    }
    if (strcasecmp(level, "warn") == 0) {
        *out = NAQ_WARNING;
        return true;
    }
    if (strcasecmp(level, "critical") == 0) {
        *out = NAQ_ERROR;
        return true;
    }
    return false;
}

naq_status naq_log_configure(naq_level level, bool json, const char *path, naq_err *err) {
    int to = STDERR_FILENO;
    if (path != NULL) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (fd < 0)
            return naq_fail(err, NAQ_CONFIGURATION, "log file %s: %s", path, strerror(errno));
        pthread_mutex_lock(&mu);
        if (file < 0) {
            file = fd;
        } else {
            (void)dup3(fd, file, O_CLOEXEC);
            close(fd);
        }
        to = file;
        pthread_mutex_unlock(&mu);
    }
    atomic_store(&as_json, json);
    atomic_store(&threshold, level);
    atomic_store(&sink, to);
    return NAQ_OK;
}

bool naq_log_enabled(naq_level level) {
    return level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

void naq_log(naq_level level, const char *fmt, ...) {
    if (!naq_log_enabled(level)) return;
    char message[1024];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof message, fmt, args);
    va_end(args);

    int64_t us = naq_wall_us();
    time_t seconds = (time_t)(us / 1000000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char when[40];
    size_t n = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(when + n, sizeof when - n, ".%03dZ", (int)(us % 1000000 / 1000));

    naq_buf line = {0};
    if (as_json) {
        naq_buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", when, NAMES[level]);
        naq_buf_json_string(&line, message, strlen(message));
        naq_buf_puts(&line, "}\n");
    } else {
        naq_buf_printf(&line, "%s %-7s %s\n", when, NAMES[level], message);
    }
    if (!line.failed && write(atomic_load(&sink), line.data, line.len) < 0) {
        /* Nobody is left to tell. */
    }
    naq_buf_free(&line);
}
