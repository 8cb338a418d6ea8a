/* credentials.h -- servers and secrets into natsOptions. */
#ifndef NAQ_NATS_CREDENTIALS_H
#define NAQ_NATS_CREDENTIALS_H

#include "nats/conn.h"

/* The servers, the user or token of their URLs, and what else o says about who we are.
 * NAQ_CONFIGURATION when that contradicts itself or a file cannot be used. */
naq_status naq_credentials_set(struct __natsOptions *options, const naq_conn_options *o,
                               naq_err *err);

#endif
