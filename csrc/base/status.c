/* status.c -- error sentences and the names of the codes. Any thread. */
#include "base/status.h"

#include <stdio.h>
#include <string.h>

static const char *const CODES[NAQ_STATUS_COUNT] = {
    [NAQ_OK] = "OK",
    [NAQ_CONNECTION] = "CONNECTION",
    [NAQ_TIMEOUT] = "TIMEOUT",
    [NAQ_AUTH] = "AUTH",
    [NAQ_PERMISSION] = "PERMISSION",
    [NAQ_NO_JETSTREAM] = "NO_JETSTREAM",
    [NAQ_STORAGE_FULL] = "STORAGE_FULL",
    [NAQ_CONFIGURATION] = "CONFIGURATION",
    [NAQ_SERIALIZATION] = "SERIALIZATION",
    [NAQ_TOO_LARGE] = "TOO_LARGE",
    [NAQ_JOB_NOT_FOUND] = "JOB_NOT_FOUND",
    [NAQ_NOT_FINISHED] = "NOT_FINISHED",
    [NAQ_EXPIRED] = "EXPIRED",
    [NAQ_JOB_FAILED] = "JOB_FAILED",
    [NAQ_JOB_CANCELLED] = "JOB_CANCELLED",
    [NAQ_DUPLICATE] = "DUPLICATE",
    [NAQ_QUEUE_FULL] = "QUEUE_FULL",
    [NAQ_KEY_NOT_FOUND] = "KEY_NOT_FOUND",
    [NAQ_KEY_EXISTS] = "KEY_EXISTS",
    [NAQ_WRONG_REVISION] = "WRONG_REVISION",
    [NAQ_NOT_LEADER] = "NOT_LEADER",
    [NAQ_FORKED] = "FORKED",
    [NAQ_CLOSED] = "CLOSED",
    [NAQ_UNSUPPORTED] = "UNSUPPORTED",
    [NAQ_INVALID] = "INVALID",
    [NAQ_JOB_ERROR] = "JOB_ERROR",
    [NAQ_JOB_STUCK] = "JOB_STUCK",
    [NAQ_JOB_CRASHED] = "JOB_CRASHED",
    [NAQ_UNKNOWN_JOB] = "UNKNOWN_JOB",
    [NAQ_UNDECODABLE] = "UNDECODABLE",
};

naq_status naq_fail(naq_err *err, naq_status status, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    err->status = status;
    (void)vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return status;
}

naq_status naq_wrap(naq_err *err, const char *fmt, ...) {
    char cause[sizeof err->message];
    memcpy(cause, err->message, sizeof cause);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    size_t room = sizeof err->message;
    if (n >= 0 && (size_t)n + 3 < room) {
        char *at = err->message + n;
        room -= (size_t)n + 3; /* ": " and the NUL */
        size_t len = strnlen(cause, sizeof cause);
        if (len > room) len = room;
        memcpy(at, ": ", 2);
        memcpy(at + 2, cause, len);
        at[2 + len] = '\0';
    }
    return err->status;
}

const char *naq_status_code(naq_status status) {
    return (unsigned)status < NAQ_STATUS_COUNT ? CODES[status] : "INVALID";
}
