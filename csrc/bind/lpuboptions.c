/* lpuboptions.c -- what may be asked of a publish, as headers of its message. */
#include "bind/lpuboptions.h"

#include <stdio.h>
#include <string.h>

#include "nats/subject.h"

static naq_status add_text(lua_State *L, int index, const char *option, const char *header,
                           naq_conn_header *headers, size_t *n, naq_err *err) {
    const char *text = lnaq_optfield(L, index, option, NULL);
    if (text == NULL) return NAQ_OK;
    headers[(*n)++] = (naq_conn_header){header, text};
    return naq_header_check(header, strlen(header), text, strlen(text), err);
}

static void add_number(lua_State *L, int index, const char *option, const char *header,
                       char text[24], naq_conn_header *headers, size_t *n) {
    lua_getfield(L, index, option);
    if (!lua_isnil(L, -1)) {
        (void)snprintf(text, 24, "%lld", (long long)lnaq_checkint64(L, -1));
        headers[(*n)++] = (naq_conn_header){header, text};
    }
    lua_pop(L, 1);
}

naq_status lnaq_read_publish_options(lua_State *L, int index, const char *msg_id, size_t id_len,
                                     naq_conn_header *headers, size_t *n, lnaq_publish_texts *texts,
                                     naq_err *err) {
    static const char id_header[] = "Nats-Msg-Id";
    naq_status status = NAQ_OK;
    if (msg_id != NULL)
        status = naq_header_check(id_header, sizeof id_header - 1, msg_id, id_len, err);
    if (status != NAQ_OK || lua_isnoneornil(L, index)) return status;
    luaL_checktype(L, index, LUA_TTABLE);
    add_number(L, index, "expect_last_subject_seq", "Nats-Expected-Last-Subject-Sequence",
               texts->text[0], headers, n);
    add_number(L, index, "expect_last_seq", "Nats-Expected-Last-Sequence", texts->text[1], headers,
               n);
    status = add_text(L, index, "expect_stream", "Nats-Expected-Stream", headers, n, err);
    if (status == NAQ_OK)
        status =
            add_text(L, index, "expect_last_msg_id", "Nats-Expected-Last-Msg-Id", headers, n, err);
    if (status != NAQ_OK) return status;
    lua_getfield(L, index, "headers");
    return lnaq_read_headers(L, lua_gettop(L), headers, n, err);
}
