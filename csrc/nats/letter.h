/* letter.h -- a dead letter on the wire (docs/wire.md): written when a job is given up, read when
 * somebody looks, and turned back into a job. Any thread; never blocks. */
#ifndef NAQ_NATS_LETTER_H
#define NAQ_NATS_LETTER_H

#include "nats/envelope.h"
#include "nats/history.h"

/* All borrowed. */
typedef struct naq_letter {
    const char *id, *queue;
    naq_priority priority;
    const char *reason, *code, *message;
    const char *traceback; /* NULL or empty: none */
    int64_t failed_us;
    naq_history history; /* the last attempt in it */
    const char *payload;
    size_t payload_len;
} naq_letter;

/* Append the letter, at most max_bytes long: where they do not suffice, first the history and the
 * traceback are cut, in the end the payload is left out and `payload_cut` says how long it was:
 * *whole is false then. NAQ_TOO_LARGE when memory is out; NAQ_SERIALIZATION when the history is no
 * array. */
naq_status naq_letter_write(const naq_letter *l, size_t max_bytes, naq_buf *out, bool *whole,
                            naq_err *err);

/* "code":...,"message":...,"traceback":... without braces; a traceback NULL or empty is none. */
void naq_letter_put_error(naq_buf *out, const char *code, const char *message,
                          const char *traceback);

/* Append what a record keeps of a job that was cancelled, for it to be run again: "payload":...,
 * "attempts":[...] and, where some are gone, "attempts_cut", as much of it as max_bytes hold.
 * False: not even the payload, or it is no JSON, and nothing was appended. */
bool naq_letter_keep(const char *payload, size_t len, size_t max_bytes, naq_buf *out);

/* The members of a letter, or of a record that kept its payload: slices of the text. What is absent
 * has at NULL. */
typedef struct naq_letter_members {
    naq_slice id, queue, priority, reason; /* without quotes; ids and words need no escapes */
    naq_slice failed_at, error, attempts;  /* raw JSON */
    naq_slice payload, payload_base64;     /* raw JSON */
    int64_t attempts_cut, payload_cut;
} naq_letter_members;

/* NAQ_SERIALIZATION when the text is no JSON object. */
naq_status naq_letter_read(const char *text, size_t len, naq_letter_members *out, naq_err *err);

/* Append the job's payload for a new round: one hop on, attempt 1, what failed so far as its
 * history. NAQ_UNDECODABLE when it cannot be a job (not JSON, no job in it, left out for its size).
 */
naq_status naq_letter_revive(const naq_letter_members *l, naq_buf *out, int64_t *hop, naq_err *err);

#endif
