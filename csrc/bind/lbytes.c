/* lbytes.c -- buffers that the collector owns. */
#include "bind/lbytes.h"

#include <string.h>

static const char BYTES_MT[] = "naq.bytes";

static int lnaq_bytes_gc(lua_State *L) {
    naq_buf_free(luaL_checkudata(L, 1, BYTES_MT));
    return 0;
}

naq_buf *lnaq_newbytes(lua_State *L) {
    naq_buf *b = lua_newuserdata(L, sizeof *b);
    memset(b, 0, sizeof *b);
    lnaq_setgc(L, BYTES_MT, lnaq_bytes_gc);
    return b;
}

void lnaq_pushbytes(lua_State *L, naq_buf *b) {
    lua_pushlstring(L, b->data != NULL ? b->data : "", b->len);
    naq_buf_free(b);
}
