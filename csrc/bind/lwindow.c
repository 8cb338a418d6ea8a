/* lwindow.c -- conn:window(): publishing into streams without waiting for each ack.
 *
 * A naq_bulk that lives as long as the program wants. Its callback makes no Lua call: what was
 * refused is noted in C and pushed by await(). */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bind/lconn.h"
#include "bind/lmessage.h"
#include "bind/lmessaging.h"
#include "bind/lpuboptions.h"
#include "nats/pool.h"
#include "nats/publish.h"

enum { WINDOW_KB = 512 }; /* its slots, and what is in flight */

static const char WINDOW_MT[] = "naq.window";

typedef struct refusal {
    uint32_t index;
    naq_status status;
    char *message; /* NULL: out of memory */
} refusal;

typedef struct lnaq_window {
    naq_conn *conn; /* a reference of its own; NULL: closed */
    naq_bulk *bulk;
    uint32_t last; /* number of the latest message since await() */
    size_t stored, duplicates;
    refusal *refused;
    size_t n_refused, cap_refused;
} lnaq_window;

static void forget(lnaq_window *w) {
    for (size_t i = 0; i < w->n_refused; i++)
        free(w->refused[i].message);
    w->n_refused = 0;
    w->stored = w->duplicates = 0;
    w->last = 0;
}

static int lnaq_window_close(lua_State *L) {
    lnaq_window *w = luaL_checkudata(L, 1, WINDOW_MT);
    if (w->conn != NULL && naq_pool_ours(w->conn)) {
        naq_bulk_close(w->bulk);
        naq_pool_release(w->conn);
    }
    w->conn = NULL;
    w->bulk = NULL;
    forget(w);
    free(w->refused);
    w->refused = NULL;
    w->cap_refused = 0;
    return 0;
}

static void on_done(void *ctx, uint32_t index, naq_status status, const char *message,
                    bool duplicate) {
    lnaq_window *w = ctx;
    if (status == NAQ_OK) {
        w->stored++;
        w->duplicates += duplicate;
        return;
    }
    if (w->n_refused == w->cap_refused) {
        size_t cap = w->cap_refused == 0 ? 16 : w->cap_refused * 2;
        refusal *grown = realloc(w->refused, cap * sizeof *grown);
        if (grown == NULL) return; /* not counted as stored, at least */
        w->refused = grown;
        w->cap_refused = cap;
    }
    w->refused[w->n_refused++] = (refusal){index, status, strdup(message)};
}

/* conn:window({ max_in_flight =, seconds = }) */
static int lnaq_conn_window(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    double most = 0, seconds = 0;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        most = lnaq_optnumber(L, 2, "max_in_flight", 0);
        seconds = lnaq_optnumber(L, 2, "seconds", 0);
    }
    luaL_argcheck(L, most >= 0 && most <= UINT_MAX && seconds >= 0 && seconds < 1e6, 2,
                  "out of range");
    lnaq_window *w = lua_newuserdata(L, sizeof *w);
    memset(w, 0, sizeof *w);
    luaL_setmetatable(L, WINDOW_MT);
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK || naq_bulk_open(&w->bulk, c, on_done, w, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    naq_pool_retain(c);
    w->conn = c;
    naq_bulk_mix(w->bulk, (unsigned)most, (int64_t)(seconds * 1000));
    lnaq_weigh(L, WINDOW_KB);
    return 1;
}

static lnaq_window *check_window(lua_State *L) {
    lnaq_window *w = luaL_checkudata(L, 1, WINDOW_MT);
    luaL_argcheck(L, w->conn != NULL, 1, "the window is closed");
    return w;
}

/* window:publish(subject, data, msg_id?, options?) -> its number */
static int lnaq_window_publish(lua_State *L) {
    lnaq_window *w = check_window(L);
    naq_err err;
    naq_status status;
    const char *subject = lnaq_check_subject(L, 2, &status, &err);
    size_t len, id_len = 0, n = 0;
    const char *data = luaL_checklstring(L, 3, &len);
    const char *msg_id = luaL_optlstring(L, 4, NULL, &id_len);
    naq_conn_header headers[LNAQ_HEADERS_MAX];
    lnaq_publish_texts texts;
    if (status == NAQ_OK)
        status = lnaq_read_publish_options(L, 5, msg_id, id_len, headers, &n, &texts, &err);
    if (status == NAQ_OK) status = naq_pool_check(w->conn, &err);
    if (status == NAQ_OK)
        status = naq_bulk_push(w->bulk, w->last + 1, subject, msg_id, headers, n, data, len, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lnaq_pushint64(L, (int64_t)++w->last);
    return 1;
}

/* window:await(seconds) -> stored, duplicates, { [number] = { code =, message = } } */
static int lnaq_window_await(lua_State *L) {
    lnaq_window *w = check_window(L);
    int64_t ms = lnaq_check_ms(L, 2, INT_MAX);
    naq_err err;
    if (naq_pool_check(w->conn, &err) != NAQ_OK) return lnaq_fail(L, &err);
    if (!naq_bulk_wait(w->bulk, ms)) {
        naq_fail(&err, NAQ_TIMEOUT, "%u of %u messages have no ack yet",
                 naq_bulk_in_flight(w->bulk), (unsigned)w->last);
        return lnaq_fail(L, &err);
    }
    lnaq_pushint64(L, (int64_t)w->stored);
    lnaq_pushint64(L, (int64_t)w->duplicates);
    lua_newtable(L);
    for (size_t i = 0; i < w->n_refused; i++) {
        const refusal *r = &w->refused[i];
        lua_createtable(L, 0, 2);
        lua_pushstring(L, r->message != NULL ? r->message : "out of memory");
        lua_setfield(L, -2, "message");
        lua_pushstring(L, naq_status_code(r->status));
        lua_setfield(L, -2, "code");
        lua_rawseti(L, -2, (int)r->index);
    }
    forget(w);
    return 3;
}

static const luaL_Reg METHODS[] = {
    {"close", lnaq_window_close},
    {"publish", lnaq_window_publish},
    {"await", lnaq_window_await},
    {NULL, NULL},
};

const luaL_Reg LNAQ_WINDOW_METHODS[] = {
    {"window", lnaq_conn_window},
    {NULL, NULL},
};

void lnaq_window_open_class(lua_State *L) {
    lnaq_newclass(L, WINDOW_MT, METHODS, lnaq_window_close);
}
