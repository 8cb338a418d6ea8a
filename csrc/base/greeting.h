/* greeting.h -- the line a NATS server says first to whoever connects. Any thread. */
#ifndef NAQ_BASE_GREETING_H
#define NAQ_BASE_GREETING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

typedef enum naq_greeting {
    NAQ_GREETING_READ,    /* `INFO {...}` */
    NAQ_GREETING_NO_NAME, /* the host's name cannot be resolved */
    NAQ_GREETING_NOBODY,  /* nothing listens there, or there is no way to it */
    NAQ_GREETING_SILENT,  /* no connection, or no word, in time */
    NAQ_GREETING_HUNG_UP, /* connected, and closed without a word */
    NAQ_GREETING_FOREIGN  /* something was said that no NATS server says */
} naq_greeting;

/* [blocks, at most timeout_ms beside resolving the name] Connect to host:port, read one line and
 * hang up. Of a greeting the JSON object is appended to said; of foreign words, what was said. */
naq_greeting naq_greeting_read(const char *host, const char *port, int64_t timeout_ms,
                               naq_buf *said);

#endif
