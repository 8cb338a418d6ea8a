/* greeting.c -- one TCP connection that only listens: the INFO line is sent before TLS and login.
 */
#include "base/greeting.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { GREETING_MAX = 65536 };

static bool ready(int fd, short events, int64_t end_ms) {
    for (;;) {
        int64_t left = end_ms - naq_mono_ms();
        if (left <= 0) return false;
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, (int)left);
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
}

/* The socket, or -1 and why. */
static int dial(const char *host, const char *port, int64_t end_ms, naq_greeting *why) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    *why = NAQ_GREETING_NO_NAME;
    if (getaddrinfo(host, port, &hints, &found) != 0) return -1;
    int fd = -1;
    for (struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
        *why = NAQ_GREETING_NOBODY;
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        int failed = 0;
        socklen_t size = sizeof failed;
        bool up = connect(fd, a->ai_addr, a->ai_addrlen) == 0;
        if (!up && errno == EINPROGRESS) {
            if (!ready(fd, POLLOUT, end_ms)) *why = NAQ_GREETING_SILENT;
            up = *why != NAQ_GREETING_SILENT &&
                 getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) == 0 && failed == 0;
        }
        if (!up) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

naq_greeting naq_greeting_read(const char *host, const char *port, int64_t timeout_ms,
                               naq_buf *said) {
    int64_t end = naq_mono_ms() + timeout_ms;
    naq_greeting why;
    int fd = dial(host, port, end, &why);
    if (fd < 0) return why;
    naq_buf line = {0};
    const char *eol = NULL;
    bool hung_up = false;
    while (eol == NULL && line.len < GREETING_MAX && ready(fd, POLLIN, end)) {
        char *to = naq_buf_reserve(&line, 4096);
        if (to == NULL) break;
        ssize_t n = recv(fd, to, 4096, 0);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        hung_up = n <= 0;
        if (hung_up) break;
        line.len += (size_t)n;
        eol = memchr(line.data, '\n', line.len);
    }
    close(fd);
    size_t n = eol != NULL ? (size_t)(eol - line.data) : line.len;
    if (eol != NULL && n > 5 && memcmp(line.data, "INFO ", 5) == 0) {
        why = NAQ_GREETING_READ;
        naq_buf_put(said, line.data + 5, n - 5);
    } else if (n > 0) {
        why = NAQ_GREETING_FOREIGN;
        naq_buf_put(said, line.data, n);
    } else {
        why = hung_up ? NAQ_GREETING_HUNG_UP : NAQ_GREETING_SILENT;
    }
    naq_buf_free(&line);
    return why;
}
