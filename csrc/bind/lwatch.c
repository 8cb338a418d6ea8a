/* lwatch.c -- conn:kv_watch() and the watch object. */
#include "bind/lwatch.h"

#include <string.h>

#include "bind/lconn.h"
#include "nats/kvwatch.h"
#include "nats/pool.h"

enum { WATCH_KB = 64 }; /* and what waits in it */

static const char WATCH_MT[] = "naq.kv_watch";

typedef struct lnaq_watch {
    naq_kv_watch *watch; /* NULL: closed */
} lnaq_watch;

int lnaq_conn_kv_watch(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    const char *bucket = lnaq_checkname(L, 2);
    const char *filter = lua_isnoneornil(L, 3) ? ">" : lnaq_checkname(L, 3);
    naq_kv_watch_options o = {0};
    if (!lua_isnoneornil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        o.history = lnaq_optbool(L, 4, "history", 0);
        o.updates_only = lnaq_optbool(L, 4, "updates_only", 0);
        o.ignore_deletes = lnaq_optbool(L, 4, "ignore_deletes", 0);
        o.headers_only = lnaq_optbool(L, 4, "headers_only", 0);
    }
    lnaq_watch *h = lua_newuserdata(L, sizeof *h);
    h->watch = NULL;
    luaL_setmetatable(L, WATCH_MT);
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK ||
        naq_kv_watch_open(&h->watch, c, bucket, filter, &o, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    lnaq_weigh(L, WATCH_KB);
    return 1;
}

static const char *const OPERATIONS[] = {[NAQ_KV_PUT] = "put",
                                         [NAQ_KV_DELETE] = "delete",
                                         [NAQ_KV_PURGE] = "purge",
                                         [NAQ_KV_UP_TO_DATE] = "up_to_date",
                                         [NAQ_KV_RESET] = "reset"};

static void push_event(lua_State *L, const naq_kv_event *e) {
    lua_createtable(L, 0, 5);
    lua_pushstring(L, OPERATIONS[e->operation]);
    lua_setfield(L, -2, "operation");
    if (e->revision == 0) return; /* about no key */
    lua_pushstring(L, e->key);
    lua_setfield(L, -2, "key");
    if (e->operation == NAQ_KV_PUT) {
        lua_pushlstring(L, e->len > 0 ? e->value : "", e->len);
        lua_setfield(L, -2, "value");
    }
    lnaq_pushint64(L, (int64_t)e->revision);
    lua_setfield(L, -2, "revision");
    lua_pushnumber(L, (lua_Number)e->created_us / 1e6);
    lua_setfield(L, -2, "created");
}

static int lnaq_watch_next(lua_State *L) {
    lnaq_watch *h = luaL_checkudata(L, 1, WATCH_MT);
    luaL_argcheck(L, h->watch != NULL, 1, "the watcher is stopped");
    double seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 2, "a number of seconds expected");
    naq_kv_event event;
    naq_err err;
    if (naq_kv_watch_next(h->watch, (int64_t)(seconds * 1000 + 0.5), &event, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    push_event(L, &event);
    return 1;
}

static int lnaq_watch_close(lua_State *L) {
    lnaq_watch *h = luaL_checkudata(L, 1, WATCH_MT);
    naq_kv_watch *watch = h->watch;
    h->watch = NULL;
    naq_kv_watch_close(watch);
    return 0;
}

static int lnaq_watch_gc(lua_State *L) {
    lnaq_watch *h = luaL_checkudata(L, 1, WATCH_MT);
    naq_kv_watch *watch = h->watch;
    h->watch = NULL;
    naq_kv_watch_drop(watch);
    return 0;
}

static const luaL_Reg WATCH_METHODS[] = {
    {"next", lnaq_watch_next},
    {"close", lnaq_watch_close},
    {NULL, NULL},
};

void lnaq_watch_open_class(lua_State *L) {
    lnaq_newclass(L, WATCH_MT, WATCH_METHODS, lnaq_watch_gc);
}
