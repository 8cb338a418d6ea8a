/* lmodule.h -- the one symbol that naq/core.so exports. A worker opens it in each of its states. */
#ifndef NAQ_BIND_LMODULE_H
#define NAQ_BIND_LMODULE_H

#include "bind/lborder.h"

__attribute__((visibility("default"))) int luaopen_naq_core(lua_State *L);

#endif
