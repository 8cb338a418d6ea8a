/* greeting.h -- the line a NATS server says first to whoever connects. Any thread. */
#ifndef NAQ_BASE_GREETING_H
#define NAQ_BASE_GREETING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* [blocks, at most timeout_ms beside resolving the name] Connect to host:port, read the one line
 * `INFO {...}` and hang up. Appends the JSON object. False when there is none in time. */
bool naq_greeting_read(const char *host, const char *port, int64_t timeout_ms, naq_buf *json);

#endif
