/* lconn.h -- the connection object of Lua: a counted handle on a pooled naq_conn.
 *
 * Its methods live in several files, one for each thing they do: lconn.c (the connection itself),
 * lstate.c (what it says about itself), lstream.c (layout, stored messages), lkv.c (buckets,
 * records), lpublish.c and ldelayed.c. lmodule.c calls lnaq_conn_open_class() once a state. */
#ifndef NAQ_BIND_LCONN_H
#define NAQ_BIND_LCONN_H

#include "bind/lborder.h"

#include "nats/conn.h"

typedef struct lnaq_conn {
    naq_conn *conn; /* NULL: closed */
    uint64_t seen;  /* the number of the last event that it was told */
} lnaq_conn;

extern const char LNAQ_CONN_MT[];

extern const luaL_Reg LNAQ_STATE_METHODS[];
extern const luaL_Reg LNAQ_STREAM_METHODS[];
extern const luaL_Reg LNAQ_KV_METHODS[];
extern const luaL_Reg LNAQ_PUBLISH_METHODS[];
extern const luaL_Reg LNAQ_DELAYED_METHODS[];

/* Register the class with the methods of all these files. */
void lnaq_conn_open_class(lua_State *L);

/* The open connection at index; raises when it is something else or closed. Borrowed: valid while
 * the handle stays on the stack. Before using it call naq_pool_check(), which refuses a connection
 * from before a fork. */
naq_conn *lnaq_checkconn(lua_State *L, int index);

/* core.connect(opts) */
int lnaq_connect(lua_State *L);

/* The pool as a whole (lpool.c). */
int lnaq_connection_stats(lua_State *L);
int lnaq_close_connections(lua_State *L);
int lnaq_test_connection(lua_State *L);

enum { LNAQ_SERVERS_MAX = 16 };

/* Read a naq.ConnectOptions table (nil or none: all defaults). Raises on a wrong type. All strings
 * stay borrowed from the table; out->servers points to the caller's array. */
void lnaq_conn_options(lua_State *L, int index, naq_conn_options *out,
                       const char *servers[LNAQ_SERVERS_MAX + 1]);

#endif
