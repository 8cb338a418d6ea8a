/* surroundings.c -- a hash (FNV-1a) over the environment and what stat() says of files. */
#include "base/surroundings.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* File systems count time in ticks; some, in seconds. */
enum { YOUNG_S = 2 };

static void add(uint64_t *hash, const void *data, size_t len) {
    const unsigned char *at = data;
    for (size_t i = 0; i < len; i++)
        *hash = (*hash ^ at[i]) * UINT64_C(1099511628211);
}

static bool add_file(uint64_t *hash, const char *path, int64_t now) {
    struct stat s;
    if (stat(path, &s) != 0) {
        add(hash, "", 1);
        return true;
    }
    int64_t facts[] = {(int64_t)s.st_dev,          (int64_t)s.st_ino,
                       (int64_t)s.st_size,         (int64_t)s.st_mtim.tv_sec,
                       (int64_t)s.st_mtim.tv_nsec, (int64_t)s.st_ctim.tv_sec,
                       (int64_t)s.st_ctim.tv_nsec};
    add(hash, facts, sizeof facts);
    return now - s.st_ctim.tv_sec > YOUNG_S || s.st_ctim.tv_sec - now > YOUNG_S;
}

bool naq_surroundings_mark(const char *const *paths, size_t n, uint64_t *mark) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++)
        add(&hash, *variable, strlen(*variable) + 1);
    int64_t now = (int64_t)time(NULL);
    bool settled = true;
    for (size_t i = 0; i < n; i++) {
        add(&hash, paths[i], strlen(paths[i]) + 1);
        if (!add_file(&hash, paths[i], now)) settled = false;
    }
    *mark = hash;
    return settled;
}
