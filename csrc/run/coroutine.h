/* coroutine.h -- coroutine.resume, wrap and close as a worker's states have them. */
#ifndef NAQ_RUN_COROUTINE_H
#define NAQ_RUN_COROUTINE_H

#include <lua.h>

/* Replaces the three in the global table coroutine. May raise. The calling thread's limits are
 * open. */
void naq_coroutine_open(lua_State *L);

#endif
