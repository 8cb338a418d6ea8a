/* lsystem.h -- the parts of naq.core that need no server: clocks, ids, the log, processes. */
#ifndef NAQ_BIND_LSYSTEM_H
#define NAQ_BIND_LSYSTEM_H

#include "bind/lborder.h"

/* Add their functions to the table on top of the stack. */
void lnaq_system_register(lua_State *L);
void lnaq_process_register(lua_State *L);

#endif
