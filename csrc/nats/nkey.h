/* nkey.h -- the files of a NATS user's secret: an nkey seed, or credentials (JWT and seed). Any
 * thread; reads files, never the network.
 *
 * Both are read again by libnats each time it connects; what is done here is to look at them
 * before, so that a file that cannot work is named as such and not as refused credentials. What was
 * read of a secret is wiped from memory. */
#ifndef NAQ_NATS_NKEY_H
#define NAQ_NATS_NKEY_H

#include "base/status.h"

enum { NAQ_NKEY_TEXT = 57 }; /* "U" and 55 more of A-Z2-7, and the NUL */

/* The public key that belongs to the seed in the file: libnats asks for it beside the seed.
 * NAQ_CONFIGURATION when the file cannot be read or holds no valid user seed. */
naq_status naq_nkey_public(const char *path, char public_key[NAQ_NKEY_TEXT], naq_err *err);

/* Whether the file holds a user's JWT and a valid seed. NAQ_CONFIGURATION. */
naq_status naq_creds_check(const char *path, naq_err *err);

#endif
