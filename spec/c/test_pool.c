/* test_pool.c -- the connection pool against a server of its own that counts who comes.
 *
 * The server speaks just enough of NATS to be connected to: INFO, and PONG for each PING. The part
 * about the fork comes last: the child must not touch what the parent's threads left. */
#include <arpa/inet.h>
#include <dirent.h>
#include <nats/nats.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "nats/pool.h"

enum { CLIENTS = 64, THREADS = 50, PATIENCE_MS = 10000 };

static const char INFO[] = "INFO {\"server_id\":\"TEST\",\"server_name\":\"test\",\"version\":"
                           "\"2.9.10\",\"headers\":true,\"max_payload\":1048576}\r\n";

/* ---- the server ---- */

typedef struct server {
    int fd;
    char url[64];
    bool mute;
    atomic_int accepted; /* so far */
    atomic_int open;     /* now */
    atomic_bool stop;
    pthread_t thread;
} server;

static bool answer(int fd) {
    char text[4096];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    if (n <= 0) return false;
    text[n] = '\0';
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
        if (poll(fds, n, 10) <= 0) continue;
        for (nfds_t i = n; i-- > 1;)
            if (fds[i].revents != 0 && !answer(fds[i].fd)) {
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

static void server_start(server *s, bool mute) {
    memset(s, 0, sizeof *s);
    s->mute = mute;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(s->fd, CLIENTS) != 0 || getsockname(s->fd, (struct sockaddr *)&a, &size) != 0 ||
        pthread_create(&s->thread, NULL, serve, s) != 0)
        abort();
    snprintf(s->url, sizeof s->url, "nats://127.0.0.1:%d", ntohs(a.sin_port));
}

static void server_stop(server *s) {
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

/* ---- helpers ---- */

static bool eventually(bool (*holds)(void *ctx), void *ctx) {
    int64_t end = naq_mono_ms() + PATIENCE_MS;
    while (!holds(ctx)) {
        if (naq_mono_ms() > end) return false;
        usleep(1000);
    }
    return true;
}

static bool nobody_left(void *ctx) {
    return atomic_load(&((server *)ctx)->open) == 0;
}

static int entries_of(const char *path) {
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

static usage usage_now(void) {
    return (usage){entries_of("/proc/self/fd"), entries_of("/proc/self/task")};
}

static bool back_to(void *ctx) {
    const usage *before = ctx;
    usage now = usage_now();
    return now.fds <= before->fds && now.threads <= before->threads;
}

static naq_status acquire(naq_conn **out, const char *url, const char *user, naq_err *err) {
    const char *servers[] = {url, NULL};
    naq_conn_options o = {
        .servers = servers, .user = user, .password = user, .connection_timeout_ms = 500};
    return naq_pool_acquire(out, &o, err);
}

typedef struct client {
    pthread_t thread;
    pthread_barrier_t *begin;
    const char *url;
    naq_conn *conn;
    naq_status status;
    naq_err err;
} client;

static void *connect_one(void *arg) {
    client *c = arg;
    pthread_barrier_wait(c->begin);
    c->status = acquire(&c->conn, c->url, NULL, &c->err);
    return NULL;
}

static void connect_all(client *clients, int n, const char *url) {
    pthread_barrier_t begin;
    pthread_barrier_init(&begin, NULL, (unsigned)n);
    for (int i = 0; i < n; i++) {
        clients[i] = (client){.begin = &begin, .url = url};
        if (pthread_create(&clients[i].thread, NULL, connect_one, &clients[i]) != 0) abort();
    }
    for (int i = 0; i < n; i++)
        pthread_join(clients[i].thread, NULL);
    pthread_barrier_destroy(&begin);
}

/* ---- cases ---- */

static void one_connection_for_all(void) {
    server s;
    server_start(&s, false);
    static client clients[THREADS];
    connect_all(clients, THREADS, s.url);
    for (int i = 0; i < THREADS; i++) {
        CHECK(clients[i].status == NAQ_OK);
        CHECK(clients[i].conn == clients[0].conn);
    }
    CHECK(atomic_load(&s.accepted) == 1);
    for (int i = 1; i < THREADS; i++)
        naq_pool_release(clients[i].conn);
    naq_err err;
    CHECK(naq_conn_up(clients[0].conn));
    CHECK(naq_conn_flush(clients[0].conn, 1000, &err) == NAQ_OK);
    naq_pool_release(clients[0].conn);
    CHECK(eventually(nobody_left, &s));
    server_stop(&s);
}

static void other_credentials_other_connection(void) {
    server s;
    server_start(&s, false);
    naq_conn *a = NULL, *b = NULL, *again = NULL;
    naq_err err;
    CHECK(acquire(&a, s.url, "ada", &err) == NAQ_OK);
    CHECK(acquire(&b, s.url, "bob", &err) == NAQ_OK);
    CHECK(acquire(&again, s.url, "ada", &err) == NAQ_OK);
    CHECK(a != b && a == again);
    CHECK(atomic_load(&s.accepted) == 2);
    naq_pool_release(a);
    naq_pool_release(again);
    naq_pool_release(b);
    naq_pool_release(NULL);
    CHECK(eventually(nobody_left, &s));
    server_stop(&s);
}

static void the_last_release_leaves_nothing(void) {
    server s;
    server_start(&s, false);
    naq_conn *c = NULL;
    naq_err err;
    CHECK(acquire(&c, s.url, NULL, &err) == NAQ_OK); /* libnats' own threads start here and stay */
    naq_pool_release(c);
    CHECK(eventually(nobody_left, &s));
    usage before = usage_now();
    for (int i = 0; i < 20; i++) {
        CHECK(acquire(&c, s.url, NULL, &err) == NAQ_OK);
        naq_pool_release(c);
    }
    CHECK(eventually(nobody_left, &s));
    CHECK(atomic_load(&s.accepted) == 21);
    CHECK(eventually(back_to, &before));
    server_stop(&s);
}

static void all_hear_of_one_failure(void) {
    server s;
    server_start(&s, true);
    static client clients[8];
    int64_t begin = naq_mono_ms();
    connect_all(clients, 8, s.url);
    CHECK(naq_mono_ms() - begin < 2000);
    for (int i = 0; i < 8; i++) {
        CHECK(clients[i].status == NAQ_TIMEOUT);
        CHECK(strstr(clients[i].err.message, s.url) != NULL);
    }
    CHECK(atomic_load(&s.accepted) == 1);
    server_stop(&s);

    naq_conn *c = NULL;
    naq_err err;
    CHECK(acquire(&c, s.url, NULL, &err) == NAQ_CONNECTION); /* nothing listens any more */
}

static void no_secret_is_printed(void) {
    const char *servers[] = {"nats://ada:p@ss@one:4222", "two:4223", "tls://token@three", NULL};
    naq_conn_options o = {.servers = servers};
    char text[128];
    naq_conn_servers_public(&o, text, sizeof text);
    CHECK_TEXT("nats://one:4222, nats://two:4223, tls://three", text, strlen(text));
}

static int in_the_child(naq_conn *before, const char *url) {
    naq_err err;
    naq_conn *c = NULL;
    if (naq_pool_check(before, &err) != NAQ_FORKED) return 1;
    if (acquire(&c, url, NULL, &err) != NAQ_FORKED) return 2;
    if (acquire(&c, "nats://127.0.0.1:1", NULL, &err) != NAQ_FORKED) return 3;
    naq_pool_release(before); /* must do nothing, and return */
    return 0;
}

static void a_fork_is_refused(void) {
    server s;
    server_start(&s, false);
    naq_conn *c = NULL;
    naq_err err;
    CHECK(acquire(&c, s.url, NULL, &err) == NAQ_OK);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) _exit(in_the_child(c, s.url));
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(naq_pool_check(c, &err) == NAQ_OK);
    CHECK(naq_conn_flush(c, 1000, &err) == NAQ_OK); /* the child closed nothing of ours */
    naq_pool_release(c);
    CHECK(eventually(nobody_left, &s));
    server_stop(&s);
}

int main(void) {
    run("fifty threads share one connection", one_connection_for_all);
    run("other credentials have their own", other_credentials_other_connection);
    run("the last release leaves no descriptor or thread", the_last_release_leaves_nothing);
    run("a failed opening is told to all who waited", all_hear_of_one_failure);
    run("no secret is printed", no_secret_is_printed);
    run("a connection from before a fork is refused", a_fork_is_refused);
    nats_CloseAndWait(2000); /* so that a leak checker sees what is left */
    return failures == 0 ? 0 : 1;
}
