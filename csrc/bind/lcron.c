/* lcron.c -- the times of cron expressions, for Lua: what a schedule is checked with before it is
 * written, and `naq schedule next`. */
#include "bind/lcron.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/cron.h"

enum { MOST = 10000 };

/* The years 0 to 9999: what ISO 8601 can write down. */
static const double EARLIEST = -62167219200.0, LATEST = 253402300799.0;

int lnaq_cron_next(lua_State *L) {
    size_t len, zone_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *zone_name = luaL_optlstring(L, 2, "UTC", &zone_len);
    double after = luaL_optnumber(L, 3, (double)naq_wall_us() / 1e6);
    int64_t count = lua_isnoneornil(L, 4) ? 1 : lnaq_checkint64(L, 4);
    luaL_argcheck(L, after >= EARLIEST && after <= LATEST, 3, "a time of the years 0 to 9999");
    luaL_argcheck(L, count >= 1 && count <= MOST, 4, "1 to 10000");

    int64_t *times = lua_newuserdata(L, (size_t)count * sizeof *times);
    int64_t at = (int64_t)floor(after), found = 0;
    naq_cron cron;
    naq_zone *zone = NULL;
    naq_err err;
    naq_status status = NAQ_OK;
    if (strlen(text) != len || strlen(zone_name) != zone_len)
        status = naq_fail(&err, NAQ_INVALID, "a cron expression or time zone with a NUL in it");
    if (status == NAQ_OK) status = naq_cron_parse(&cron, text, &err);
    if (status == NAQ_OK) status = naq_zone_open(&zone, zone_name, &err);
    while (status == NAQ_OK && found < count && naq_cron_next(&cron, zone, at, &at))
        times[found++] = at;
    naq_zone_close(zone);
    if (status != NAQ_OK) return lnaq_fail(L, &err);

    lua_createtable(L, (int)found, 0);
    for (int64_t i = 0; i < found; i++) {
        lnaq_pushint64(L, times[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}
