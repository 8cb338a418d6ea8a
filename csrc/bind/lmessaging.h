/* lmessaging.h -- the methods of a connection that send and receive messages, by file. */
#ifndef NAQ_BIND_LMESSAGING_H
#define NAQ_BIND_LMESSAGING_H

#include "bind/lborder.h"

extern const luaL_Reg LNAQ_REQUEST_METHODS[]; /* publish, request, request_many */
extern const luaL_Reg LNAQ_SUB_METHODS[];     /* subscribe, dispatcher */
extern const luaL_Reg LNAQ_PULL_METHODS[];    /* fetcher */
extern const luaL_Reg LNAQ_WINDOW_METHODS[];  /* window */

void lnaq_request_open_class(lua_State *L);
void lnaq_sub_open_class(lua_State *L);
void lnaq_pull_open_class(lua_State *L);
void lnaq_window_open_class(lua_State *L);

#endif
