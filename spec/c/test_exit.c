/* test_exit.c -- a process that ends with connections: they are closed in order, and no thread of
 * libnats' is overtaken. Each case ends a child, which is the first there to use libnats. */
#include <nats/nats.h>
#include <stdatomic.h>

#include "check.h"
#include "nats/inbox.h"
#include "nats/pool.h"
#include "process.h"
#include "stub_server.h"

static naq_status acquire(naq_conn **out, const char *url, const char *user, naq_err *err) {
    const char *servers[] = {url, NULL};
    naq_conn_options o = {
        .servers = servers, .user = user, .password = user, .connection_timeout_ms = 500};
    return naq_pool_acquire(out, &o, err);
}

static bool one_published(void *ctx) {
    return atomic_load(&((server *)ctx)->published) == 1;
}

static usage at_start;
static bool counts_at_end;

/* Behind the pool's own handler, which it was registered before. */
static void count_what_is_left(void) {
    if (counts_at_end && usage_now().threads > at_start.threads) _exit(4);
}

static bool lost(void *ctx) {
    return naq_conn_lost(ctx);
}

/* What libnats keeps for a thread has no place any more once its own handler ran. */
static void leaves_no_thread_without_a_server(void) {
    server s;
    server_listen(&s, false);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(s.fd); /* or it would go on to accept */
        at_start = usage_now();
        counts_at_end = true;
        naq_conn *c = NULL;
        naq_err err;
        if (acquire(&c, s.url, NULL, &err) != NAQ_OK) _exit(1);
        (void)naq_conn_publish(c, "last", "x", 1, &err);
        if (!eventually(lost, c)) _exit(2);
        exit(0);
    }
    server_serve(&s);
    CHECK(eventually(one_published, &s));
    server_stop(&s);
    CHECK(ends_well(child));
}

static atomic_bool handed_over, exiting;

static void begin_to_exit(void) {
    atomic_store(&exiting, true);
}

static bool is_set(void *flag) {
    return atomic_load((atomic_bool *)flag);
}

/* libnats' own threads are three, and one that delivers. */
static bool alone(void) {
    return usage_now().threads <= at_start.threads + 1;
}

static void on_gift(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *ctx) {
    (void)nc, (void)sub, (void)ctx;
    atomic_store(&handed_over, true);
    if (!eventually(is_set, &exiting)) _exit(6);
    /* Far less than the exit waits. */
    for (int64_t end = naq_mono_ms() + 20; naq_mono_ms() < end; usleep(1000))
        if (alone()) _exit(5);
    natsMsg_Destroy(m);
}

static void over(void *ctx) {
    (void)ctx;
}

/* A message is freed by libnats' collector, which must not end before the one who had it. */
static void waits_for_who_delivers(void) {
    server s;
    server_listen(&s, false);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(s.fd);
        at_start = usage_now();
        counts_at_end = true;
        naq_conn *c = NULL;
        natsSubscription *sub = NULL;
        naq_err err;
        if (acquire(&c, s.url, NULL, &err) != NAQ_OK) _exit(1);
        atexit(begin_to_exit); /* behind the pool's, so that it runs before */
        if (naq_listen(c, "gift", NULL, on_gift, over, NULL, &sub) != NATS_OK) _exit(2);
        if (!eventually(is_set, &handed_over)) _exit(3);
        naq_unsubscribe(c, sub);
        exit(0);
    }
    server_serve(&s);
    CHECK(ends_well(child));
    server_stop(&s);
}

static void on_reconnected(void *ctx) {
    (void)ctx;
    atomic_store(&handed_over, true);
    if (!eventually(is_set, &exiting)) _exit(6);
    usleep(20000); /* far less than the exit waits, and more than libnats' collector takes to end */
}

/* What waited to be sent is freed when libnats says that its connection is closed, on a thread that
 * says many things. LeakSanitizer tells. */
static void frees_what_waited_to_be_sent(void) {
    server dying, other;
    server_listen(&dying, false);
    server_listen(&other, false);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(dying.fd);
        close(other.fd);
        naq_conn *c = NULL, *busy = NULL;
        naq_conn_listener slow = {.reconnected = on_reconnected};
        naq_err err;
        if (acquire(&c, dying.url, NULL, &err) != NAQ_OK) _exit(1);
        if (acquire(&busy, other.url, NULL, &err) != NAQ_OK) _exit(1);
        naq_conn_listen(busy, &slow);
        atexit(begin_to_exit); /* behind the pool's, so that it runs before */
        (void)naq_conn_publish(c, "first", "x", 1, &err);
        if (!eventually(lost, c)) _exit(2);
        for (int i = 0; i < 50; i++) /* of one a trace may be left on a stack */
            if (naq_conn_publish(c, "later", "x", 1, &err) != NAQ_OK) _exit(3);
        (void)naq_conn_publish(busy, "now", "x", 1, &err);
        if (!eventually(is_set, &handed_over)) _exit(4);
        naq_pool_release(c);
        naq_pool_release(busy);
        exit(0);
    }
    server_serve(&dying);
    server_serve(&other);
    CHECK(eventually(one_published, &dying));
    server_stop(&dying);
    CHECK(eventually(one_published, &other));
    atomic_store(&other.hang_up, true);
    CHECK(ends_well(child));
    server_stop(&other);
}

static void exits_with_connections_open(void) {
    server s;
    server_listen(&s, false);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        naq_conn *held = NULL, *idle = NULL;
        naq_err err;
        if (acquire(&held, s.url, NULL, &err) != NAQ_OK) _exit(1);
        if (acquire(&idle, s.url, "ada", &err) != NAQ_OK) _exit(2);
        if (naq_conn_publish(idle, "here", "x", 1, &err) != NAQ_OK) _exit(3);
        naq_pool_release(idle);
        exit(0);
    }
    server_serve(&s);
    CHECK(ends_well(child));
    CHECK(eventually(one_published, &s));
    CHECK(eventually(nobody_left, &s));
    server_stop(&s);
}

int main(void) {
    (void)atexit(count_what_is_left);
    run("a process exits in order with connections open", exits_with_connections_open);
    run("a process exits without a thread that reconnects", leaves_no_thread_without_a_server);
    run("a process exits without what waited to be sent", frees_what_waited_to_be_sent);
    run("a process exits behind who delivers a message", waits_for_who_delivers);
    return failures == 0 ? 0 : 1;
}
