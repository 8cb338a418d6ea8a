/* ldelayed.c -- a connection's method that stores one job until its time comes. */
#include <string.h>

#include "base/id.h"
#include "bind/lconn.h"
#include "nats/delayed.h"
#include "nats/pool.h"

/* conn:put_delayed(prefix, queue, priority, id, due, payload, hop?, moved?) */
static int lnaq_put_delayed(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    size_t priority_len;
    const char *priority = luaL_checklstring(L, 4, &priority_len);
    double due = luaL_checknumber(L, 6);
    naq_delayed_job d = {.prefix = lnaq_checkname(L, 2),
                         .queue = lnaq_checkname(L, 3),
                         .id = lnaq_checkname(L, 5),
                         .hop = lua_isnoneornil(L, 8) ? 0 : lnaq_checkint64(L, 8),
                         .moved = lua_toboolean(L, 9)};
    d.payload = luaL_checklstring(L, 7, &d.len);
    luaL_argcheck(L, strlen(d.prefix) <= NAQ_ID_MAX, 2, "prefix too long");
    luaL_argcheck(L, naq_priority_parse(priority, priority_len, &d.priority), 4,
                  "high, normal or low expected");
    naq_err err;
    uint64_t sequence = 0;
    naq_status status = naq_delayed_due(due, &d.due_ms, &err);
    if (!naq_id_valid(d.queue, strlen(d.queue)))
        status = naq_fail(&err, NAQ_INVALID, "a queue's name is 1 to 64 of [A-Za-z0-9_-]");
    else if (!naq_id_valid(d.id, strlen(d.id)))
        status = naq_fail(&err, NAQ_INVALID, "a job's id is 1 to 64 of [A-Za-z0-9_-]");
    if (status == NAQ_OK) status = naq_pool_check(c, &err);
    if (status == NAQ_OK) status = naq_delayed_add(c, &d, &sequence, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);

    lnaq_pushint64(L, (int64_t)sequence);
    return 1;
}

const luaL_Reg LNAQ_DELAYED_METHODS[] = {
    {"put_delayed", lnaq_put_delayed},
    {NULL, NULL},
};
