/* lstate.c -- what a connection says about itself: info, status, rtt, stats, events; and flush. */
#include "bind/lconn.h"

#include "nats/events.h"
#include "nats/pool.h"

enum { INFO_MS = 5000 };

static void set_text(lua_State *L, const char *name, const char *text) {
    if (text[0] == '\0') return; /* not known */
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static int lnaq_conn_info(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    naq_err err;
    naq_server_info info;
    int64_t rtt_us;
    if (naq_pool_check(c, &err) != NAQ_OK) return lnaq_fail(L, &err);
    if (naq_conn_rtt(c, INFO_MS, &rtt_us, &err) != NAQ_OK) return lnaq_fail(L, &err);
    naq_conn_info(c, &info);
    lua_createtable(L, 0, 7);
    set_text(L, "url", info.url);
    set_text(L, "server_id", info.id);
    set_text(L, "server_name", info.name);
    set_text(L, "version", info.version);
    set_text(L, "cluster", info.cluster);
    lnaq_pushint64(L, naq_conn_cluster_size(c));
    lua_setfield(L, -2, "cluster_size");
    lnaq_pushint64(L, info.max_payload);
    lua_setfield(L, -2, "max_payload");
    lua_pushnumber(L, (lua_Number)rtt_us / 1e6);
    lua_setfield(L, -2, "rtt");
    return 1;
}

static int lnaq_conn_max_payload(lua_State *L) {
    lnaq_pushint64(L, naq_conn_max_payload(lnaq_checkconn(L, 1)));
    return 1;
}

static int64_t check_ms(lua_State *L, int index) {
    double seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds > 0 && seconds < 1e6, index, "a positive number of seconds expected");
    int64_t ms = (int64_t)(seconds * 1000 + 0.5);
    return ms > 0 ? ms : 1;
}

static int lnaq_conn_flush(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    int64_t ms = check_ms(L, 2);
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK || naq_conn_flush(c, ms, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int lnaq_conn_rtt(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    int64_t ms = check_ms(L, 2), us;
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK || naq_conn_rtt(c, ms, &us, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    lua_pushnumber(L, (lua_Number)us / 1e6);
    return 1;
}

static int lnaq_conn_status(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    naq_err err;
    if (!naq_pool_ours(c)) {
        (void)naq_pool_check(c, &err);
        return lnaq_fail(L, &err);
    }
    lua_pushstring(L, naq_conn_state_name(c));
    return 1;
}

/* conn:url() -> the server connected to, or nil */
static int lnaq_conn_url(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    char url[256] = "";
    if (naq_pool_ours(c)) naq_conn_url(c, url, sizeof url);
    if (url[0] == '\0') return 0;
    lua_pushstring(L, url);
    return 1;
}

static void set_count(lua_State *L, const char *name, uint64_t n) {
    lnaq_pushint64(L, (int64_t)n);
    lua_setfield(L, -2, name);
}

static int lnaq_conn_stats(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    naq_conn_counts counts;
    naq_err err;
    if (!naq_pool_ours(c)) {
        (void)naq_pool_check(c, &err);
        return lnaq_fail(L, &err);
    }
    naq_conn_count(c, &counts);
    naq_events *events = naq_conn_events_peek(c);
    lua_createtable(L, 0, 9);
    set_count(L, "in_messages", counts.in_msgs);
    set_count(L, "in_bytes", counts.in_bytes);
    set_count(L, "out_messages", counts.out_msgs);
    set_count(L, "out_bytes", counts.out_bytes);
    set_count(L, "reconnects", (uint64_t)naq_conn_reconnects(c));
    set_count(L, "disconnects", naq_events_count(events, NAQ_EVENT_DISCONNECTED));
    set_count(L, "slow_consumers", naq_events_count(events, NAQ_EVENT_SLOW_CONSUMER));
    set_count(L, "lame_ducks", naq_events_count(events, NAQ_EVENT_LAME_DUCK));
    set_count(L, "errors", naq_events_count(events, NAQ_EVENT_ERROR));
    return 1;
}

/* conn:next_event() -> name, sentence, time; nothing when there is none */
static int lnaq_conn_next_event(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    lnaq_conn *h = lua_touserdata(L, 1);
    naq_event event;
    if (!naq_pool_ours(c) || !naq_events_next(naq_conn_events_peek(c), &h->seen, &event)) return 0;
    lua_pushstring(L, naq_event_name(event.kind));
    lua_pushstring(L, event.text);
    lua_pushnumber(L, (lua_Number)event.at_us / 1e6);
    return 3;
}

const luaL_Reg LNAQ_STATE_METHODS[] = {
    {"info", lnaq_conn_info},
    {"max_payload", lnaq_conn_max_payload},
    {"url", lnaq_conn_url},
    {"flush", lnaq_conn_flush},
    {"rtt", lnaq_conn_rtt},
    {"status", lnaq_conn_status},
    {"stats", lnaq_conn_stats},
    {"next_event", lnaq_conn_next_event},
    {NULL, NULL},
};
