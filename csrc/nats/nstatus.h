/* nstatus.h -- what libnats and JetStream answer, as our one error type. */
#ifndef NAQ_NATS_NSTATUS_H
#define NAQ_NATS_NSTATUS_H

#include <nats/nats.h>

#include "base/status.h"

/* JetStream's err_code values that naq reacts to. */
enum {
    NAQ_JS_WRONG_LAST_SEQUENCE = 10071,
    NAQ_JS_WRONG_LAST_MSG_ID = 10070,
    NAQ_JS_MAX_MSGS_PER_SUBJECT = 10077,
    NAQ_JS_NOT_AVAILABLE = 10008,
    NAQ_JS_NO_RESPONDERS = 10076, /* libnats' own: nobody answered the subject */
    NAQ_JS_STREAM_NOT_FOUND = 10059,
    NAQ_JS_CONSUMER_NOT_FOUND = 10014,
    NAQ_JS_MSG_NOT_FOUND = 10037,
    NAQ_JS_REPLICAS_DIFFER = 10134 /* a consumer's from its work queue's; since 2.10 */
};

/* Once, before nats_Open(). */
void naq_nstatus_before_open(void);

/* Fill err from a failed libnats call: must run on the thread that made it, before any other nats_*
 * call, because the last-error text is per thread. js may be 0. what names the object. */
naq_status naq_from_nats(naq_err *err, natsStatus s, int js, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Fill err from a JetStream error answer {"error":{"code","err_code","description"}}. */
naq_status naq_from_js(naq_err *err, int js, const char *description, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
