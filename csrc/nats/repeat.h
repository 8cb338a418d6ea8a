/* repeat.h -- a publish was sent again, and its subject was taken: by its own first try? For the
 * files of csrc/nats that publish.
 *
 * Usually the server knows the Msg-Id and calls the repeat a duplicate. One that was killed may
 * have the message and not its Msg-Id (seen of 2.9.10), and after the stream's duplicates window
 * none has: then the repeat is refused for its subject, as another's would be. */
#ifndef NAQ_NATS_REPEAT_H
#define NAQ_NATS_REPEAT_H

#include <nats/nats.h>

#include "nats/conn.h"

/* [blocks] Which message has the place of m, one with a Msg-Id that was sent before? NAQ_OK: m
 * itself, with its sequence. NAQ_DUPLICATE: another. NAQ_KEY_NOT_FOUND: none any more. Else nobody
 * could tell: NAQ_TIMEOUT, NAQ_CONNECTION, NAQ_PERMISSION, ... */
naq_status naq_repeat_met(naq_conn *c, natsMsg *m, uint64_t *sequence);

#endif
