/* test_pool.c -- the connection pool against a server of its own that counts who comes.
 *
 * The case that forks comes last: its child must not touch what the parent's threads left. */
#include <malloc.h>
#include <nats/nats.h>

#include "base/clock.h"
#include "check.h"
#include "nats/pool.h"
#include "process.h"
#include "stub_server.h"

enum { THREADS = 50 };

/* ---- helpers ---- */

static bool back_to(void *ctx) {
    const usage *before = ctx;
    usage now = usage_now();
    return now.fds <= before->fds && now.threads <= before->threads;
}

static int pool_size = 1;

static naq_status acquire(naq_conn **out, const char *url, const char *user, naq_err *err) {
    const char *servers[] = {url, NULL};
    naq_conn_options o = {.servers = servers,
                          .user = user,
                          .password = user,
                          .connection_timeout_ms = 500,
                          .pool_size = pool_size};
    return naq_pool_acquire(out, &o, err);
}

/* The numbers of all keys together. */
static naq_pool_stats sums(void) {
    naq_pool_stats total;
    (void)naq_pool_stats_read(&total, NULL, 0);
    return total;
}

static void close_server(server *s) {
    const char *servers[] = {s->url, NULL};
    (void)naq_pool_close(servers);
    CHECK(eventually(nobody_left, s));
    server_stop(s);
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
    for (int i = 0; i < THREADS; i++)
        naq_pool_release(clients[i].conn);
    close_server(&s);
}

static void spread_over_four(void) {
    server s;
    server_start(&s, false);
    static client clients[THREADS];
    naq_pool_stats before = sums();
    pool_size = 4;
    connect_all(clients, THREADS, s.url);
    pool_size = 1;
    CHECK(atomic_load(&s.accepted) == 4);
    for (int i = 0; i < THREADS; i++) {
        int sharing = 0;
        CHECK(clients[i].status == NAQ_OK);
        for (int j = 0; j < THREADS; j++)
            sharing += clients[j].conn == clients[i].conn;
        CHECK(sharing == THREADS / 4 || sharing == THREADS / 4 + 1);
    }
    naq_pool_stats now = sums();
    CHECK(now.opened - before.opened == 4);
    CHECK(now.reused - before.reused == THREADS - 4);
    CHECK(now.open == 4 && now.active == 4 && now.users == THREADS);
    CHECK(now.connect_us > before.connect_us && now.last_connect_us > 0);
    for (int i = 0; i < THREADS; i++)
        naq_pool_release(clients[i].conn);
    now = sums();
    CHECK(now.open == 4 && now.active == 0 && now.users == 0);
    close_server(&s);
    CHECK(sums().open == 0);
}

static void the_same_one_again(void) {
    server s;
    server_start(&s, false);
    static client other[1];
    naq_conn *a = NULL, *b = NULL;
    naq_err err;
    pool_size = 4;
    CHECK(acquire(&a, s.url, NULL, &err) == NAQ_OK);
    CHECK(acquire(&b, s.url, NULL, &err) == NAQ_OK);
    CHECK(a == b); /* one thread, one connection */
    connect_all(other, 1, s.url);
    CHECK(other[0].conn != a); /* another thread has its own while there is room */
    CHECK(atomic_load(&s.accepted) == 2);
    naq_pool_release(a);
    naq_pool_release(b);
    naq_pool_release(other[0].conn);
    CHECK(acquire(&b, s.url, NULL, &err) == NAQ_OK);
    CHECK(a == b); /* of two idle ones that which it had */
    naq_pool_release(b);
    CHECK(atomic_load(&s.accepted) == 2);
    pool_size = 1;
    close_server(&s);
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
    close_server(&s);
}

static void other_settings_while_there_is_room(void) {
    server s;
    server_start(&s, false);
    const char *servers[] = {s.url, NULL};
    naq_conn_options plain = {.servers = servers, .pool_size = 2};
    naq_conn_options named = {.servers = servers, .pool_size = 2, .name = "other"};
    naq_conn_options quick = {.servers = servers, .pool_size = 2, .ping_interval_ms = 100};
    naq_conn *a = NULL, *b = NULL, *c = NULL;
    naq_err err;
    CHECK(naq_pool_acquire(&a, &plain, &err) == NAQ_OK);
    CHECK(naq_pool_acquire(&b, &named, &err) == NAQ_OK);
    CHECK(a != b);
    CHECK(naq_pool_acquire(&c, &quick, &err) == NAQ_OK);
    CHECK(c == a || c == b); /* no room, and nothing idle: shared */
    naq_pool_release(c);
    naq_pool_release(a);
    naq_pool_release(b);
    CHECK(naq_pool_acquire(&c, &quick, &err) == NAQ_OK); /* takes the place of an idle one */
    CHECK(atomic_load(&s.accepted) == 3);
    CHECK(sums().open == 2);
    naq_pool_release(c);
    close_server(&s);
}

typedef struct user {
    pthread_t thread;
    const char *url;
    int rounds, failed, closed;
} user;

static void *use(void *arg) {
    user *u = arg;
    for (int i = 0; i < u->rounds; i++) {
        naq_conn *c = NULL;
        naq_err err;
        if (acquire(&c, u->url, NULL, &err) != NAQ_OK) {
            u->failed++;
            continue;
        }
        naq_status status = naq_pool_check(c, &err);
        if (status == NAQ_OK) status = naq_conn_flush(c, 5000, &err);
        if (status == NAQ_CLOSED)
            u->closed++;
        else if (status != NAQ_OK)
            u->failed++;
        naq_pool_release(c);
    }
    return NULL;
}

enum { USERS = 16, ROUNDS = 625, LONG_ROUNDS = 10000 }; /* 10,000 together, or each */

static void use_all(user *users, const char *url, int rounds) {
    for (int i = 0; i < USERS; i++) {
        users[i] = (user){.url = url, .rounds = rounds};
        if (pthread_create(&users[i].thread, NULL, use, &users[i]) != 0) abort();
    }
}

static void join_all(user *users) {
    for (int i = 0; i < USERS; i++)
        pthread_join(users[i].thread, NULL);
}

static void rounds_leave_nothing(void) {
    server s;
    server_start(&s, false);
    static user users[USERS];
    pool_size = 4;
    use_all(users, s.url, 10); /* libnats' own threads start here and stay; and arenas do */
    join_all(users);
    usage before = usage_now();
    size_t bytes = mallinfo2().uordblks;
    const char *scale = getenv("NAQ_TEST_SCALE");
    bool full = scale != NULL && strcmp(scale, "full") == 0;
    use_all(users, s.url, full ? LONG_ROUNDS : ROUNDS);
    join_all(users);
    for (int i = 0; i < USERS; i++)
        CHECK(users[i].failed == 0 && users[i].closed == 0);
    CHECK(eventually(back_to, &before));
    size_t now = mallinfo2().uordblks;
    CHECK(now < bytes + 65536);
    CHECK(atomic_load(&s.accepted) <= 4);
    pool_size = 1;
    close_server(&s);
}

static void all_hear_of_one_failure(void) {
    server s;
    server_start(&s, true);
    static client clients[8];
    naq_pool_stats before = sums();
    int64_t begin = naq_mono_ms();
    connect_all(clients, 8, s.url);
    CHECK(naq_mono_ms() - begin < 2000);
    for (int i = 0; i < 8; i++) {
        CHECK(clients[i].status == NAQ_TIMEOUT);
        CHECK(strstr(clients[i].err.message, s.url) != NULL);
    }
    CHECK(atomic_load(&s.accepted) == 1);
    CHECK(sums().failed - before.failed == 1);
    server_stop(&s);

    naq_conn *c = NULL;
    naq_err err;
    CHECK(acquire(&c, s.url, NULL, &err) == NAQ_CONNECTION); /* nothing listens any more */
}

static void opening_ends_in_time(void) {
    server s;
    server_start(&s, true);
    const char *servers[] = {s.url, s.url, s.url, NULL};
    naq_conn_options o = {.servers = servers, .connection_timeout_ms = 2000, .open_within_ms = 100};
    naq_conn *c = NULL;
    naq_err err;
    int64_t begin = naq_mono_ms();
    CHECK(naq_conn_open(&c, &o, &err) == NAQ_TIMEOUT);
    CHECK(naq_mono_ms() - begin < 1500);
    CHECK(strstr(err.message, "100 ms") != NULL);
    CHECK(eventually(nobody_left, &s)); /* what was given up on ends by itself */
    server_stop(&s);
}

static void closed_under_its_holders(void) {
    server s, other;
    server_start(&s, false);
    server_start(&other, false);
    naq_conn *a = NULL, *b = NULL, *elsewhere = NULL, *fresh = NULL;
    naq_err err;
    CHECK(acquire(&a, s.url, NULL, &err) == NAQ_OK);
    CHECK(acquire(&b, s.url, NULL, &err) == NAQ_OK);
    CHECK(acquire(&elsewhere, other.url, NULL, &err) == NAQ_OK);
    const char *servers[] = {s.url, NULL};
    CHECK(naq_pool_close(servers) == 1);
    CHECK(naq_pool_close(servers) == 0);
    CHECK(eventually(nobody_left, &s));
    CHECK(naq_pool_check(a, &err) == NAQ_CLOSED);
    CHECK(naq_conn_flush(b, 1000, &err) == NAQ_CLOSED); /* even when nobody asked before */
    CHECK(naq_conn_publish(b, "x", "y", 1, &err) == NAQ_CLOSED);
    CHECK(naq_pool_check(elsewhere, &err) == NAQ_OK);
    CHECK(acquire(&fresh, s.url, NULL, &err) == NAQ_OK);
    CHECK(fresh != a && naq_conn_flush(fresh, 1000, &err) == NAQ_OK);
    naq_pool_release(a);
    naq_pool_release(fresh);
    naq_pool_release(b);
    naq_pool_release(elsewhere);
    CHECK(naq_pool_close(NULL) == 2);
    CHECK(sums().open == 0);
    close_server(&s);
    close_server(&other);
}

static void closed_while_others_use_it(void) {
    server s;
    server_start(&s, false);
    static user users[USERS];
    pool_size = 2;
    use_all(users, s.url, 200);
    for (int i = 0; i < 20; i++) {
        (void)naq_pool_close(NULL);
        usleep(1000);
    }
    join_all(users);
    for (int i = 0; i < USERS; i++)
        CHECK(users[i].failed == 0); /* closed under their hands, or well */
    pool_size = 1;
    close_server(&s);
}

static void kept_ones_stay(void) {
    server s;
    server_start(&s, false);
    const char *servers[] = {s.url, NULL};
    naq_conn_options o = {.servers = servers, .kept = true};
    naq_conn *c = NULL;
    naq_err err;
    CHECK(naq_pool_acquire(&c, &o, &err) == NAQ_OK);
    CHECK(naq_pool_close(NULL) == 0);
    CHECK(naq_conn_flush(c, 1000, &err) == NAQ_OK);
    naq_pool_release(c);
    CHECK(naq_pool_close(NULL) == 1);
    close_server(&s);
}

static bool lost(void *ctx) {
    return naq_conn_lost(ctx);
}

static void a_lost_one_is_replaced(void) {
    server s;
    server_start(&s, false);
    naq_conn_options o = {.reconnect_wait_ms = 60000};
    const char *servers[] = {s.url, NULL};
    o.servers = servers;
    naq_conn *c = NULL, *again = NULL;
    naq_err err;
    CHECK(naq_pool_acquire(&c, &o, &err) == NAQ_OK);
    naq_pool_release(c);
    atomic_store(&s.hang_up, true);
    CHECK(eventually(lost, c)); /* idle: still the pool's */
    CHECK(naq_pool_acquire(&again, &o, &err) == NAQ_OK);
    CHECK(naq_conn_flush(again, 1000, &err) == NAQ_OK);
    CHECK(atomic_load(&s.accepted) == 2);
    naq_pool_release(again);
    close_server(&s);
}

static void many_keys_are_forgotten(void) {
    server s;
    server_start(&s, false);
    naq_pool_stats before = sums(), total;
    for (int i = 0; i < 150; i++) {
        naq_conn *c = NULL;
        naq_err err;
        char name[16];
        (void)snprintf(name, sizeof name, "user%d", i);
        CHECK(acquire(&c, s.url, name, &err) == NAQ_OK);
        naq_pool_release(c);
        (void)naq_pool_close(NULL);
    }
    CHECK(naq_pool_stats_read(&total, NULL, 0) <= 65);
    CHECK(total.opened - before.opened == 150);
    close_server(&s);
}

static void no_secret_is_printed(void) {
    const char *servers[] = {"nats://ada:p@ss@one:4222", "two:4223", "tls://token@three", NULL};
    naq_conn_options o = {.servers = servers};
    char text[128];
    naq_conn_servers_public(&o, text, sizeof text);
    CHECK_TEXT("nats://one:4222, nats://two:4223, tls://three:4222", text, strlen(text));
}

/* Ends a child of the fork behind the handlers that it is about: the leak checker, which comes
 * last, knows the parent's memory there and not its threads. */
static int child_status = -1;

static void end_the_child(void) {
    if (child_status >= 0) _exit(child_status);
}

static int in_the_child(naq_conn *before, const char *url) {
    naq_err err;
    naq_conn *c = NULL;
    if (naq_pool_check(before, &err) != NAQ_FORKED) return 1;
    if (acquire(&c, url, NULL, &err) != NAQ_FORKED) return 2;
    if (acquire(&c, "nats://127.0.0.1:1", NULL, &err) != NAQ_FORKED) return 3;
    naq_pool_release(before); /* must do nothing, and return */
    if (naq_pool_close(NULL) != 0) return 4;
    if (sums().opened != 0) return 5;
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
    if (child == 0) {
        child_status = in_the_child(c, s.url);
        exit(child_status); /* its handlers must let the parent's connections be */
    }
    CHECK(ends_well(child));
    CHECK(naq_pool_check(c, &err) == NAQ_OK);
    CHECK(naq_conn_flush(c, 1000, &err) == NAQ_OK); /* the child closed nothing of ours */
    naq_pool_release(c);
    close_server(&s);
}

int main(void) {
    (void)atexit(end_the_child); /* before the pool's, so that it comes behind it */
    run("fifty threads share one connection", one_connection_for_all);
    run("fifty threads spread over four", spread_over_four);
    run("a thread gets the same one again", the_same_one_again);
    run("other credentials have their own", other_credentials_other_connection);
    run("other settings have their own, where there is room", other_settings_while_there_is_room);
    run("10,000 rounds from 16 threads leave nothing", rounds_leave_nothing);
    run("a failed opening is told to all who waited", all_hear_of_one_failure);
    run("opening ends in time", opening_ends_in_time);
    run("closed under its holders", closed_under_its_holders);
    run("closed while others use it", closed_while_others_use_it);
    run("what a worker stands on stays", kept_ones_stay);
    run("an idle one that lost its server is replaced", a_lost_one_is_replaced);
    run("many keys are forgotten, their numbers kept", many_keys_are_forgotten);
    run("no secret is printed", no_secret_is_printed);
    run("a connection from before a fork is refused", a_fork_is_refused);
    nats_CloseAndWait(2000); /* so that a leak checker sees what is left */
    return failures == 0 ? 0 : 1;
}
