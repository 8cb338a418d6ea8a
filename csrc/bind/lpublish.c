/* lpublish.c -- the methods of a connection that store messages: js_publish and enqueue_many.
 *
 * enqueue_many alternates between Lua (reading an entry, prepare) and the bulk. The bulk belongs to
 * a userdata, so that a Lua error (memory, prepare) cannot leak it, and its callback makes no Lua
 * call: it notes refusals in C, and they are pushed when all is done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "bind/lcodec.h"
#include "bind/lconn.h"
#include "bind/lmessage.h"
#include "bind/lpuboptions.h"
#include "nats/delayed.h"
#include "nats/pool.h"
#include "nats/publish.h"

enum { SUBJECT_MAX = 256 };

/* ---- one */

static int lnaq_js_publish(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    naq_err err;
    naq_status status;
    const char *subject = lnaq_check_subject(L, 2, &status, &err);
    size_t len, id_len = 0, n = 0;
    const char *data = luaL_checklstring(L, 3, &len);
    const char *msg_id = luaL_optlstring(L, 4, NULL, &id_len);
    naq_conn_header headers[LNAQ_HEADERS_MAX];
    lnaq_publish_texts texts;
    int64_t timeout_ms = 0;
    if (lua_istable(L, 5)) timeout_ms = (int64_t)(lnaq_optnumber(L, 5, "seconds", 0) * 1000);
    if (status == NAQ_OK)
        status = lnaq_read_publish_options(L, 5, msg_id, id_len, headers, &n, &texts, &err);
    naq_pub_ack ack;
    if (status == NAQ_OK) status = naq_pool_check(c, &err);
    if (status == NAQ_OK)
        status = naq_publish(c, subject, msg_id, headers, n, data, len, timeout_ms, &ack, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);

    lnaq_pushint64(L, (int64_t)ack.sequence);
    lua_pushboolean(L, ack.duplicate);
    return 2;
}

/* ---- many */

static const char BULK_MT[] = "naq.bulk";

typedef struct refusal {
    uint32_t index;
    naq_status status;
    char *message; /* NULL: the server knew the id */
} refusal;

typedef struct lnaq_bulk {
    naq_bulk *bulk;
    naq_buf payload;
    int64_t most; /* bytes of a payload */
    char subject[SUBJECT_MAX];
    size_t default_len; /* of "<prefix>.q.<queue>.normal.", with which subject begins */
    char default_subject[SUBJECT_MAX];
    naq_delayed_form form; /* of an entry that is for later */
    refusal *refused;
    size_t n_refused, cap_refused;
    size_t stored;
} lnaq_bulk;

static void release(lnaq_bulk *b) {
    naq_bulk_close(b->bulk);
    b->bulk = NULL;
    naq_buf_free(&b->payload);
    for (size_t i = 0; i < b->n_refused; i++)
        free(b->refused[i].message);
    free(b->refused);
    b->refused = NULL;
    b->n_refused = b->cap_refused = 0;
}

static int lnaq_bulk_gc(lua_State *L) {
    release(lua_touserdata(L, 1));
    return 0;
}

static void refuse(lnaq_bulk *b, uint32_t index, naq_status status, const char *message) {
    if (b->n_refused == b->cap_refused) {
        size_t cap = b->cap_refused == 0 ? 16 : b->cap_refused * 2;
        refusal *grown = realloc(b->refused, cap * sizeof *grown);
        if (grown == NULL) return; /* the entry then looks stored: memory is gone anyhow */
        b->refused = grown;
        b->cap_refused = cap;
    }
    b->refused[b->n_refused++] = (refusal){index, status, message != NULL ? strdup(message) : NULL};
}

static void on_done(void *ctx, uint32_t index, naq_status status, const char *message,
                    bool duplicate) {
    lnaq_bulk *b = ctx;
    if (status == NAQ_OK && !duplicate)
        b->stored++;
    else if (status == NAQ_OK)
        refuse(b, index, NAQ_DUPLICATE, NULL);
    else
        refuse(b, index, status, message);
}

static lnaq_bulk *new_bulk(lua_State *L) {
    static const luaL_Reg none[] = {{NULL, NULL}};
    lnaq_bulk *b = lua_newuserdata(L, sizeof *b);
    memset(b, 0, sizeof *b);
    luaL_getmetatable(L, BULK_MT);
    if (lua_isnil(L, -1)) lnaq_newclass(L, BULK_MT, none, lnaq_bulk_gc);
    lua_pop(L, 1);
    luaL_setmetatable(L, BULK_MT);
    return b;
}

enum { AT_LIST = 2, AT_DEFAULTS, AT_PREPARE, AT_DUES, AT_BULK, AT_IDS, AT_ERRORS, AT_ENTRY };

/* What an entry's options made of it, or the defaults. */
typedef struct entry_plan {
    const char *subject;
    char id[NAQ_ID_MAX + 1];
    size_t id_len;
    int fields; /* stack index, 0: none */
    bool later; /* the bulk's form has subject and headers */
} entry_plan;

static void plan_default(lnaq_bulk *b, entry_plan *plan) {
    naq_id_new(plan->id);
    plan->id_len = NAQ_ID_NEW;
    plan->fields = 0;
    plan->later = false;
    memcpy(b->subject, b->default_subject, b->default_len);
    memcpy(b->subject + b->default_len, plan->id, plan->id_len + 1);
    plan->subject = b->subject;
}

/* Set errors[i] from the message and code at these indexes. */
static void push_refusal(lua_State *L, int i, int message, int code) {
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, message);
    lua_setfield(L, -2, "message");
    lua_pushvalue(L, code);
    lua_setfield(L, -2, "code");
    lua_rawseti(L, AT_ERRORS, i);
    lua_pushboolean(L, 0);
    lua_rawseti(L, AT_IDS, i);
}

/* prepare(opts) has left queue, priority, id, fields, due (or nil, message, code) on the stack from
 * `at`. False when it refused the entry, which is then noted. */
static bool plan_prepared(lua_State *L, lnaq_bulk *b, const char *prefix, int at, int i,
                          entry_plan *plan) {
    if (lua_isnil(L, at)) {
        push_refusal(L, i, at + 1, at + 2);
        return false;
    }
    size_t queue_len = 0, priority_len = 0, id_len = 0;
    const char *queue = lua_tolstring(L, at, &queue_len);
    const char *priority = lua_tolstring(L, at + 1, &priority_len);
    const char *id = lua_tolstring(L, at + 2, &id_len);
    naq_delayed_job d = {.prefix = prefix, .queue = queue, .id = plan->id};
    naq_err err = {.status = NAQ_OK};
    plan->later = !lua_isnil(L, at + 4);
    if (queue == NULL || !naq_id_valid(queue, queue_len))
        naq_fail(&err, NAQ_INVALID, "a queue's name is 1 to 64 of [A-Za-z0-9_-]");
    else if (priority == NULL || !naq_priority_parse(priority, priority_len, &d.priority))
        naq_fail(&err, NAQ_INVALID, "a priority is high, normal or low");
    else if (id != NULL && !naq_id_valid(id, id_len))
        naq_fail(&err, NAQ_INVALID, "a job's id is 1 to 64 of [A-Za-z0-9_-]");
    else if (plan->later)
        (void)naq_delayed_due(lua_tonumber(L, at + 4), &d.due_ms, &err);
    if (err.status != NAQ_OK) {
        refuse(b, (uint32_t)i, err.status, err.message);
        return false;
    }
    if (id != NULL) {
        memcpy(plan->id, id, id_len + 1);
        plan->id_len = id_len;
    } else {
        naq_id_new(plan->id);
        plan->id_len = NAQ_ID_NEW;
    }
    plan->fields = lua_isnil(L, at + 3) ? 0 : at + 3;
    plan->subject = plan->later ? b->form.subject : b->subject;
    if (plan->later)
        naq_delayed_fill(&b->form, &d, naq_wall_us() / 1000);
    else
        (void)snprintf(b->subject, sizeof b->subject, "%s.q.%s.%s.%s", prefix, queue, priority,
                       plan->id);
    return true;
}

/* An entry for the default queue of which no more is said than its time. */
static bool plan_due(lnaq_bulk *b, const char *prefix, const char *queue, double due, int i,
                     entry_plan *plan) {
    naq_delayed_job d = {.prefix = prefix, .queue = queue, .priority = NAQ_NORMAL, .id = plan->id};
    naq_err err;
    if (naq_delayed_due(due, &d.due_ms, &err) != NAQ_OK) {
        refuse(b, (uint32_t)i, err.status, err.message);
        return false;
    }
    int64_t now_ms = naq_wall_us() / 1000;
    plan_default(b, plan);
    plan->later = d.due_ms > now_ms;
    if (!plan->later) return true;
    naq_delayed_fill(&b->form, &d, now_ms);
    plan->subject = b->form.subject;
    return true;
}

typedef enum planned { PLANNED, REFUSED, RAISED } planned;

/* Entry i, which stands at AT_ENTRY. RAISED: with the error on top of the stack. */
static planned plan_entry(lua_State *L, lnaq_bulk *b, const char *prefix, const char *queue, int i,
                          entry_plan *plan) {
    enum { OPTIONS = AT_ENTRY + 3, ABOVE };
    if (lua_isnil(L, OPTIONS)) {
        plan_default(b, plan);
        return PLANNED;
    }
    if (lua_istable(L, AT_DUES)) {
        lua_pushvalue(L, OPTIONS);
        lua_rawget(L, AT_DUES);
        bool known = lua_type(L, -1) == LUA_TNUMBER;
        double due = lua_tonumber(L, -1);
        lua_pop(L, 1);
        if (known) return plan_due(b, prefix, queue, due, i, plan) ? PLANNED : REFUSED;
    }
    lua_pushvalue(L, AT_PREPARE);
    lua_pushvalue(L, OPTIONS);
    if (lua_pcall(L, 1, 5, 0) != LUA_OK) return RAISED;
    return plan_prepared(L, b, prefix, ABOVE, i, plan) ? PLANNED : REFUSED;
}

/* Send entry i, which stands at AT_ENTRY with its name, args and options above it. Returns an error
 * only when nothing more can be sent. */
static naq_status send_entry(lua_State *L, lnaq_bulk *b, const entry_plan *plan, int i,
                             naq_err *err) {
    size_t name_len;
    const char *name = lua_tolstring(L, AT_ENTRY + 1, &name_len);
    naq_buf_clear(&b->payload);
    int args = lua_isnil(L, AT_ENTRY + 2) ? 0 : AT_ENTRY + 2;
    if (lnaq_payload(L, name, name_len, args, plan->fields, &b->payload, err) != NAQ_OK) {
        refuse(b, (uint32_t)i, err->status, err->message);
        return NAQ_OK;
    }
    if ((int64_t)b->payload.len > b->most) {
        naq_fail(err, NAQ_TOO_LARGE, "payload: %zu bytes, and a job may have %lld", b->payload.len,
                 (long long)b->most);
        refuse(b, (uint32_t)i, err->status, err->message);
        return NAQ_OK;
    }
    char msg_id[NAQ_ID_MAX + 3];
    memcpy(msg_id, plan->id, plan->id_len);
    memcpy(msg_id + plan->id_len, ":0", 3);
    return naq_bulk_push(b->bulk, (uint32_t)i, plan->subject, msg_id, b->form.headers,
                         plan->later ? 2 : 0, b->payload.data, b->payload.len, err);
}

/* Misuse is found before anything is sent. */
static size_t check_list(lua_State *L) {
    luaL_checktype(L, AT_LIST, LUA_TTABLE);
    size_t n = lua_rawlen(L, AT_LIST);
    luaL_argcheck(L, n < INT32_MAX, AT_LIST, "too long");
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, AT_LIST, (int)i);
        if (!lua_istable(L, -1)) luaL_error(L, "entry %d must be { name, args, opts }", (int)i);
        lua_rawgeti(L, -1, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "entry %d: a job's name must be a string", (int)i);
        lua_rawgeti(L, -2, 3);
        if (!lua_isnil(L, -1) && !lua_isfunction(L, AT_PREPARE))
            luaL_error(L, "entry %d has options, but there is no function to prepare them", (int)i);
        lua_pop(L, 3);
    }
    return n;
}

static void push_refusals(lua_State *L, lnaq_bulk *b) {
    for (size_t k = 0; k < b->n_refused; k++) {
        const refusal *r = &b->refused[k];
        int i = (int)r->index;
        if (r->message != NULL) {
            lua_pushstring(L, r->message);
        } else {
            lua_rawgeti(L, AT_IDS, i);
            lua_pushfstring(L, "there is a job %s already", lua_tostring(L, -1));
            lua_remove(L, -2);
        }
        lua_pushstring(L, naq_status_code(r->status));
        push_refusal(L, i, lua_gettop(L) - 1, lua_gettop(L));
        lua_pop(L, 2);
    }
}

static int lnaq_enqueue_many(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    lua_settop(L, AT_PREPARE);
    size_t n = check_list(L);
    luaL_checktype(L, AT_DEFAULTS, LUA_TTABLE);
    const char *prefix = lnaq_optfield(L, AT_DEFAULTS, "prefix", "naq");
    const char *queue = lnaq_optfield(L, AT_DEFAULTS, "queue", "default");
    luaL_argcheck(L, strlen(prefix) <= NAQ_ID_MAX, AT_DEFAULTS, "prefix too long");
    luaL_argcheck(L, naq_id_valid(queue, strlen(queue)), AT_DEFAULTS, "not a queue's name");
    lua_getfield(L, AT_DEFAULTS, "dues");

    lnaq_bulk *b = new_bulk(L);
    b->default_len = (size_t)snprintf(b->default_subject, sizeof b->default_subject,
                                      "%s.q.%s.normal.", prefix, queue);
    lua_createtable(L, (int)n, 0);
    lua_newtable(L);
    naq_err err;
    if (naq_pool_check(c, &err) != NAQ_OK || naq_bulk_open(&b->bulk, c, on_done, b, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    b->most = naq_envelope_max(naq_conn_max_payload(c));

    int raised = 0; /* an error of prepare, on top of the stack then */
    size_t i;
    for (i = 1; i <= n; i++) {
        lua_settop(L, AT_ERRORS);
        lua_rawgeti(L, AT_LIST, (int)i);
        for (int k = 1; k <= 3; k++)
            lua_rawgeti(L, AT_ENTRY, k);
        entry_plan plan;
        planned p = plan_entry(L, b, prefix, queue, (int)i, &plan);
        raised = p == RAISED;
        if (raised) break;
        if (p == REFUSED) continue;
        lua_pushlstring(L, plan.id, plan.id_len);
        lua_rawseti(L, AT_IDS, (int)i);
        if (send_entry(L, b, &plan, (int)i, &err) != NAQ_OK) break;
    }
    naq_err last;
    naq_status ended = naq_bulk_finish(b->bulk, &last);
    if (raised) {
        release(b);
        return lua_error(L);
    }
    if (ended == NAQ_OK && i <= n) last = err;
    if ((ended != NAQ_OK || i <= n) && b->stored == 0) {
        release(b);
        return lnaq_fail(L, &last);
    }
    for (; i <= n; i++)
        refuse(b, (uint32_t)i, last.status, last.message);
    lua_settop(L, AT_ERRORS);
    push_refusals(L, b);
    release(b); /* not left to the collector: it holds a subscription */
    return 2;
}

static int lnaq_max_job(lua_State *L) {
    lnaq_pushint64(L, naq_envelope_max(naq_conn_max_payload(lnaq_checkconn(L, 1))));
    return 1;
}

const luaL_Reg LNAQ_PUBLISH_METHODS[] = {
    {"max_job", lnaq_max_job},
    {"js_publish", lnaq_js_publish},
    {"enqueue_many", lnaq_enqueue_many},
    {NULL, NULL},
};
