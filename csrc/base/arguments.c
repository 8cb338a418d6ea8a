/* arguments.c -- see arguments.h. The kernel shows the memory between arg_start and arg_end, which
 * is the process's own to write. */
#include "base/arguments.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Fields 48 and 49 of /proc/self/stat; the second may hold spaces, and ends with the last ')'. */
static char *bounds(size_t *n) {
    char text[2048];
    unsigned long start = 0, end = 0;
    FILE *f = fopen("/proc/self/stat", "re");
    if (f == NULL) return NULL;
    size_t got = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[got] = '\0';
    char *at = strrchr(text, ')');
    for (int field = 3; at != NULL && field <= 48; field++) {
        at = strchr(at + 1, ' ');
        if (field == 48 && at != NULL && sscanf(at, "%lu %lu", &start, &end) != 2) at = NULL;
    }
    if (at == NULL || start == 0 || end <= start) return NULL;
    *n = end - start;
    return (char *)(uintptr_t)start;
}

void naq_arguments_hide(const char *text) {
    size_t len = strlen(text), n = 0;
    char *at = len > 0 ? bounds(&n) : NULL;
    if (at == NULL) return;
    char *end = at + n;
    while ((at = memmem(at, (size_t)(end - at), text, len)) != NULL) {
        memset(at, '*', len);
        at += len;
    }
}
