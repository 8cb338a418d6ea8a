/* stub_server.h -- a server that speaks just enough of NATS to be connected to, and counts: INFO, a
 * PONG for each PING, what is published; to who subscribes to "gift" it sends one message. It can
 * be mute, and hang up. */
#ifndef NAQ_SPEC_STUB_SERVER_H
#define NAQ_SPEC_STUB_SERVER_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 64 };

static const char INFO[] = "INFO {\"server_id\":\"TEST\",\"server_name\":\"test\",\"version\":"
                           "\"2.9.10\",\"headers\":true,\"max_payload\":1048576}\r\n";

typedef struct server {
    int fd;
    char url[64];
    bool mute;
    atomic_int accepted; /* so far */
    atomic_int open;     /* now */
    atomic_int published;
    atomic_bool hang_up; /* on all who are there */
    atomic_bool stop;
    pthread_t thread;
} server;

static bool give(int fd, const char *text) {
    char message[64];
    int sid = 0;
    const char *at = strstr(text, "SUB gift ");
    if (at == NULL || sscanf(at, "SUB gift %d", &sid) != 1) return true;
    int n = snprintf(message, sizeof message, "MSG gift %d 1\r\nx\r\n", sid);
    return send(fd, message, (size_t)n, MSG_NOSIGNAL) == n;
}

static bool answer(server *s, int fd) {
    char text[4096];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    if (n <= 0) return false;
    text[n] = '\0';
    for (const char *at = text; (at = strstr(at, "PUB ")) != NULL; at += 4)
        atomic_fetch_add(&s->published, 1);
    if (!give(fd, text)) return false;
    for (const char *at = text; (at = strstr(at, "PING\r\n")) != NULL; at += 6)
        if (send(fd, "PONG\r\n", 6, MSG_NOSIGNAL) != 6) return false;
    return true;
}

static void welcome(server *s, struct pollfd *fds, nfds_t *n) {
    int fd = accept(s->fd, NULL, NULL);
    if (fd < 0 || *n > CLIENTS) return;
    atomic_fetch_add(&s->accepted, 1);
    atomic_fetch_add(&s->open, 1);
    if (!s->mute) (void)!send(fd, INFO, sizeof INFO - 1, MSG_NOSIGNAL);
    fds[(*n)++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void *serve(void *arg) {
    server *s = arg;
    struct pollfd fds[CLIENTS + 1] = {{.fd = s->fd, .events = POLLIN}};
    nfds_t n = 1;
    while (!atomic_load(&s->stop)) {
        int ready = poll(fds, n, 10);
        bool gone = atomic_exchange(&s->hang_up, false);
        if (ready <= 0 && !gone) continue;
        for (nfds_t i = n; i-- > 1;)
            if ((gone || fds[i].revents != 0) && (gone || !answer(s, fds[i].fd))) {
                close(fds[i].fd);
                fds[i] = fds[--n];
                atomic_fetch_sub(&s->open, 1);
            }
        if (fds[0].revents != 0) welcome(s, fds, &n);
    }
    while (n-- > 1)
        close(fds[n].fd);
    return NULL;
}

static inline bool nobody_left(void *ctx) {
    return atomic_load(&((server *)ctx)->open) == 0;
}

/* In two steps for who forks in between. */
static inline void server_listen(server *s, bool mute) {
    memset(s, 0, sizeof *s);
    s->mute = mute;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(s->fd, CLIENTS) != 0 || getsockname(s->fd, (struct sockaddr *)&a, &size) != 0)
        abort();
    snprintf(s->url, sizeof s->url, "nats://127.0.0.1:%d", ntohs(a.sin_port));
}

static inline void server_serve(server *s) {
    if (pthread_create(&s->thread, NULL, serve, s) != 0) abort();
}

static inline void server_start(server *s, bool mute) {
    server_listen(s, mute);
    server_serve(s);
}

static inline void server_stop(server *s) {
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

#endif
