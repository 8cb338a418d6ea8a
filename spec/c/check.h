/* check.h -- what a C test needs: named cases, checks that go on after a failure, an exit status.
 */
#ifndef NAQ_SPEC_CHECK_H
#define NAQ_SPEC_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

static int failures_in_case, failures;

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
#define CHECK_TEXT(expected, text, len) check_text((expected), (text), (len), __FILE__, __LINE__)
#define CHECK_BUF(expected, buf) CHECK_TEXT((expected), (buf)->data, (buf)->len)

static inline bool check(bool ok, const char *what, const char *file, int line) {
    if (!ok) {
        failures_in_case++;
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    }
    return ok;
}

static inline bool check_text(const char *expected, const char *text, size_t len, const char *file,
                              int line) {
    bool same = strlen(expected) == len && (len == 0 || memcmp(expected, text, len) == 0);
    if (!same) {
        failures_in_case++;
        fprintf(stderr, "%s:%d: expected %s\n  got %.*s\n", file, line, expected, (int)len,
                len == 0 ? "" : text);
    }
    return same;
}

static inline void run(const char *name, void (*body)(void)) {
    failures_in_case = 0;
    body();
    failures += failures_in_case;
    printf("%s %s\n", failures_in_case == 0 ? "ok  " : "FAIL", name);
}

#endif
