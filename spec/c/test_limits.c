/* test_limits.c -- stopping Lua from outside, without a worker: a thread with a state runs jobs,
 * the test interrupts them. What a worker's jobs look like is spec/nats/limits_spec.lua's business.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "run/limits.h"
#include "run/timekeeper.h"

/* A thread that runs one piece of Lua after the other. ThreadSanitizer delivers signals in calls of
 * libc's, so all of them allocate. */
typedef struct runner {
    naq_timekeeper keeper;
    naq_limits limits;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    const char *code; /* NULL: none */
    naq_ceilings ceilings;
    bool running, ended, quit, lost;
    naq_stop why;
    int64_t ended_ms;
} runner;

static lua_State *new_state(naq_limits *l) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    naq_limits_attach(l, L);
    return L;
}

static int report_cancelled(lua_State *L) {
    runner *r = lua_touserdata(L, lua_upvalueindex(1));
    lua_pushboolean(L, atomic_load(&r->limits.cancelled));
    return 1;
}

static void tell(runner *r, bool *what) {
    pthread_mutex_lock(&r->mu);
    *what = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mu);
}

static int report_running(lua_State *L) {
    runner *r = lua_touserdata(L, lua_upvalueindex(1));
    tell(r, &r->running);
    return 0;
}

static naq_stop run_one(runner *r, lua_State **L) {
    lua_pushlightuserdata(*L, r);
    lua_pushcclosure(*L, report_cancelled, 1);
    lua_setglobal(*L, "cancelled");
    lua_pushlightuserdata(*L, r);
    lua_pushcclosure(*L, report_running, 1);
    lua_setglobal(*L, "running");
    CHECK(luaL_loadstring(*L, r->code) == LUA_OK);
    naq_limits_begin(&r->limits);
    if (!naq_limits_enter(&r->limits, *L)) return naq_limits_finish(&r->limits);
    naq_limits_set(&r->limits, *L, &r->ceilings);
    naq_limits_own(&r->limits);
    (void)lua_pcall(*L, 0, 0, 0);
    lua_settop(*L, 0);
    naq_stop why = naq_limits_leave(&r->limits, *L);
    if (why == NAQ_STOP_NONE) return why;
    lua_close(*L);
    why = naq_limits_finish(&r->limits);
    *L = new_state(&r->limits);
    return why;
}

static void given_up(void *ctx, naq_stop why) {
    (void)why;
    tell(ctx, &((runner *)ctx)->lost);
}

static void *thread_main(void *arg) {
    runner *r = arg;
    CHECK(naq_limits_open(&r->limits));
    naq_timekeeper_add(&r->keeper, &r->limits, given_up, r);
    lua_State *L = new_state(&r->limits);
    pthread_mutex_lock(&r->mu);
    for (;;) {
        while (r->code == NULL && !r->quit)
            pthread_cond_wait(&r->changed, &r->mu);
        if (r->code == NULL) break;
        pthread_mutex_unlock(&r->mu);
        naq_stop why = run_one(r, &L);
        pthread_mutex_lock(&r->mu);
        r->why = why;
        r->code = NULL;
        r->ended = true;
        r->ended_ms = naq_mono_ms();
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->mu);
    lua_close(L);
    naq_timekeeper_remove(&r->keeper, &r->limits);
    naq_limits_close(&r->limits);
    return NULL;
}

static void open_runner(runner *r) {
    naq_err err;
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->mu, NULL);
    pthread_cond_init(&r->changed, NULL);
    CHECK(naq_timekeeper_start(&r->keeper, &err) == NAQ_OK);
    CHECK(pthread_create(&r->thread, NULL, thread_main, r) == 0);
}

static void close_runner(runner *r) {
    tell(r, &r->quit);
    pthread_join(r->thread, NULL);
    naq_timekeeper_stop(&r->keeper);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->mu);
}

static void begin(runner *r, const char *code, naq_ceilings ceilings) {
    pthread_mutex_lock(&r->mu);
    r->running = r->ended = r->lost = false;
    r->ceilings = ceilings;
    r->code = code;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mu);
}

static void wait_for(runner *r, const bool *what) {
    pthread_mutex_lock(&r->mu);
    while (!*what)
        pthread_cond_wait(&r->changed, &r->mu);
    pthread_mutex_unlock(&r->mu);
}

static const char SPIN[] = "running() while true do pcall(function() local t = {} end) end";
static const char SPIN_IN_COROUTINE[] =
    "running() coroutine.wrap(function() while true do pcall(error, {}) end end)()";

static void test_interrupt(void) {
    runner r;
    open_runner(&r);
    CHECK(!naq_limits_interrupt(&r.limits, NAQ_STOP_CANCELLED)); /* nothing runs */
    static const char *const CODES[] = {SPIN, SPIN_IN_COROUTINE};
    for (int i = 0; i < 2; i++) {
        begin(&r, CODES[i], (naq_ceilings){0});
        wait_for(&r, &r.running);
        int64_t before = naq_mono_ms();
        CHECK(naq_limits_interrupt(&r.limits, NAQ_STOP_CANCELLED));
        CHECK(!naq_limits_interrupt(&r.limits, NAQ_STOP_TIMEOUT)); /* the first one counts */
        wait_for(&r, &r.ended);
        CHECK(r.why == NAQ_STOP_CANCELLED);
        CHECK(r.ended_ms - before < 100);
    }
    begin(&r, "running()", (naq_ceilings){0});
    wait_for(&r, &r.ended);
    CHECK(r.why == NAQ_STOP_NONE);
    close_runner(&r);
}

static void test_announce(void) {
    runner r;
    open_runner(&r);
    begin(&r, "running() while not cancelled() do local t = {} end", (naq_ceilings){0});
    wait_for(&r, &r.running);
    CHECK(naq_limits_announce(&r.limits, NAQ_STOP_CANCELLED, 60000));
    wait_for(&r, &r.ended);
    CHECK(r.why == NAQ_STOP_NONE); /* it went by itself */

    begin(&r, SPIN, (naq_ceilings){0});
    wait_for(&r, &r.running);
    int64_t before = naq_mono_ms();
    CHECK(naq_limits_announce(&r.limits, NAQ_STOP_CANCELLED, 30));
    wait_for(&r, &r.ended);
    CHECK(r.why == NAQ_STOP_CANCELLED);
    CHECK(r.ended_ms - before >= 29 && r.ended_ms - before < 1000);
    close_runner(&r);
}

static void test_stuck(void) {
    runner r;
    open_runner(&r);
    begin(&r, SPIN, (naq_ceilings){.timeout = 0.01});
    wait_for(&r, &r.ended);
    CHECK(r.why == NAQ_STOP_TIMEOUT && !r.lost);
    begin(&r,
          "setmetatable({}, {__gc = function() local t0 = os.clock() "
          "while os.clock() - t0 < 3.5 do local t = {} end end}) collectgarbage()",
          (naq_ceilings){.timeout = 0.01});
    wait_for(&r, &r.lost);
    wait_for(&r, &r.ended);
    CHECK(r.why == NAQ_STOP_STUCK);
    close_runner(&r);
}

/* At any moment of anything: allocation, calls, errors, coroutines, collection. */
static void test_random_moments(void) {
    static const char CODE[] =
        "local function f(n) if n == 0 then return 0 end return 1 + f(n - 1) end "
        "local co = coroutine.wrap(function() local t = {} while true do t[#t + 1] = "
        "tostring(f(30)) if #t > 200 then t = {} end pcall(error, 'x') coroutine.yield() end end) "
        "for i = 1, 300 do co() end";
    static const int ROUNDS = 3000;
    runner r;
    open_runner(&r);
    int stopped = 0;
    srand(42);
    for (int i = 0; i < ROUNDS; i++) {
        begin(&r, CODE, (naq_ceilings){0});
        usleep((unsigned)(rand() % 600));
        bool sent = naq_limits_interrupt(&r.limits, NAQ_STOP_CANCELLED);
        wait_for(&r, &r.ended);
        CHECK(r.why == (sent ? NAQ_STOP_CANCELLED : NAQ_STOP_NONE));
        stopped += sent;
    }
    CHECK(stopped > 0);
    close_runner(&r);
}

int main(void) {
    run("a running job is interrupted, once, within 100 ms", test_interrupt);
    run("a job is told before it is interrupted", test_announce);
    run("a job that does not end is given up, and its end is known as such", test_stuck);
    run("3000 interruptions at any moment, each with the outcome it was told", test_random_moments);
    return failures == 0 ? 0 : 1;
}
