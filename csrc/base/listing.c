/* listing.c -- walks a directory tree, depth first, each level sorted by name. */
#include "base/listing.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 32 }; /* a link to a parent directory must not be followed for ever */

static bool ends_in(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && strcmp(name + n - m, suffix) == 0;
}

static naq_status walk(const char *root, const char *below, int depth, const char *suffix,
                       naq_buf *out, naq_err *err) {
    char path[PATH_MAX], rest[PATH_MAX];
    struct dirent **entries = NULL;
    if (snprintf(path, sizeof path, "%s/%s", root, below) >= (int)sizeof path || depth > DEPTH_MAX)
        return naq_fail(err, NAQ_CONFIGURATION, "directory %s: nested too deep", root);
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) return naq_fail(err, NAQ_CONFIGURATION, "directory %s: %s", path, strerror(errno));
    naq_status status = NAQ_OK;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        struct stat info;
        bool fits = snprintf(rest, sizeof rest, "%s%s%s", below, *below != '\0' ? "/" : "", name) <
                        (int)sizeof rest &&
                    snprintf(path, sizeof path, "%s/%s", root, rest) < (int)sizeof path;
        if (status == NAQ_OK && fits && name[0] != '.' && stat(path, &info) == 0) {
            if (S_ISDIR(info.st_mode))
                status = walk(root, rest, depth + 1, suffix, out, err);
            else if (S_ISREG(info.st_mode) && ends_in(name, suffix))
                naq_buf_put(out, rest, strlen(rest) + 1);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

naq_status naq_list_files(const char *dir, const char *suffix, naq_buf *out, naq_err *err) {
    naq_status status = walk(dir, "", 0, suffix, out, err);
    if (status == NAQ_OK && out->failed)
        status = naq_fail(err, NAQ_CONFIGURATION, "directory %s: out of memory", dir);
    return status;
}
