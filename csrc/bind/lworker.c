/* lworker.c -- core.worker: options in, a worker out. Lua 5.4 only. */
#include "bind/lworker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bind/lcodec.h"
#include "bind/lconn.h"
#include "bind/lmodule.h"
#include "run/worker.h"

static const char WORKER_MT[] = "naq.worker";

/* The options table is kept as the user value: all strings in the worker's options are its. */
typedef struct lnaq_worker {
    naq_worker *worker;
    const char **queues;
    naq_setting *settings;
} lnaq_worker;

static const naq_vm_face FACE = {
    .open_core = luaopen_naq_core,
    .encode = lnaq_encode,
    .decode = lnaq_decode,
};

static lnaq_worker *check(lua_State *L) {
    lnaq_worker *h = luaL_checkudata(L, 1, WORKER_MT);
    if (h->worker == NULL) luaL_error(L, "the worker is closed");
    return h;
}

static int worker_close(lua_State *L) {
    lnaq_worker *h = luaL_checkudata(L, 1, WORKER_MT);
    naq_worker *w = h->worker;
    h->worker = NULL;
    naq_worker_close(w);
    free(h->queues);
    h->queues = NULL;
    free(h->settings);
    h->settings = NULL;
    return 0;
}

static const char *const WHY[] = {
    [NAQ_STOPPED_STOP] = "stop",      [NAQ_STOPPED_SIGNAL] = "signal",
    [NAQ_STOPPED_BURST] = "burst",    [NAQ_STOPPED_MAX_JOBS] = "max_jobs",
    [NAQ_STOPPED_STUCK] = "stuck",    [NAQ_STOPPED_TIMEOUT] = "killed",
    [NAQ_STOPPED_AT_ONCE] = "killed",
};

static int worker_run(lua_State *L) {
    lnaq_worker *h = check(L);
    naq_worker_stats stats;
    naq_err err;
    if (naq_worker_run(h->worker, &stats, &err) != NAQ_OK) return lnaq_fail(L, &err);
    /* Jobs still run on threads that cannot be stopped, in states that must not be closed under
     * them: nothing that exit() would do is safe. */
    if (stats.abandoned) _exit(1);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, stats.done);
    lua_setfield(L, -2, "done");
    lua_pushinteger(L, stats.failed);
    lua_setfield(L, -2, "failed");
    lua_pushinteger(L, stats.retried);
    lua_setfield(L, -2, "retried");
    lua_pushstring(L, WHY[stats.why]);
    lua_setfield(L, -2, "stopped");
    return 1;
}

static int worker_stop(lua_State *L) {
    naq_worker_stop(check(L)->worker);
    return 0;
}

static int worker_id(lua_State *L) {
    lua_pushstring(L, naq_worker_id_peek(check(L)->worker));
    return 1;
}

static const luaL_Reg METHODS[] = {
    {"run", worker_run},     {"stop", worker_stop}, {"id", worker_id},
    {"close", worker_close}, {NULL, NULL},
};

static int64_t ms(lua_State *L, const char *field, double fallback_s) {
    return (int64_t)(lnaq_optnumber(L, 1, field, fallback_s) * 1000);
}

/* The queue names, borrowed from the options table, in an array that the handle owns. */
static void read_queues(lua_State *L, lnaq_worker *h, naq_worker_options *o) {
    lua_getfield(L, 1, "queues");
    luaL_checktype(L, -1, LUA_TTABLE);
    int n = (int)lua_rawlen(L, -1);
    h->queues = calloc((size_t)n + 1, sizeof *h->queues);
    if (h->queues == NULL) luaL_error(L, "out of memory");
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, -1, i + 1);
        h->queues[i] = lua_tostring(L, -1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "option queues: a list of strings expected");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    o->queues = h->queues;
    o->n_queues = n;
}

/* One of settings = {queue = {ack_wait, concurrency, rate, paused}}, the table on top. */
static naq_setting read_setting(lua_State *L) {
    naq_setting s = {0};
    if (lua_getfield(L, -1, "paused") == LUA_TBOOLEAN) s.given |= NAQ_SET_PAUSED;
    s.paused = lua_toboolean(L, -1);
    if (lua_getfield(L, -2, "concurrency") == LUA_TNUMBER) s.given |= NAQ_SET_CONCURRENCY;
    s.concurrency = (int)lua_tonumber(L, -1);
    if (lua_getfield(L, -3, "rate") == LUA_TNUMBER) s.given |= NAQ_SET_RATE;
    s.rate = lua_tonumber(L, -1);
    if (lua_getfield(L, -4, "ack_wait") == LUA_TNUMBER) s.given |= NAQ_SET_ACK_WAIT;
    s.ack_wait_ms = (int64_t)(lua_tonumber(L, -1) * 1000);
    lua_pop(L, 4);
    return s;
}

static void read_settings(lua_State *L, lnaq_worker *h, naq_worker_options *o) {
    h->settings = calloc((size_t)o->n_queues + 1, sizeof *h->settings);
    if (h->settings == NULL) luaL_error(L, "out of memory");
    if (lua_getfield(L, 1, "settings") == LUA_TTABLE) {
        for (int i = 0; i < o->n_queues; i++) {
            if (lua_getfield(L, -1, o->queues[i]) == LUA_TTABLE) h->settings[i] = read_setting(L);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    o->settings = h->settings;
}

static const char *package_field(lua_State *L, const char *name) {
    lua_getglobal(L, "package");
    lua_getfield(L, -1, name);
    const char *s = lua_tostring(L, -1);
    lua_pop(L, 2); /* stays alive: package holds it */
    return s;
}

int lnaq_worker_new(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lnaq_newclass(L, WORKER_MT, METHODS, worker_close);
    lnaq_worker *h = lua_newuserdatauv(L, sizeof *h, 1);
    memset(h, 0, sizeof *h);
    luaL_setmetatable(L, WORKER_MT);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);

    const char *servers[LNAQ_SERVERS_MAX + 1];
    naq_conn_options connect;
    lua_getfield(L, 1, "connect");
    lnaq_conn_options(L, lua_gettop(L), &connect, servers);
    connect.kept = true; /* a job that closes connections must not take the worker's */
    lua_pop(L, 1);       /* the options table holds it */
    naq_worker_options o = {
        .connect = &connect,
        .prefix = lnaq_optfield(L, 1, "prefix", "naq"),
        .threads = (int)lnaq_optnumber(L, 1, "threads", 1),
        .name = lnaq_optfield(L, 1, "name", NULL),
        .ack_wait_ms = ms(L, "ack_wait", 30),
        .heartbeat_ms = ms(L, "heartbeat_interval", 15),
        .ttl_ms = ms(L, "ttl", 60),
        .shutdown_ms = ms(L, "shutdown_timeout", 30),
        .max_crashes = (int)lnaq_optnumber(L, 1, "max_crashes", 3),
        .result_ttl = lnaq_optnumber(L, 1, "result_ttl", 604800),
        .failed_age_ms = (int64_t)(lnaq_optnumber(L, 1, "failed_age", 0) * 1000 + 0.5),
        .failed_bytes = (int64_t)lnaq_optnumber(L, 1, "failed_bytes", 0),
        .scheduler = lnaq_optbool(L, 1, "scheduler", 1),
        .lock_ttl_ms = ms(L, "lock_ttl", 5),
        .max_failures = (int64_t)lnaq_optnumber(L, 1, "max_failures", 0),
        .burst = lnaq_optbool(L, 1, "burst", 0),
        .max_jobs = (long)lnaq_optnumber(L, 1, "max_jobs", 0),
        .handle_signals = lnaq_optbool(L, 1, "handle_signals", 0),
        .vm = {.face = &FACE,
               .path = package_field(L, "path"),
               .cpath = package_field(L, "cpath"),
               .runner = lnaq_optfield(L, 1, "runner", "{}")},
    };
    const char *misfire = lnaq_optfield(L, 1, "misfire", "once");
    luaL_argcheck(L, naq_misfire_parse(misfire, strlen(misfire), &o.misfire), 1,
                  "misfire is once, skip or all");
    read_queues(L, h, &o);
    read_settings(L, h, &o);
    naq_err err;
    if (naq_worker_open(&h->worker, &o, &err) != NAQ_OK) return lnaq_fail(L, &err);
    return 1;
}
