/* lconn.c -- naq.core.connect() and the connection object: close, info.
 *
 * A handle holds one reference on a pooled connection. Closing drops it; so does the collector,
 * which must not wait for the network. */
#include "bind/lconn.h"

#include <stdlib.h>
#include <string.h>

#include "bind/lmessaging.h"
#include "nats/events.h"
#include "nats/pool.h"

const char LNAQ_CONN_MT[] = "naq.conn";

enum { CLOSE_FLUSH_MS = 1000 };

static const char *optional_string(lua_State *L, int index, const char *name) {
    return lnaq_optfield(L, index, name, NULL);
}

static int64_t optional_ms(lua_State *L, int index, const char *name) {
    double seconds = lnaq_optnumber(L, index, name, 0);
    if (!(seconds >= 0 && seconds < 1e9))
        luaL_error(L, "option %s: a number of seconds expected", name);
    return (int64_t)(seconds * 1000 + 0.5);
}

static void read_servers(lua_State *L, int index, naq_conn_options *out,
                         const char *servers[LNAQ_SERVERS_MAX + 1]) {
    lua_getfield(L, index, "servers");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    size_t n = 0;
    if (lua_type(L, -1) == LUA_TSTRING) {
        servers[n++] = lua_tostring(L, -1);
    } else {
        luaL_checktype(L, -1, LUA_TTABLE);
        size_t given = lua_rawlen(L, -1);
        if (given > LNAQ_SERVERS_MAX)
            luaL_error(L, "option servers: at most %d of them", LNAQ_SERVERS_MAX);
        for (; n < given; n++) {
            lua_rawgeti(L, -1, (int)n + 1);
            if (lua_type(L, -1) != LUA_TSTRING)
                luaL_error(L, "option servers: string expected, got %s", luaL_typename(L, -1));
            servers[n] = lua_tostring(L, -1); /* held by the table */
            lua_pop(L, 1);
        }
    }
    servers[n] = NULL;
    if (n > 0) out->servers = servers;
    lua_pop(L, 1);
}

static void read_tls(lua_State *L, int index, naq_conn_options *out) {
    lua_getfield(L, index, "tls");
    if (lua_istable(L, -1)) {
        int tls = lua_gettop(L);
        out->ca_file = optional_string(L, tls, "ca_file");
        out->cert_file = optional_string(L, tls, "cert_file");
        out->key_file = optional_string(L, tls, "key_file");
        out->tls_skip_verify = !lnaq_optbool(L, tls, "verify", 1);
        /* Files without `enabled` mean it too. */
        out->tls = lnaq_optbool(L, tls, "enabled", out->ca_file != NULL || out->cert_file != NULL);
    } else if (!lua_isnil(L, -1)) {
        luaL_error(L, "option tls: table expected, got %s", luaL_typename(L, -1));
    }
    lua_pop(L, 1);
}

void lnaq_conn_options(lua_State *L, int index, naq_conn_options *out,
                       const char *servers[LNAQ_SERVERS_MAX + 1]) {
    memset(out, 0, sizeof *out);
    if (lua_isnoneornil(L, index)) return;
    luaL_checktype(L, index, LUA_TTABLE);
    index = lnaq_absindex(L, index);
    read_servers(L, index, out, servers);
    read_tls(L, index, out);
    out->name = optional_string(L, index, "name");
    out->user = optional_string(L, index, "user");
    out->password = optional_string(L, index, "password");
    out->token = optional_string(L, index, "token");
    out->creds_file = optional_string(L, index, "creds_file");
    out->nkey_seed_file = optional_string(L, index, "nkey_seed_file");
    out->connection_timeout_ms = optional_ms(L, index, "connection_timeout");
    out->reconnect_wait_ms = optional_ms(L, index, "reconnect_time_wait");
    out->ping_interval_ms = optional_ms(L, index, "ping_interval");
    int attempts = (int)lnaq_optnumber(L, index, "max_reconnect_attempts", -1);
    out->max_reconnect = attempts < 0 ? 0 : attempts == 0 ? NAQ_RECONNECT_NEVER : attempts;
    out->max_pings_out = (int)lnaq_optnumber(L, index, "max_outstanding_pings", 0);
    out->pool_size = (int)lnaq_optnumber(L, index, "pool_size", 0);
}

naq_conn *lnaq_checkconn(lua_State *L, int index) {
    lnaq_conn *h = luaL_checkudata(L, index, LNAQ_CONN_MT);
    luaL_argcheck(L, h->conn != NULL, index, "the connection is closed");
    return h->conn;
}

int lnaq_connect(lua_State *L) {
    naq_conn_options o;
    const char *servers[LNAQ_SERVERS_MAX + 1];
    lnaq_conn_options(L, 1, &o, servers);
    lnaq_conn *h = lua_newuserdata(L, sizeof *h);
    *h = (lnaq_conn){0};
    luaL_setmetatable(L, LNAQ_CONN_MT);
    naq_err err;
    if (naq_pool_acquire(&h->conn, &o, &err) != NAQ_OK) return lnaq_fail(L, &err);
    h->seen = naq_events_last(naq_conn_events_peek(h->conn));
    return 1;
}

static int lnaq_conn_gc(lua_State *L) {
    lnaq_conn *h = luaL_checkudata(L, 1, LNAQ_CONN_MT);
    naq_pool_release(h->conn);
    h->conn = NULL;
    return 0;
}

static int lnaq_conn_close(lua_State *L) {
    lnaq_conn *h = luaL_checkudata(L, 1, LNAQ_CONN_MT);
    naq_err ignored;
    if (h->conn != NULL && naq_pool_check(h->conn, &ignored) == NAQ_OK)
        naq_conn_settle(h->conn, CLOSE_FLUSH_MS);
    return lnaq_conn_gc(L);
}

static const luaL_Reg CONN_METHODS[] = {
    {"close", lnaq_conn_close},
    {NULL, NULL},
};

void lnaq_conn_open_class(lua_State *L) {
    lnaq_request_open_class(L);
    lnaq_sub_open_class(L);
    lnaq_pull_open_class(L);
    lnaq_window_open_class(L);
    lnaq_newclass(L, LNAQ_CONN_MT, CONN_METHODS, lnaq_conn_gc);
    luaL_getmetatable(L, LNAQ_CONN_MT);
    lua_getfield(L, -1, "__index");
    luaL_setfuncs(L, LNAQ_STATE_METHODS, 0);
    luaL_setfuncs(L, LNAQ_REQUEST_METHODS, 0);
    luaL_setfuncs(L, LNAQ_SUB_METHODS, 0);
    luaL_setfuncs(L, LNAQ_PULL_METHODS, 0);
    luaL_setfuncs(L, LNAQ_WINDOW_METHODS, 0);
    luaL_setfuncs(L, LNAQ_STREAM_METHODS, 0);
    luaL_setfuncs(L, LNAQ_KV_METHODS, 0);
    luaL_setfuncs(L, LNAQ_PUBLISH_METHODS, 0);
    luaL_setfuncs(L, LNAQ_DELAYED_METHODS, 0);
    lua_pop(L, 2);
}
