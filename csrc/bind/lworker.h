/* lworker.h -- core.worker(opts), in the module for Lua 5.4 only. */
#ifndef NAQ_BIND_LWORKER_H
#define NAQ_BIND_LWORKER_H

#include "bind/lborder.h"

int lnaq_worker_new(lua_State *L);

#endif
