/* lrequest.c -- what of a connection sends: publish, request, request_many. */
#include <string.h>

#include "bind/lconn.h"
#include "bind/lmessage.h"
#include "bind/lmessaging.h"
#include "nats/inbox.h"
#include "nats/pool.h"

static int lnaq_conn_publish(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    size_t len;
    naq_err err;
    naq_status status;
    const char *subject = lnaq_check_subject(L, 2, &status, &err);
    const char *data = luaL_optlstring(L, 3, "", &len);
    naq_conn_header headers[LNAQ_HEADERS_MAX];
    size_t n = 0;
    if (status == NAQ_OK) status = lnaq_read_headers(L, 4, headers, &n, &err);
    if (status == NAQ_OK) status = naq_pool_check(c, &err);
    if (status == NAQ_OK) status = naq_conn_send(c, subject, data, len, headers, n, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int64_t check_ms(lua_State *L, int index, double fallback) {
    double seconds = luaL_optnumber(L, index, fallback);
    luaL_argcheck(L, seconds > 0 && seconds < 1e6, index, "a positive number of seconds expected");
    int64_t ms = (int64_t)(seconds * 1000 + 0.5);
    return ms > 0 ? ms : 1;
}

/* The answer's message stays a C object until it is copied: held by a userdata of its own, so that
 * running out of memory in Lua does not leak it. */
static const char ANSWER_MT[] = "naq.answer";

static int lnaq_answer_gc(lua_State *L) {
    naq_conn_answer **held = luaL_checkudata(L, 1, ANSWER_MT);
    naq_conn_answer_free(*held);
    *held = NULL;
    return 0;
}

static int lnaq_conn_request(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    size_t len;
    naq_err err;
    naq_status status;
    const char *subject = lnaq_check_subject(L, 2, &status, &err);
    const char *data = luaL_optlstring(L, 3, "", &len);
    int64_t ms = check_ms(L, 4, 5);
    naq_conn_header headers[LNAQ_HEADERS_MAX];
    size_t n = 0;
    if (status == NAQ_OK) status = lnaq_read_headers(L, 5, headers, &n, &err);
    if (status == NAQ_OK) status = naq_pool_check(c, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    naq_conn_answer **held = lua_newuserdata(L, sizeof *held);
    *held = NULL;
    luaL_setmetatable(L, ANSWER_MT);
    if (naq_conn_ask(c, subject, data, len, headers, n, ms, held, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    const char *answer = naq_conn_answer_peek(*held, &len);
    lua_pushlstring(L, answer, len);
    lnaq_push_headers(L, *held);
    naq_conn_answer_free(*held); /* the collector may take its time */
    *held = NULL;
    return 2;
}

/* Answers end to end, each with its length in front. */
typedef struct answers {
    naq_buf bytes;
    lua_Integer wanted, have;
    const char *enough; /* an answer with this in it is the last one wanted; NULL: none is */
    size_t enough_len;
} answers;

static const char ANSWERS_MT[] = "naq.answers";

static int lnaq_answers_gc(lua_State *L) {
    answers *a = luaL_checkudata(L, 1, ANSWERS_MT);
    naq_buf_free(&a->bytes);
    return 0;
}

static bool collect(void *ctx, const char *data, size_t len) {
    answers *a = ctx;
    naq_buf_put(&a->bytes, &len, sizeof len);
    naq_buf_put(&a->bytes, data, len);
    if (a->enough != NULL && memmem(data, len, a->enough, a->enough_len) != NULL) return false;
    return !a->bytes.failed && ++a->have < a->wanted;
}

static int lnaq_conn_request_many(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    size_t len;
    naq_err err;
    naq_status status;
    const char *subject = lnaq_check_subject(L, 2, &status, &err);
    const char *data = luaL_optlstring(L, 3, "", &len);
    lua_Integer wanted = luaL_checkinteger(L, 4);
    int64_t ms = check_ms(L, 5, 1);
    size_t enough_len = 0;
    const char *enough = luaL_optlstring(L, 6, NULL, &enough_len);
    answers *a = lua_newuserdata(L, sizeof *a);
    memset(a, 0, sizeof *a);
    luaL_setmetatable(L, ANSWERS_MT);
    a->wanted = wanted;
    a->enough = enough;
    a->enough_len = enough_len;
    if (status == NAQ_OK) status = naq_pool_check(c, &err);
    if (status == NAQ_OK && wanted > 0)
        status = naq_ask_many(c, subject, data, len, ms, collect, a, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    if (a->bytes.failed) {
        (void)naq_fail(&err, NAQ_TOO_LARGE, "the answers to %s: out of memory", subject);
        return lnaq_fail(L, &err);
    }
    lua_newtable(L);
    size_t at = 0;
    for (int i = 1; at < a->bytes.len; i++) {
        memcpy(&len, a->bytes.data + at, sizeof len);
        lua_pushlstring(L, a->bytes.data + at + sizeof len, len);
        lua_rawseti(L, -2, i);
        at += sizeof len + len;
    }
    naq_buf_free(&a->bytes);
    return 1;
}

static const luaL_Reg NO_METHODS[] = {{NULL, NULL}};

const luaL_Reg LNAQ_REQUEST_METHODS[] = {
    {"publish", lnaq_conn_publish},
    {"request", lnaq_conn_request},
    {"request_many", lnaq_conn_request_many},
    {NULL, NULL},
};

void lnaq_request_open_class(lua_State *L) {
    lnaq_newclass(L, ANSWER_MT, NO_METHODS, lnaq_answer_gc);
    lnaq_newclass(L, ANSWERS_MT, NO_METHODS, lnaq_answers_gc);
}
