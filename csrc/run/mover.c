/* mover.c -- due: publish to the queue, then ack; not due: give back until it is. */
#include "run/mover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/envelope.h"

enum { BUSY_MS = 100, TROUBLE_MS = 1000, ANSWER_MS = 5000, SWEEP_MS = 1000 };

void naq_mover_init(naq_mover *m, naq_loop *loop, const char *prefix, uint16_t pull_index) {
    memset(m, 0, sizeof *m);
    m->loop = loop;
    m->prefix = prefix;
    char stream[96];
    (void)snprintf(stream, sizeof stream, "%s_delayed", prefix);
    naq_pull_init(&m->pull, loop, pull_index, stream, "mover");
}

static void give_back(naq_mover *m, naq_msg *msg, int64_t delay_ms) {
    char nak[64];
    int n = snprintf(nak, sizeof nak, "-NAK {\"delay\":%" PRId64 "}", delay_ms * 1000000);
    naq_loop_send(m->loop, naq_msg_reply(msg), nak, (size_t)n);
    naq_loop_bury(m->loop, msg);
}

static naq_move *free_move(naq_mover *m) {
    for (int i = 0; i < NAQ_MOVER_MOVES; i++)
        if (m->moves[i].msg == NULL) return &m->moves[i];
    return NULL;
}

/* "naq.q.<queue>.<priority>.<id>" from the header Naq-To and the subject's last token. */
static bool destination(naq_mover *m, naq_msg *msg, char *out, size_t size) {
    const char *to = naq_msg_header(msg, "Naq-To");
    const char *id = strrchr(naq_msg_subject(msg), '.');
    naq_address address;
    if (to == NULL || id == NULL) return false;
    int n = snprintf(out, size, "%s.q.%s%s", m->prefix, to, id);
    return n > 0 && (size_t)n < size && naq_address_parse(out, m->prefix, &address);
}

void naq_mover_delivered(naq_mover *m, naq_msg *msg) {
    const char *due = naq_msg_header(msg, "Naq-Due");
    int64_t wait_ms = (due != NULL ? strtoll(due, NULL, 10) : 0) - naq_wall_us() / 1000;
    if (wait_ms > 0) {
        give_back(m, msg, wait_ms);
        return;
    }
    naq_move *move = free_move(m);
    char subject[256];
    if (move == NULL) {
        give_back(m, msg, BUSY_MS);
        return;
    }
    if (!destination(m, msg, subject, sizeof subject)) {
        naq_log(NAQ_ERROR, "delayed job %s: its header Naq-To names no queue; it stays where it is",
                naq_msg_subject(msg));
        give_back(m, msg, 3600 * 1000);
        return;
    }
    uint32_t token = NAQ_MOVER_TOKEN | (uint32_t)(++move->generation & 0x7FFF) << 16 |
                     (uint32_t)(move - m->moves);
    const char *msg_id = naq_msg_header(msg, "Nats-Msg-Id");
    naq_err err;
    if (naq_loop_publish_id(m->loop, subject, token, msg_id != NULL ? msg_id : naq_msg_subject(msg),
                            naq_msg_data(msg), naq_msg_size(msg), &err) != NAQ_OK) {
        naq_log(NAQ_WARNING, "delayed job %s: %s", naq_msg_subject(msg), err.message);
        give_back(m, msg, TROUBLE_MS);
        return;
    }
    move->msg = msg;
    move->sent_ms = naq_mono_ms();
    m->n_moves++;
}

void naq_mover_answered(naq_mover *m, uint32_t token, const naq_answer *answer) {
    uint32_t index = token & 0xFFFF;
    if (index >= NAQ_MOVER_MOVES) return;
    naq_move *move = &m->moves[index];
    if (move->msg == NULL || (move->generation & 0x7FFFu) != (token >> 16 & 0x7FFFu)) return;
    naq_msg *msg = move->msg;
    move->msg = NULL;
    m->n_moves--;
    if (answer->status == NAQ_OK) {
        /* A duplicate was stored under this hop's Msg-Id by a mover that did not live to ack it. */
        naq_loop_send(m->loop, naq_msg_reply(msg), "+ACK", 4);
        naq_loop_bury(m->loop, msg);
        return;
    }
    if (answer->status == NAQ_DUPLICATE) {
        /* The queue still holds an earlier hop of this job, not acked yet. Acking now would lose
         * the job; once that message is gone, and it will be run or dropped by its record, this one
         * fits. */
        give_back(m, msg, BUSY_MS);
        return;
    }
    naq_log(NAQ_WARNING, "delayed job %s was not released: %.*s; it is tried again",
            naq_msg_subject(msg), (int)answer->text_len, answer->text);
    give_back(m, msg, TROUBLE_MS);
}

/* A publish that nobody answers (its stream had no leader) would keep its place for ever. The
 * message is delivered again when its lease ends, about now. */
static void give_up_late(naq_mover *m, int64_t now_ms) {
    if (m->n_moves == 0 || now_ms - m->swept_ms < SWEEP_MS) return;
    m->swept_ms = now_ms;
    for (int i = 0; i < NAQ_MOVER_MOVES; i++) {
        naq_move *move = &m->moves[i];
        if (move->msg == NULL || now_ms - move->sent_ms < ANSWER_MS) continue;
        naq_loop_bury(m->loop, move->msg);
        move->msg = NULL;
        m->n_moves--;
    }
}

void naq_mover_want(naq_mover *m, int64_t now_ms) {
    give_up_late(m, now_ms);
    naq_pull_want(&m->pull, NAQ_MOVER_MOVES - m->n_moves, now_ms);
}

void naq_mover_reset(naq_mover *m) {
    naq_pull_reset(&m->pull);
    for (int i = 0; i < NAQ_MOVER_MOVES; i++) {
        if (m->moves[i].msg == NULL) continue;
        naq_loop_bury(m->loop, m->moves[i].msg);
        m->moves[i].msg = NULL;
    }
    m->n_moves = 0;
}
