/* lwatch.h -- watching a bucket, registered with the connection's other methods on buckets. */
#ifndef NAQ_BIND_LWATCH_H
#define NAQ_BIND_LWATCH_H

#include "bind/lborder.h"

/* conn:kv_watch(bucket, filter, options) */
int lnaq_conn_kv_watch(lua_State *L);
/* Once per state. */
void lnaq_watch_open_class(lua_State *L);

#endif
