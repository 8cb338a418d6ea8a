/* leftover.h -- single stored messages by subject or sequence: looked at, and deleted. All block;
 * any thread but libnats' own.
 *
 * For what a killed server leaves behind. nats-server 2.9.10 may keep a message in a work queue
 * that its consumer remembers as acked: it is never delivered again, and no other message fits its
 * subject. */
#ifndef NAQ_NATS_LEFTOVER_H
#define NAQ_NATS_LEFTOVER_H

#include "nats/conn.h"
#include "nats/reply.h"

/* The last message of a subject. NAQ_KEY_NOT_FOUND: there is none. Free out with naq_stored_free().
 */
naq_status naq_message_last(naq_conn *c, const char *stream, const char *subject, naq_stored *out,
                            naq_err *err);
/* The first message with a sequence of `from` or more whose subject matches filter. */
naq_status naq_message_next(naq_conn *c, const char *stream, uint64_t from, const char *filter,
                            naq_stored *out, naq_err *err);
/* The message with that sequence. */
naq_status naq_message_get(naq_conn *c, const char *stream, uint64_t sequence, naq_stored *out,
                           naq_err *err);
/* By sequence, never by purging its subject: 2.9.10's consumers would skip what is pending. A
 * message that is gone already is NAQ_OK. */
naq_status naq_message_delete(naq_conn *c, const char *stream, uint64_t sequence, naq_err *err);
/* The same for good: what is only deleted is back when 2.9.10 is killed within some seconds. Not
 * for a work queue, whose count of sequences a kill in that very moment may cost. */
naq_status naq_message_erase(naq_conn *c, const char *stream, uint64_t sequence, naq_err *err);

#endif
