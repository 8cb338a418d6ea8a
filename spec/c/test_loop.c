/* test_loop.c -- the hot loop's sleep, against a server of its own: what other threads have to tell
 * ends it, whenever they tell it. */
#include "nats/loop.h"

#include "base/clock.h"
#include "check.h"
#include "stub_server.h"

enum { LONG_MS = 20000, CUTS = 20 };

static int times_restored;

static void delivered(void *ctx, naq_msg *m) {
    (void)ctx, (void)m; /* never: nothing is subscribed to */
}
static void answered(void *ctx, uint32_t token, const naq_answer *answer) {
    (void)ctx, (void)token, (void)answer;
}
static void pull_status(void *ctx, uint32_t token, int status, int64_t pending, const char *text) {
    (void)ctx, (void)token, (void)status, (void)pending, (void)text;
}
static void unheard(void *ctx) {
    (void)ctx;
}
static void restored(void *ctx) {
    (void)ctx;
    times_restored++;
}
static bool busy(void *ctx) {
    (void)ctx;
    return false;
}

static naq_loop *open_loop(const char *url) {
    const char *servers[] = {url, NULL};
    naq_conn_options o = {.servers = servers, .connection_timeout_ms = 2000, .max_reconnect = -1};
    naq_loop_handlers handlers = {.delivered = delivered,
                                  .answered = answered,
                                  .unheard = unheard,
                                  .pull_status = pull_status,
                                  .busy = busy,
                                  .restored = restored};
    naq_loop *loop = NULL;
    naq_err err;
    CHECK(naq_loop_open(&loop, &o, &handlers, &err) == NAQ_OK);
    return loop;
}

/* False: it slept to the end. */
static bool turn(naq_loop *loop) {
    int64_t end = naq_mono_ms() + LONG_MS;
    naq_loop_turn(loop, end, true);
    return naq_mono_ms() < end;
}

static void does_not_sleep_through_an_earlier_wake(void) {
    server s;
    server_start(&s, false);
    naq_loop *loop = open_loop(s.url);
    naq_loop_turn(loop, naq_mono_ms(),
                  true); /* what there is to read and to write after connecting */
    naq_loop_wake(loop);
    CHECK(turn(loop));
    naq_loop_close(loop, 0);
    server_stop(&s);
}

static void does_not_sleep_when_its_line_is_lost(void) {
    server s;
    server_start(&s, false);
    naq_loop *loop = open_loop(s.url);
    for (int i = 0; i < CUTS; i++) {
        int before = times_restored;
        atomic_store(&s.hang_up, true);
        while (naq_loop_connected(loop) && CHECK(turn(loop))) {
        }
        while (times_restored == before && CHECK(turn(loop))) {
        }
    }
    naq_loop_close(loop, 0);
    server_stop(&s);
}

int main(void) {
    run("a wake before the sleep is not lost", does_not_sleep_through_an_earlier_wake);
    run("a line that is lost before the sleep is replaced", does_not_sleep_when_its_line_is_lost);
    return failures > 0;
}
