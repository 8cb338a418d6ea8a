/* lletter.h -- dead letters for Lua; see core.meta.lua. */
#ifndef NAQ_BIND_LLETTER_H
#define NAQ_BIND_LLETTER_H

#include <lua.h>

int lnaq_conn_browse(lua_State *L);   /* conn:browse(stream, opts) */
int lnaq_core_letter(lua_State *L);   /* core.letter(text) */
int lnaq_core_keep(lua_State *L);     /* core.keep(payload, max) */
int lnaq_core_revive(lua_State *L);   /* core.revive(text) */
int lnaq_core_postpone(lua_State *L); /* core.postpone(payload) */

#endif
