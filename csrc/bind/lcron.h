/* lcron.h -- the times of cron expressions, for Lua. */
#ifndef NAQ_BIND_LCRON_H
#define NAQ_BIND_LCRON_H

#include "bind/lborder.h"

/* core.cron_next(expression, timezone?, after?, count?) */
int lnaq_cron_next(lua_State *L);

#endif
