/* lkv.c -- the connection's methods on buckets and on jobs' records. */
#include <string.h>

#include "bind/lbytes.h"
#include "bind/lconn.h"
#include "bind/lmessage.h"
#include "bind/lwatch.h"
#include "nats/kv.h"
#include "nats/pool.h"
#include "nats/results.h"

/* bucket, key at 2 and 3; how long to insist, in seconds, at `seconds` or not at all. */
static naq_kv_ref check_ref(lua_State *L, int seconds) {
    naq_kv_ref k = {.c = lnaq_checkconn(L, 1),
                    .bucket = lnaq_checkname(L, 2),
                    .key = lnaq_checkname(L, 3),
                    .within_ms = lnaq_check_ms(L, seconds, 0)};
    return k;
}

static int lnaq_conn_kv_get(lua_State *L) {
    naq_kv_ref k = check_ref(L, 5);
    k.direct = lua_toboolean(L, 4);
    naq_buf *value = lnaq_newbytes(L);
    naq_kv_entry entry;
    naq_err err;
    naq_status status = naq_pool_check(k.c, &err);
    if (status == NAQ_OK) status = naq_kv_read(&k, &entry, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    *value = entry.value;
    lnaq_pushbytes(L, value);
    lnaq_pushint64(L, (int64_t)entry.revision);
    return 2;
}

static int push_revision(lua_State *L, naq_status status, uint64_t revision, const naq_err *err) {
    if (status != NAQ_OK) return lnaq_fail(L, err);
    lnaq_pushint64(L, (int64_t)revision);
    return 1;
}

static int put(lua_State *L, int64_t expected, int seconds) {
    naq_kv_ref k = check_ref(L, seconds);
    size_t len;
    const char *value = luaL_checklstring(L, 4, &len);
    uint64_t revision = 0;
    naq_err err;
    naq_status status = naq_pool_check(k.c, &err);
    if (status == NAQ_OK) status = naq_kv_write(&k, value, len, expected, &revision, &err);
    return push_revision(L, status, revision, &err);
}

static int lnaq_conn_kv_put(lua_State *L) {
    return put(L, -1, 5);
}

static int lnaq_conn_kv_update(lua_State *L) {
    int64_t expected = lnaq_checkint64(L, 5);
    luaL_argcheck(L, expected >= 0, 5, "a revision expected");
    return put(L, expected, 6);
}

static int lnaq_conn_kv_create(lua_State *L) {
    naq_kv_ref k = check_ref(L, 5);
    size_t len;
    const char *value = luaL_checklstring(L, 4, &len);
    uint64_t revision = 0;
    naq_err err;
    naq_status status = naq_pool_check(k.c, &err);
    if (status == NAQ_OK) status = naq_kv_make(&k, value, len, &revision, &err);
    return push_revision(L, status, revision, &err);
}

static int remove_key(lua_State *L, bool purge) {
    naq_kv_ref k = check_ref(L, 5);
    int64_t expected = lua_isnoneornil(L, 4) ? -1 : lnaq_checkint64(L, 4);
    luaL_argcheck(L, expected >= -1, 4, "a revision expected");
    naq_err err;
    naq_status status = naq_pool_check(k.c, &err);
    if (status == NAQ_OK) status = naq_kv_remove(&k, purge, expected, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int lnaq_conn_kv_delete(lua_State *L) {
    return remove_key(L, false);
}

static int lnaq_conn_kv_purge(lua_State *L) {
    return remove_key(L, true);
}

/* An entry among the collected ones; key and value follow it. */
typedef struct row {
    size_t key_len, value_len;
    uint64_t revision;
    int64_t created_us;
} row;

static bool collect(void *ctx, const char *key, const void *value, size_t len, uint64_t revision,
                    int64_t created_us) {
    naq_buf *rows = ctx;
    row r = {strlen(key), len, revision, created_us};
    naq_buf_put(rows, &r, sizeof r);
    naq_buf_put(rows, key, r.key_len);
    naq_buf_put(rows, value, len);
    return !rows->failed;
}

static void push_row(lua_State *L, const row *r, const char *bytes) {
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, bytes, r->key_len);
    lua_setfield(L, -2, "key");
    lua_pushlstring(L, bytes + r->key_len, r->value_len);
    lua_setfield(L, -2, "value");
    lnaq_pushint64(L, (int64_t)r->revision);
    lua_setfield(L, -2, "revision");
    lua_pushnumber(L, (lua_Number)r->created_us / 1e6);
    lua_setfield(L, -2, "created");
}

static int lnaq_conn_kv_entries(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    const char *bucket = lnaq_checkname(L, 2);
    const char *filter = lua_isnoneornil(L, 3) ? ">" : lnaq_checkname(L, 3);
    naq_buf *rows = lnaq_newbytes(L);
    naq_err err;
    naq_status status = naq_pool_check(c, &err);
    if (status == NAQ_OK) status = naq_kv_each(c, bucket, filter, collect, rows, &err);
    if (status == NAQ_OK && rows->failed)
        status = naq_fail(&err, NAQ_TOO_LARGE, "listing bucket %s: out of memory", bucket);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lua_newtable(L);
    size_t at = 0;
    for (int i = 1; at < rows->len; i++) {
        row r;
        memcpy(&r, rows->data + at, sizeof r);
        push_row(L, &r, rows->data + at + sizeof r);
        lua_rawseti(L, -2, i);
        at += sizeof r + r.key_len + r.value_len;
    }
    naq_buf_free(rows);
    return 1;
}

static bool collect_key(void *ctx, const char *key, const void *value, size_t len,
                        uint64_t revision, int64_t created_us) {
    naq_buf *keys = ctx;
    (void)value, (void)len, (void)revision, (void)created_us;
    naq_buf_put(keys, key, strlen(key) + 1);
    return !keys->failed;
}

static int lnaq_conn_kv_keys(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    const char *bucket = lnaq_checkname(L, 2);
    const char *filter = lua_isnoneornil(L, 3) ? ">" : lnaq_checkname(L, 3);
    naq_buf *keys = lnaq_newbytes(L);
    naq_err err;
    naq_status status = naq_pool_check(c, &err);
    if (status == NAQ_OK) status = naq_kv_keys(c, bucket, filter, collect_key, keys, &err);
    if (status == NAQ_OK && keys->failed)
        status = naq_fail(&err, NAQ_TOO_LARGE, "listing bucket %s: out of memory", bucket);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lua_newtable(L);
    size_t at = 0;
    for (int i = 1; at < keys->len; i++) {
        size_t n = strlen(keys->data + at);
        lua_pushlstring(L, keys->data + at, n);
        lua_rawseti(L, -2, i);
        at += n + 1;
    }
    naq_buf_free(keys);
    return 1;
}

static int lnaq_conn_find_record(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    const char *prefix = luaL_checkstring(L, 2);
    const char *id = luaL_checkstring(L, 3);
    naq_buf *value = lnaq_newbytes(L);
    naq_record record;
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK) return lnaq_fail(L, &err);
    if (naq_results_find(c, prefix, id, &record, &err) != NAQ_OK) {
        if (err.status == NAQ_JOB_NOT_FOUND && record.expired)
            (void)naq_fail(&err, NAQ_EXPIRED, "job %s: ended, and its record has expired", id);
        return lnaq_fail(L, &err);
    }
    *value = record.entry.value;
    lnaq_pushbytes(L, value);
    lnaq_pushint64(L, (int64_t)record.entry.revision);
    char bucket[96];
    naq_results_bucket(prefix, record.where, bucket, sizeof bucket);
    lua_pushstring(L, bucket);
    return 3;
}

static int lnaq_conn_wait_record(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    const char *prefix = luaL_checkstring(L, 2);
    const char *id = luaL_checkstring(L, 3);
    double seconds = luaL_checknumber(L, 4);
    luaL_argcheck(L, seconds >= 0, 4, "a number of seconds expected");
    int64_t ms = seconds < 1e9 ? (int64_t)(seconds * 1000 + 0.5) : INT64_C(1000000000000);
    naq_buf *value = lnaq_newbytes(L);
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK ||
        naq_results_wait(c, prefix, id, ms, value, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    lnaq_pushbytes(L, value);
    return 1;
}

const luaL_Reg LNAQ_KV_METHODS[] = {
    {"kv_get", lnaq_conn_kv_get},           {"kv_put", lnaq_conn_kv_put},
    {"kv_create", lnaq_conn_kv_create},     {"kv_update", lnaq_conn_kv_update},
    {"kv_delete", lnaq_conn_kv_delete},     {"kv_purge", lnaq_conn_kv_purge},
    {"kv_keys", lnaq_conn_kv_keys},         {"kv_watch", lnaq_conn_kv_watch},
    {"kv_entries", lnaq_conn_kv_entries},   {"find_record", lnaq_conn_find_record},
    {"wait_record", lnaq_conn_wait_record}, {NULL, NULL},
};
