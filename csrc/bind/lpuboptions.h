/* lpuboptions.h -- the options of publishing into a stream: what is expected of it, headers. */
#ifndef NAQ_BIND_LPUBOPTIONS_H
#define NAQ_BIND_LPUBOPTIONS_H

#include "bind/lmessage.h"

/* Numbers among the headers, until they are sent. */
typedef struct lnaq_publish_texts {
    char text[2][24];
} lnaq_publish_texts;

/* Read the table at index (nil or none: nothing) into headers: expect_stream, expect_last_seq,
 * expect_last_subject_seq, expect_last_msg_id, headers; and check msg_id (NULL: none). What headers
 * point to stays on the stack and in texts. NAQ_INVALID for text that cannot be a header. */
naq_status lnaq_read_publish_options(lua_State *L, int index, const char *msg_id, size_t id_len,
                                     naq_conn_header *headers, size_t *n, lnaq_publish_texts *texts,
                                     naq_err *err);

#endif
