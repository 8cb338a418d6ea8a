/* lsub.c -- conn:subscribe() and conn:dispatcher(): handles on a naq_sub and a naq_dispatcher. A
 * message on its way into a table stands in the handle, where the finalizer finds it. */
#include "bind/lmessaging.h"

#include <limits.h>
#include <string.h>

#include "bind/lconn.h"
#include "bind/lmessage.h"
#include "nats/events.h"
#include "nats/pool.h"
#include "nats/subject.h"
#include "nats/subscription.h"

enum { SUB_KB = 32 }; /* and what waits in it */

static const char SUB_MT[] = "naq.sub", DISPATCHER_MT[] = "naq.dispatcher";

typedef struct lnaq_sub {
    naq_sub *sub; /* NULL: closed */
    naq_msg *held;
} lnaq_sub;

/* It listens to the connection's events too, which is why it keeps the connection. */
typedef struct lnaq_dispatcher {
    naq_dispatcher *dispatcher; /* NULL: closed */
    naq_msg *held;
    naq_conn *conn;
    naq_listener listener;
} lnaq_dispatcher;

static lnaq_dispatcher *check_dispatcher(lua_State *L, int index) {
    lnaq_dispatcher *h = luaL_checkudata(L, index, DISPATCHER_MT);
    luaL_argcheck(L, h->dispatcher != NULL, index, "the dispatcher is closed");
    return h;
}

static naq_sub *check_sub(lua_State *L) {
    lnaq_sub *h = luaL_checkudata(L, 1, SUB_MT);
    luaL_argcheck(L, h->sub != NULL, 1, "the subscription is closed");
    return h->sub;
}

static int lnaq_sub_gc(lua_State *L) {
    lnaq_sub *h = luaL_checkudata(L, 1, SUB_MT);
    naq_sub_close(h->sub, false);
    h->sub = NULL;
    naq_msg_free(h->held);
    h->held = NULL;
    return 0;
}

static int lnaq_sub_close(lua_State *L) {
    lnaq_sub *h = luaL_checkudata(L, 1, SUB_MT);
    naq_sub *sub = h->sub;
    h->sub = NULL;
    naq_sub_close(sub, true);
    return lnaq_sub_gc(L);
}

static int count_option(lua_State *L, int index, const char *name) {
    double n = lnaq_optnumber(L, index, name, 0);
    if (!(n >= -1 && n <= INT_MAX)) luaL_error(L, "option %s: out of range", name);
    return (int)n;
}

/* conn:subscribe(subject, options?, dispatcher?) */
static int lnaq_conn_subscribe(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    size_t len;
    const char *subject = luaL_checklstring(L, 2, &len);
    naq_sub_options o = {0};
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        o.queue = lnaq_optfield(L, 3, "queue", NULL);
        o.max_messages = count_option(L, 3, "max_messages");
        o.max_bytes = count_option(L, 3, "max_bytes");
        o.limit = count_option(L, 3, "limit");
        o.id = (uint32_t)lnaq_optnumber(L, 3, "id", 0);
    }
    if (!lua_isnoneornil(L, 4)) {
        o.to = check_dispatcher(L, 4)->dispatcher;
    }
    lnaq_sub *h = lua_newuserdata(L, sizeof *h);
    *h = (lnaq_sub){0};
    luaL_setmetatable(L, SUB_MT);
    naq_err err;
    naq_status status = naq_pool_check(c, &err);
    if (status == NAQ_OK) status = naq_subject_check(subject, len, true, &err);
    if (status == NAQ_OK && o.queue != NULL)
        status = naq_subject_check(o.queue, strlen(o.queue), false, &err);
    if (status == NAQ_OK) status = naq_sub_open(&h->sub, c, subject, &o, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lnaq_weigh(L, SUB_KB);
    return 1;
}

static int lnaq_sub_next(lua_State *L) {
    naq_sub *sub = check_sub(L);
    lnaq_sub *h = lua_touserdata(L, 1);
    int64_t ms = lnaq_check_ms(L, 2, -1);
    naq_err err;
    if (naq_sub_check(sub, &err) != NAQ_OK || naq_sub_next(sub, ms, &h->held, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    lnaq_push_message(L, &h->held);
    return 1;
}

static int done(lua_State *L, naq_status status, const naq_err *err) {
    if (status != NAQ_OK) return lnaq_fail(L, err);
    lua_pushboolean(L, 1);
    return 1;
}

static int lnaq_sub_limit(lua_State *L) {
    naq_sub *sub = check_sub(L);
    lua_Number n = luaL_checknumber(L, 2);
    luaL_argcheck(L, n >= 1 && n <= INT_MAX, 2, "a number of messages expected");
    naq_err err;
    naq_status status = naq_sub_check(sub, &err);
    return done(L, status == NAQ_OK ? naq_sub_limit(sub, (int)n, &err) : status, &err);
}

static int lnaq_sub_drain(lua_State *L) {
    naq_sub *sub = check_sub(L);
    int64_t ms = lnaq_check_ms(L, 2, -1);
    naq_err err;
    naq_status status = naq_sub_check(sub, &err);
    return done(L, status == NAQ_OK ? naq_sub_drain(sub, ms, &err) : status, &err);
}

static int lnaq_sub_stats(lua_State *L) {
    naq_sub *sub = check_sub(L);
    naq_sub_stats stats;
    naq_err err;
    if (naq_sub_check(sub, &err) != NAQ_OK) return lnaq_fail(L, &err);
    naq_sub_look(sub, &stats);
    lua_createtable(L, 0, 5);
    lnaq_pushint64(L, stats.delivered);
    lua_setfield(L, -2, "delivered");
    lnaq_pushint64(L, stats.dropped);
    lua_setfield(L, -2, "dropped");
    lnaq_pushint64(L, stats.messages);
    lua_setfield(L, -2, "messages");
    lnaq_pushint64(L, stats.bytes);
    lua_setfield(L, -2, "bytes");
    lua_pushboolean(L, stats.active);
    lua_setfield(L, -2, "active");
    return 1;
}

/* ---- the dispatcher */

static void on_event(void *ctx) {
    naq_dispatcher_wake(ctx);
}

static int lnaq_dispatcher_gc(lua_State *L) {
    lnaq_dispatcher *h = luaL_checkudata(L, 1, DISPATCHER_MT);
    if (h->conn != NULL && naq_pool_ours(h->conn)) {
        naq_events_unlisten(naq_conn_events_peek(h->conn), &h->listener);
        naq_pool_release(h->conn);
        naq_dispatcher_release(h->dispatcher);
    } /* else a fork: one of the parent's threads may have held its lock */
    h->conn = NULL;
    h->dispatcher = NULL;
    naq_msg_free(h->held);
    h->held = NULL;
    return 0;
}

static int lnaq_conn_dispatcher(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    lnaq_dispatcher *h = lua_newuserdata(L, sizeof *h);
    *h = (lnaq_dispatcher){0};
    luaL_setmetatable(L, DISPATCHER_MT);
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK) return lnaq_fail(L, &err);
    h->dispatcher = naq_dispatcher_new();
    if (h->dispatcher == NULL) return luaL_error(L, "out of memory");
    naq_pool_retain(c);
    h->conn = c;
    h->listener = (naq_listener){.wake = on_event, .ctx = h->dispatcher};
    naq_events_listen(naq_conn_events_peek(c), &h->listener);
    return 1;
}

/* dispatcher:wait(seconds) -> how many messages wait */
static int lnaq_dispatcher_wait(lua_State *L) {
    lnaq_dispatcher *h = check_dispatcher(L, 1);
    int64_t ms = lnaq_check_ms(L, 2, -1);
    naq_err err;
    if (naq_pool_check(h->conn, &err) != NAQ_OK) return lnaq_fail(L, &err);
    lnaq_pushint64(L, (int64_t)naq_dispatcher_wait(h->dispatcher, ms));
    return 1;
}

/* dispatcher:take() -> id, message */
static int lnaq_dispatcher_take(lua_State *L) {
    lnaq_dispatcher *h = check_dispatcher(L, 1);
    uint32_t id;
    h->held = naq_dispatcher_take(h->dispatcher, &id);
    if (h->held == NULL) return 0;
    lnaq_pushint64(L, (int64_t)id);
    lnaq_push_message(L, &h->held);
    return 2;
}

static const luaL_Reg METHODS[] = {
    {"close", lnaq_sub_close}, {"next", lnaq_sub_next},   {"limit", lnaq_sub_limit},
    {"drain", lnaq_sub_drain}, {"stats", lnaq_sub_stats}, {NULL, NULL},
};

static const luaL_Reg DISPATCHER_METHODS[] = {
    {"close", lnaq_dispatcher_gc},
    {"wait", lnaq_dispatcher_wait},
    {"take", lnaq_dispatcher_take},
    {NULL, NULL},
};

const luaL_Reg LNAQ_SUB_METHODS[] = {
    {"subscribe", lnaq_conn_subscribe},
    {"dispatcher", lnaq_conn_dispatcher},
    {NULL, NULL},
};

void lnaq_sub_open_class(lua_State *L) {
    lnaq_newclass(L, SUB_MT, METHODS, lnaq_sub_gc);
    lnaq_newclass(L, DISPATCHER_MT, DISPATCHER_METHODS, lnaq_dispatcher_gc);
}
