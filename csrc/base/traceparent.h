/* traceparent.h -- the header of W3C Trace Context that says what a call belongs to:
 * 00-<32 hex digits: the trace>-<16: the span that caused it>-<2: flags>. Any thread. */
#ifndef NAQ_BASE_TRACEPARENT_H
#define NAQ_BASE_TRACEPARENT_H

#include <stdbool.h>
#include <stddef.h>

/* A version to come may be longer; what naq knows of it must still be as in version 00. */
bool naq_traceparent_valid(const char *s, size_t n);

#endif
