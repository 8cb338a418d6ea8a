/* test_pull.c -- a consumer's pulls when the server's answers do not come. The loop is not there:
 * what would be sent is counted. */
#include "nats/pull.h"

#include <stdlib.h>

#include "check.h"

static int asked, batch;

void naq_loop_pull(naq_loop *loop, const char *next_subject, uint32_t token, const char *request,
                   size_t len) {
    (void)loop, (void)next_subject, (void)token, (void)len;
    asked++;
    batch = atoi(request + sizeof "{\"batch\":" - 1);
}

static naq_pull pull;

static void begin(void) {
    asked = batch = 0;
    naq_pull_init(&pull, NULL, 3, "stream", "consumer");
    naq_pull_want(&pull, 100, 1000);
    CHECK(asked == 1 && batch == 100);
}

static uint32_t token_now(void) {
    return 3u << 20 | (pull.epoch & 0xFFFFF);
}

static void asks_again_after_a_408(void) {
    begin();
    naq_pull_delivered(&pull, 0, 1500);
    naq_pull_status(&pull, token_now(), 408, 99, "Request Timeout", 31000);
    CHECK(pull.credit == 0 && !pull.missing);
    naq_pull_want(&pull, 100, 31000);
    CHECK(asked == 2 && batch == 100);
}

static void asks_again_when_the_408_is_dropped(void) {
    begin();
    naq_pull_status(&pull, token_now(), 100, -1, "Idle Heartbeat", 16000);
    CHECK(naq_pull_deadline(&pull, 16000) <= 32000);
    CHECK(!naq_pull_tick(&pull, 31000));
    CHECK(pull.credit == 100);
    CHECK(!naq_pull_tick(&pull, 32000)); /* once: not taken for gone */
    CHECK(pull.credit == 0);
    naq_pull_want(&pull, 100, 32000);
    CHECK(asked == 2 && batch == 100);
}

static void takes_a_consumer_for_gone_that_is_silent_twice(void) {
    begin();
    CHECK(!naq_pull_tick(&pull, 32000));
    naq_pull_want(&pull, 100, 32000);
    CHECK(naq_pull_tick(&pull, 64000));
    CHECK(pull.missing);
    naq_pull_want(&pull, 100, 64000);
    CHECK(asked == 2);
}

static void does_not_count_answers_to_what_it_gave_up(void) {
    begin();
    uint32_t before = token_now();
    CHECK(!naq_pull_tick(&pull, 32000));
    naq_pull_want(&pull, 100, 32000);
    naq_pull_status(&pull, before, 408, 100, "Request Timeout", 33000);
    CHECK(pull.credit == 100);
}

static void a_sole_reader_does_not_wait_for_what_it_was_told_of(void) {
    begin();
    pull.sole = true;
    naq_pull_delivered(&pull, 50, 1500);
    CHECK(naq_pull_deadline(&pull, 1500) == 2500);
    CHECK(!naq_pull_tick(&pull, 2499) && pull.credit == 99);
    CHECK(!naq_pull_tick(&pull, 2500) && pull.credit == 0);
    naq_pull_want(&pull, 100, 2500);
    CHECK(asked == 2 && batch == 100);
    /* Nothing more is known to be there: no stall, and the consumer no suspect. */
    CHECK(!naq_pull_tick(&pull, 30000) && pull.credit == 100 && pull.silences == 0);
}

static void a_short_request_is_given_up_soon_after_its_end(void) {
    begin();
    pull.span_ms = 5000;
    naq_pull_more(&pull, 1, 2000);
    CHECK(naq_pull_deadline(&pull, 2000) == 8000);
    CHECK(!naq_pull_tick(&pull, 8000) && pull.credit == 0);
}

int main(void) {
    run("a pull is asked again after a 408", asks_again_after_a_408);
    run("a pull is asked again when its 408 is dropped", asks_again_when_the_408_is_dropped);
    run("a consumer that is silent twice is gone", takes_a_consumer_for_gone_that_is_silent_twice);
    run("answers to what was given up do not count", does_not_count_answers_to_what_it_gave_up);
    run("a sole reader does not wait for what it was told of",
        a_sole_reader_does_not_wait_for_what_it_was_told_of);
    run("a short request is given up soon after its end",
        a_short_request_is_given_up_soon_after_its_end);
    return failures > 0;
}
