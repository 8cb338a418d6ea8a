/* lcodec.h -- Lua values <-> JSON text, exactly.
 *
 * Encoding looks at values raw: no metamethod runs, nothing is converted, nothing is allocated in
 * the Lua state but stack, so it does not raise (on 5.1, whose lua_checkstack can: only when
 * memory is out). Decoding raises when memory is out and holds nothing then. */
#ifndef NAQ_BIND_LCODEC_H
#define NAQ_BIND_LCODEC_H

#include "bind/lborder.h"

#include "base/buf.h"
#include "base/status.h"

/* Once per state, before anything else here: registers the array mark and the scratch buffer. */
void lnaq_codec_open(lua_State *L);

/* Append the value at index to out. NAQ_SERIALIZATION with the path of the offending value
 * ("args.items[3].price: nan cannot be written as JSON"), NAQ_TOO_LARGE past max bytes (0: no
 * limit) or when memory is out; out is then as long as before. root names the value in that path.
 * Leaves the stack as it was. A value may be nested NAQ_JSON_DEPTH levels deep less the two that a
 * record or a dead letter puts around it. Does not raise: the caller may hold out. */
naq_status lnaq_encode(lua_State *L, int index, naq_buf *out, const char *root, size_t max,
                       naq_err *err);

/* Push the value that text holds (exactly one push on NAQ_OK, none otherwise). Of members with the
 * same key the last one counts. */
naq_status lnaq_decode(lua_State *L, const char *text, size_t len, naq_err *err);

/* Push the metatable that marks arrays. */
void lnaq_push_array_mark(lua_State *L);

/* Append the payload of one job: {"v":1,"job":name,"args":...,"enqueued_at":now, ...fields}. The
 * indexes are of args (any value) and of the table of further members; 0: none. NAQ_INVALID for a
 * bad name, a field that has its own place or fields that are no table; else as lnaq_encode. Does
 * not raise. */
naq_status lnaq_payload(lua_State *L, const char *name, size_t name_len, int args_index,
                        int fields_index, naq_buf *out, naq_err *err);

/* core.encode, core.decode, core.array, core.payload */
int lnaq_core_encode(lua_State *L);
int lnaq_core_decode(lua_State *L);
int lnaq_core_array(lua_State *L);
int lnaq_core_payload(lua_State *L);

#endif
