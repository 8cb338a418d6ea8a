/* lscheduler.c -- core.scheduler: options in, a scheduler out, which runs on a thread of its own.
 * Lua 5.4 only. */
#include "bind/lscheduler.h"

#include <string.h>

#include "base/id.h"
#include "bind/lconn.h"
#include "nats/pool.h"
#include "nats/stream.h"
#include "run/scheduler.h"

static const char SCHEDULER_MT[] = "naq.scheduler";

typedef struct lnaq_scheduler {
    naq_scheduler *scheduler; /* NULL: closed */
} lnaq_scheduler;

static naq_scheduler *check(lua_State *L) {
    lnaq_scheduler *h = luaL_checkudata(L, 1, SCHEDULER_MT);
    if (h->scheduler == NULL) luaL_error(L, "the scheduler is closed");
    return h->scheduler;
}

static int scheduler_close(lua_State *L) {
    lnaq_scheduler *h = luaL_checkudata(L, 1, SCHEDULER_MT);
    naq_scheduler *s = h->scheduler;
    h->scheduler = NULL;
    naq_scheduler_close(s);
    return 0;
}

static int scheduler_leads(lua_State *L) {
    lua_pushboolean(L, naq_scheduler_leads(check(L)));
    return 1;
}

static int scheduler_id(lua_State *L) {
    lua_pushstring(L, naq_scheduler_id_peek(check(L)));
    return 1;
}

static const luaL_Reg METHODS[] = {
    {"close", scheduler_close},
    {"leads", scheduler_leads},
    {"id", scheduler_id},
    {NULL, NULL},
};

static naq_status ensure_layout(const naq_conn_options *connect, const naq_layout_options *layout,
                                naq_err *err) {
    naq_conn *conn = NULL;
    naq_status status = naq_pool_acquire(&conn, connect, err);
    if (status == NAQ_OK) status = naq_layout_ensure(conn, layout, NULL, NULL, err);
    naq_pool_release(conn);
    return status;
}

int lnaq_scheduler_new(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lnaq_newclass(L, SCHEDULER_MT, METHODS, scheduler_close);
    lnaq_scheduler *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->scheduler = NULL;
    luaL_setmetatable(L, SCHEDULER_MT);

    const char *servers[LNAQ_SERVERS_MAX + 1];
    naq_conn_options connect;
    lua_getfield(L, 1, "connect");
    lnaq_conn_options(L, lua_gettop(L), &connect, servers);
    connect.kept = true;
    lua_pop(L, 1); /* the options table holds it */
    naq_scheduler_options o = {
        .connect = &connect,
        .prefix = lnaq_optfield(L, 1, "prefix", "naq"),
        .id = lnaq_optfield(L, 1, "id", NULL),
        .ttl_ms = (int64_t)(lnaq_optnumber(L, 1, "lock_ttl", 5) * 1000),
        .stragglers_ms = (int64_t)(lnaq_optnumber(L, 1, "stragglers", 0) * 1000),
        .max_failures = (int64_t)lnaq_optnumber(L, 1, "max_failures", 0),
        .alone = lnaq_optbool(L, 1, "alone", 0),
    };
    const char *misfire = lnaq_optfield(L, 1, "misfire", "once");
    luaL_argcheck(L, naq_misfire_parse(misfire, strlen(misfire), &o.misfire), 1,
                  "misfire is once, skip or all");
    luaL_argcheck(L, strlen(o.prefix) <= NAQ_ID_MAX, 1, "prefix too long");
    naq_layout_options layout = {
        .prefix = o.prefix,
        .worker_ttl_ms = (int64_t)(lnaq_optnumber(L, 1, "ttl", 60) * 1000),
        .leader_ttl_ms = o.ttl_ms,
        .failed_age_ms = (int64_t)(lnaq_optnumber(L, 1, "failed_age", 0) * 1000 + 0.5),
        .failed_bytes = (int64_t)lnaq_optnumber(L, 1, "failed_bytes", 0),
    };
    naq_err err;
    naq_status status = ensure_layout(&connect, &layout, &err);
    if (status == NAQ_OK) status = naq_scheduler_open(&h->scheduler, &o, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    return 1;
}
