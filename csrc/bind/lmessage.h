/* lmessage.h -- messages and headers across the border. */
#ifndef NAQ_BIND_LMESSAGE_H
#define NAQ_BIND_LMESSAGE_H

#include "bind/lborder.h"

#include "nats/conn.h"
#include "nats/message.h"

/* Push a message as a table: subject, data, reply (nil: none), headers; of a consumer's also
 * stream, consumer, seq, consumer_seq, delivered, timestamp, pending. Frees *held, which the caller
 * keeps where a finalizer finds it, and sets it to NULL. */
void lnaq_push_message(lua_State *L, naq_msg **held);

/* Push a table of its headers: a string under each name, or a list of them where there are several.
 */
void lnaq_push_headers(lua_State *L, naq_msg *m);

/* Add a value to the table of headers on top of the stack. */
void lnaq_add_header(lua_State *L, const char *name, size_t name_len, const char *value,
                     size_t value_len);

enum { LNAQ_HEADERS_MAX = 64 };

/* Read such a table (nil or none: no headers) into headers, from place n on; what it holds stays
 * borrowed from the table. Raises on a wrong type, and on more than LNAQ_HEADERS_MAX in all. How
 * many there are then in *n; NAQ_INVALID for a name or value that cannot be a header. */
naq_status lnaq_read_headers(lua_State *L, int index, naq_conn_header *headers, size_t *n,
                             naq_err *err);

/* The subject at index, which must be a string; NAQ_INVALID when it cannot be published to. */
const char *lnaq_check_subject(lua_State *L, int index, naq_status *status, naq_err *err);

/* Seconds at index as milliseconds, 1 at least where more than 0 is given; nil or none: fallback.
 */
int64_t lnaq_check_ms(lua_State *L, int index, int64_t fallback);

#endif
