/* lpull.c -- conn:fetcher(): batches of a pull consumer. */
#include "bind/lconn.h"
#include "bind/lmessage.h"
#include "bind/lmessaging.h"
#include "nats/fetch.h"
#include "nats/pool.h"

static const char FETCHER_MT[] = "naq.fetcher", BATCH_MT[] = "naq.batch";

enum { BATCH_MAX = 100000 };

typedef struct lnaq_fetcher {
    naq_fetcher *fetcher; /* NULL: closed */
} lnaq_fetcher;

/* Messages until they are tables. */
typedef struct batch {
    int n;
    naq_msg *messages[];
} batch;

static int lnaq_batch_gc(lua_State *L) {
    batch *b = luaL_checkudata(L, 1, BATCH_MT);
    for (int i = 0; i < b->n; i++)
        naq_msg_free(b->messages[i]);
    b->n = 0;
    return 0;
}

static int lnaq_fetcher_gc(lua_State *L) {
    lnaq_fetcher *h = luaL_checkudata(L, 1, FETCHER_MT);
    naq_fetcher_close(h->fetcher, false);
    h->fetcher = NULL;
    return 0;
}

static int lnaq_fetcher_close(lua_State *L) {
    lnaq_fetcher *h = luaL_checkudata(L, 1, FETCHER_MT);
    naq_fetcher *fetcher = h->fetcher;
    h->fetcher = NULL;
    naq_fetcher_close(fetcher, true);
    return 0;
}

/* conn:fetcher(stream, consumer) */
static int lnaq_conn_fetcher(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    const char *stream = luaL_checkstring(L, 2), *consumer = luaL_checkstring(L, 3);
    lnaq_fetcher *h = lua_newuserdata(L, sizeof *h);
    h->fetcher = NULL;
    luaL_setmetatable(L, FETCHER_MT);
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK ||
        naq_fetcher_open(&h->fetcher, c, stream, consumer, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    return 1;
}

/* fetcher:fetch(n, seconds) -> a list of messages */
static int lnaq_fetcher_fetch(lua_State *L) {
    lnaq_fetcher *h = luaL_checkudata(L, 1, FETCHER_MT);
    luaL_argcheck(L, h->fetcher != NULL, 1, "the subscription is closed");
    lua_Number wanted = luaL_checknumber(L, 2);
    luaL_argcheck(L, wanted >= 1 && wanted <= BATCH_MAX, 2, "from 1 to 100000 messages");
    int64_t ms = lnaq_check_ms(L, 3, 5000);
    int n = (int)wanted, got = 0;
    batch *b = lua_newuserdata(L, sizeof *b + (size_t)n * sizeof b->messages[0]);
    b->n = 0;
    luaL_setmetatable(L, BATCH_MT);
    naq_err err;
    naq_status status = naq_fetch(h->fetcher, n, ms, b->messages, &got, &err);
    b->n = got;
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lua_createtable(L, got, 0);
    for (int i = 0; i < got; i++) {
        lnaq_push_message(L, &b->messages[i]);
        lua_rawseti(L, -2, i + 1);
    }
    b->n = 0;
    return 1;
}

static const luaL_Reg METHODS[] = {
    {"close", lnaq_fetcher_close},
    {"fetch", lnaq_fetcher_fetch},
    {NULL, NULL},
};
static const luaL_Reg NO_METHODS[] = {{NULL, NULL}};

const luaL_Reg LNAQ_PULL_METHODS[] = {
    {"fetcher", lnaq_conn_fetcher},
    {NULL, NULL},
};

void lnaq_pull_open_class(lua_State *L) {
    lnaq_newclass(L, BATCH_MT, NO_METHODS, lnaq_batch_gc);
    lnaq_newclass(L, FETCHER_MT, METHODS, lnaq_fetcher_gc);
}
