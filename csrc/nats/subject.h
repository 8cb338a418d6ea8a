/* subject.h -- what may stand where a subject or a header is expected. Pure; any thread.
 *
 * libnats writes what it is given into the protocol as it is: a subject with a space or a line
 * break in it would be read as something else by the server. */
#ifndef NAQ_NATS_SUBJECT_H
#define NAQ_NATS_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* NAQ_INVALID unless s is tokens joined by dots, none of them empty, without white space or control
 * characters. wildcards: "*" may be a token, ">" the last one; else neither may be one. */
naq_status naq_subject_check(const char *s, size_t len, bool wildcards, naq_err *err);

/* One token that the server's API takes as the name of a stream or consumer: no dots, wildcards,
 * slashes or white space. what: "stream", "consumer". */
naq_status naq_name_check(const char *what, const char *s, size_t len, naq_err *err);

/* A header's name has printable ASCII but no colon. Its value has no line break and no NUL, and is
 * not empty: libnats 3.4.1 would read the next header as its value. */
naq_status naq_header_check(const char *name, size_t name_len, const char *value, size_t value_len,
                            naq_err *err);

#endif
