/* lbytes.h -- what C fetched, until Lua has it: buffers owned by a userdata, so that a Lua error on
 * the way (memory is out) does not leak them. */
#ifndef NAQ_BIND_LBYTES_H
#define NAQ_BIND_LBYTES_H

#include "bind/lborder.h"

#include "base/buf.h"

/* Push a userdata with an empty buffer; valid while that stays on the stack. */
naq_buf *lnaq_newbytes(lua_State *L);
/* Push what b holds as a string and empty it: the collector may take its time. */
void lnaq_pushbytes(lua_State *L, naq_buf *b);

#endif
