/* test_heap.c -- what comes out of a heap is in order and all that went in, whatever went between.
 */
#include "run/heap.h"

#include <stdlib.h>

#include "check.h"

static void gives_back_in_order(void) {
    naq_heap h = {0};
    uint64_t sum = 0;
    enum { N = 100000 };
    srandom(1);
    for (uint64_t i = 0; i < N; i++) {
        CHECK(naq_heap_push(&h, random() % 1000 - 500, i));
        sum += i;
    }
    int64_t last = INT64_MIN;
    for (int i = 0; i < N; i++) {
        CHECK(naq_heap_top(&h).key >= last);
        naq_heap_entry e = naq_heap_pop(&h);
        CHECK(e.key >= last);
        last = e.key;
        sum -= e.value;
    }
    CHECK(h.n == 0 && sum == 0);
    naq_heap_free(&h);
}

static void keeps_order_between(void) {
    naq_heap h = {0};
    srandom(2);
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 5; i++)
            CHECK(naq_heap_push(&h, random() % 100, 0));
        int64_t last = INT64_MIN;
        for (int i = 0; i < 4; i++) {
            int64_t key = naq_heap_pop(&h).key;
            CHECK(key >= last);
            last = key;
        }
    }
    CHECK(h.n == 2000);
    naq_heap_free(&h);
}

static void gives_its_memory_back(void) {
    naq_heap h = {0};
    for (int i = 0; i < 200000; i++)
        CHECK(naq_heap_push(&h, i, 0));
    while (h.n > 0)
        (void)naq_heap_pop(&h);
    CHECK(h.cap == 0);
    CHECK(naq_heap_push(&h, 1, 7));
    CHECK(naq_heap_pop(&h).value == 7);
    naq_heap_free(&h);
}

int main(void) {
    run("a heap gives back in order what was put in", gives_back_in_order);
    run("a heap keeps order between pushes and pops", keeps_order_between);
    run("a heap that was large gives its memory back", gives_its_memory_back);
    return failures > 0;
}
