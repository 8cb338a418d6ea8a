/* lscheduler.h -- core.scheduler(opts), in the module for Lua 5.4 only. */
#ifndef NAQ_BIND_LSCHEDULER_H
#define NAQ_BIND_LSCHEDULER_H

#include "bind/lborder.h"

int lnaq_scheduler_new(lua_State *L);

#endif
