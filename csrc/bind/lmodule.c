/* lmodule.c -- luaopen_naq_core: the list of what is registered.
 *
 * Opening the module does no I/O and calls no nats_*: a process may require it and fork afterwards,
 * as nginx does. The library opens at the first connect. */
#include "bind/lmodule.h"

#include "bind/lcodec.h"
#include "bind/lconn.h"
#include "bind/lcron.h"
#include "bind/lletter.h"
#include "bind/lsystem.h"
#include "bind/lwatch.h"
#if LUA_VERSION_NUM >= 504
#include "bind/lscheduler.h"
#include "bind/lworker.h"
#endif

static int lnaq_libnats_version(lua_State *L) {
    lua_pushstring(L, naq_libnats_version());
    return 1;
}

static const luaL_Reg CORE[] = {
    {"encode", lnaq_core_encode},
    {"decode", lnaq_core_decode},
    {"array", lnaq_core_array},
    {"payload", lnaq_core_payload},
    {"letter", lnaq_core_letter},
    {"keep", lnaq_core_keep},
    {"revive", lnaq_core_revive},
    {"postpone", lnaq_core_postpone},
    {"cron_next", lnaq_cron_next},
    {"connect", lnaq_connect},
    {"connection_stats", lnaq_connection_stats},
    {"close_connections", lnaq_close_connections},
    {"test_connection", lnaq_test_connection},
    {"libnats_version", lnaq_libnats_version},
#if LUA_VERSION_NUM >= 504
    {"scheduler", lnaq_scheduler_new},
    {"worker", lnaq_worker_new}, /* limits and threads are promises for 5.4 only */
#endif
    {NULL, NULL},
};

/* The names of all codes, for naq.errors to check itself against. */
static void push_codes(lua_State *L) {
    lua_createtable(L, NAQ_STATUS_COUNT - 1, 0);
    for (int i = 1; i < NAQ_STATUS_COUNT; i++) {
        lua_pushstring(L, naq_status_code((naq_status)i));
        lua_rawseti(L, -2, i);
    }
}

int luaopen_naq_core(lua_State *L) {
    lnaq_codec_open(L);
    lnaq_conn_open_class(L);
    lnaq_watch_open_class(L);
    luaL_newlib(L, CORE);
    lnaq_system_register(L);
    lnaq_process_register(L);
    lua_pushliteral(L, NAQ_VERSION);
    lua_setfield(L, -2, "VERSION");
    lua_pushlightuserdata(L, NULL); /* as cjson.null */
    lua_setfield(L, -2, "null");
    push_codes(L);
    lua_setfield(L, -2, "codes");
    return 1;
}
