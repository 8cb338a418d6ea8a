/* lcodec.h -- Lua values <-> JSON text, exactly. May raise only out-of-memory. */
#ifndef NAQ_BIND_LCODEC_H
#define NAQ_BIND_LCODEC_H

#include "bind/lborder.h"

#include "base/buf.h"
#include "base/status.h"

/* Once per state, before anything else here: registers naq.null and the array mark. */
void lnaq_codec_open(lua_State *L);

/* Append the value at index to out. NAQ_SERIALIZATION with the path of the offending value
 * ("args.items[3].price: nan cannot be written as JSON"), NAQ_TOO_LARGE past max bytes (0: no
 * limit). root names the value in that path. Leaves the stack as it was. */
naq_status lnaq_encode(lua_State *L, int index, naq_buf *out, const char *root, size_t max,
                       naq_err *err);

/* Push the value that text holds (exactly one push on NAQ_OK, none otherwise). */
naq_status lnaq_decode(lua_State *L, const char *text, size_t len, naq_err *err);

#endif
