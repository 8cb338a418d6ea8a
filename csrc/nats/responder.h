/* responder.h -- answers requests on a core NATS subject, or only hears what is published there, on
 * libnats' thread: the callback only reads what is guarded and writes its answer. */
#ifndef NAQ_NATS_RESPONDER_H
#define NAQ_NATS_RESPONDER_H

#include "nats/conn.h"

typedef struct naq_responder naq_responder;
/* Append the answer to out; nothing appended, or nobody to send it to: no answer is
 * sent. */
typedef void (*naq_respond)(void *ctx, const char *data, size_t len, naq_buf *out);

naq_status naq_responder_open(naq_responder **out, naq_conn *c, const char *subject,
                              naq_respond respond, void *ctx, naq_err *err);
/* Returns when no callback runs any more. NULL is fine. */
void naq_responder_close(naq_responder *r);

#endif
