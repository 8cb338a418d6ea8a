/* tempdir.c -- temporary directories. Removing walks by directory descriptors, never by path, so
 * that nothing renamed or linked meanwhile can lead it elsewhere. */
#include "base/tempdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Deeper trees are refused: each level holds a descriptor. */
enum { DEPTH_MAX = 64 };

static const char *temporary_folder(size_t *len) {
    const char *t = getenv("TMPDIR");
    if (t == NULL || t[0] != '/') t = "/tmp";
    *len = strlen(t);
    while (*len > 1 && t[*len - 1] == '/')
        (*len)--;
    return t;
}

naq_status naq_tempdir_make(const char *prefix, char *out, size_t size, naq_err *err) {
    size_t n;
    const char *root = temporary_folder(&n);
    if ((size_t)snprintf(out, size, "%.*s/%s-XXXXXX", (int)n, root, prefix) >= size)
        return naq_fail(err, NAQ_INVALID, "temporary directory: name too long");
    if (mkdtemp(out) == NULL)
        return naq_fail(err, NAQ_INVALID, "temporary directory %s: %s", out, strerror(errno));
    return NAQ_OK;
}

/* Empty the directory fd, which it closes. Returns 0, or -1 with errno set. */
static int empty_directory(int fd, int depth) {
    DIR *d = depth < DEPTH_MAX ? fdopendir(fd) : NULL;
    if (d == NULL) {
        if (depth >= DEPTH_MAX) errno = ELOOP;
        int code = errno;
        close(fd);
        errno = code;
        return -1;
    }
    int failed = 0;
    for (struct dirent *e; failed == 0 && (errno = 0, e = readdir(d)) != NULL;) {
        const char *name = e->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        int flags = 0;
        int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0) {
            failed = empty_directory(inner, depth + 1);
            flags = AT_REMOVEDIR;
        } else if (errno != ENOTDIR && errno != ELOOP && errno != ENOENT) {
            failed = -1;
        }
        if (failed == 0 && unlinkat(fd, name, flags) != 0 && errno != ENOENT) failed = -1;
    }
    int code = errno;
    closedir(d);
    errno = code;
    return failed;
}

naq_status naq_tempdir_remove(const char *path, naq_err *err) {
    size_t n;
    const char *root = temporary_folder(&n);
    if (strncmp(path, root, n) != 0 || path[n] != '/' || path[n + strspn(path + n, "/")] == '\0')
        return naq_fail(err, NAQ_INVALID, "%s: not below the temporary folder %.*s, not removed",
                        path, (int)n, root);
    char start[PATH_MAX];
    if ((size_t)snprintf(start, sizeof start, "%.*s", (int)n, root) >= sizeof start)
        return naq_fail(err, NAQ_INVALID, "%s: name too long", path);
    int parent = open(start, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return naq_fail(err, NAQ_INVALID, "%s: %s", start, strerror(errno));

    /* One component after the other, so that none of them may be a link or lead upwards. */
    const char *at = path + n;
    for (;;) {
        at += strspn(at, "/");
        size_t len = strcspn(at, "/");
        char name[NAME_MAX + 1];
        int code = len > NAME_MAX ? ENAMETOOLONG : 0;
        if ((len == 1 && at[0] == '.') || (len == 2 && memcmp(at, "..", 2) == 0)) code = EINVAL;
        int inner = -1;
        if (code == 0) {
            memcpy(name, at, len);
            name[len] = '\0';
            inner = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (inner < 0) code = errno;
        }
        at += len;
        bool last = at[strspn(at, "/")] == '\0';
        if (code == 0 && last) {
            if (empty_directory(inner, 0) != 0 ||
                (unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT))
                code = errno;
        }
        close(parent);
        if (code == ENOENT) return NAQ_OK;
        if (code != 0) return naq_fail(err, NAQ_INVALID, "remove %s: %s", path, strerror(code));
        if (last) return NAQ_OK;
        parent = inner;
    }
}
