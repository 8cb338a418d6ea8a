/* lpool.c -- the pool as a whole: core.connection_stats(), close_connections(), test_connection().
 */
#include "bind/lconn.h"

#include <stdlib.h>

#include "base/clock.h"
#include "nats/pool.h"

enum { KEYS_SHOWN = 256 };

static void set_number(lua_State *L, const char *name, double n) {
    lua_pushnumber(L, (lua_Number)n);
    lua_setfield(L, -2, name);
}

static void set_count(lua_State *L, const char *name, uint64_t n) {
    lnaq_pushint64(L, (int64_t)n);
    lua_setfield(L, -2, name);
}

static void push_numbers(lua_State *L, const naq_pool_stats *s) {
    lua_createtable(L, 0, 12);
    set_count(L, "opened", s->opened);
    set_count(L, "open", (uint64_t)s->open);
    set_count(L, "active", (uint64_t)s->active);
    set_count(L, "handles", (uint64_t)s->users);
    set_count(L, "reused", s->reused);
    set_count(L, "failed", s->failed);
    set_count(L, "reconnects", s->reconnects);
    if (s->opened == 0) return;
    set_number(L, "mean_connect_time", (double)s->connect_us / (double)s->opened / 1e6);
    set_number(L, "last_connect_time", (double)s->last_connect_us / 1e6);
}

int lnaq_connection_stats(lua_State *L) {
    naq_pool_stats total;
    naq_pool_stats *each = lua_newuserdata(L, KEYS_SHOWN * sizeof *each);
    size_t n = naq_pool_stats_read(&total, each, KEYS_SHOWN);
    push_numbers(L, &total);
    lua_newtable(L);
    for (size_t i = 0; i < n && i < KEYS_SHOWN; i++) {
        push_numbers(L, &each[i]);
        lua_pushstring(L, each[i].servers);
        lua_setfield(L, -2, "servers");
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "pools");
    return 1;
}

/* core.close_connections(servers?) -> how many */
int lnaq_close_connections(lua_State *L) {
    naq_conn_options o = {0};
    const char *servers[LNAQ_SERVERS_MAX + 1];
    lua_settop(L, 1);
    if (!lua_isnil(L, 1)) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, 1);
        lua_setfield(L, -2, "servers");
        lnaq_conn_options(L, -1, &o, servers);
    }
    lnaq_pushint64(L, naq_pool_close(o.servers));
    return 1;
}

/* core.test_connection(options, seconds?) -> {connect_time, rtt, url}: a connection of its own,
 * opened and closed. */
int lnaq_test_connection(lua_State *L) {
    naq_conn_options o;
    const char *servers[LNAQ_SERVERS_MAX + 1];
    lnaq_conn_options(L, 1, &o, servers);
    double seconds = luaL_optnumber(L, 2, 0);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e6, 2, "a number of seconds expected");
    if (seconds > 0)
        o.open_within_ms = (int64_t)(seconds * 1000) > 0 ? (int64_t)(seconds * 1000) : 1;

    naq_err err;
    naq_conn *c = NULL;
    char url[256] = "";
    int64_t begun = naq_wall_us(), took = 0, rtt = 0;
    naq_status status = naq_conn_open(&c, &o, &err);
    if (status == NAQ_OK) {
        took = naq_wall_us() - begun;
        int64_t left = (o.open_within_ms > 0 ? o.open_within_ms : naq_conn_timeout_of(&o));
        if (o.open_within_ms > 0) left -= took / 1000;
        status = naq_conn_rtt(c, left > 0 ? left : 1, &rtt, &err);
        naq_conn_url(c, url, sizeof url);
        naq_conn_drop(c);
    }
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lua_createtable(L, 0, 3);
    set_number(L, "connect_time", (double)took / 1e6);
    set_number(L, "rtt", (double)rtt / 1e6);
    lua_pushstring(L, url);
    lua_setfield(L, -2, "url");
    return 1;
}
