/* heap.c -- four children to a node: half the levels of two, and those four stand in one or two
 * cache lines. */
#include "run/heap.h"

#include <stdlib.h>

enum {
    CHILDREN = 4,
    FIRST = 1024,
    KEEP = 65536 /* an empty heap larger than this gives its memory back */
};

void naq_heap_free(naq_heap *h) {
    free(h->entries);
    *h = (naq_heap){0};
}

static bool grow(naq_heap *h) {
    size_t cap = h->cap == 0 ? FIRST : h->cap + h->cap / 2;
    naq_heap_entry *grown = realloc(h->entries, cap * sizeof *grown);
    if (grown == NULL) return false;
    h->entries = grown;
    h->cap = cap;
    return true;
}

bool naq_heap_push(naq_heap *h, int64_t key, uint64_t value) {
    if (h->n == h->cap && !grow(h)) return false;
    size_t at = h->n++;
    while (at > 0) {
        size_t parent = (at - 1) / CHILDREN;
        if (h->entries[parent].key <= key) break;
        h->entries[at] = h->entries[parent];
        at = parent;
    }
    h->entries[at] = (naq_heap_entry){key, value};
    return true;
}

static size_t smallest_child(const naq_heap *h, size_t first) {
    size_t end = first + CHILDREN < h->n ? first + CHILDREN : h->n, best = first;
    for (size_t i = first + 1; i < end; i++)
        if (h->entries[i].key < h->entries[best].key) best = i;
    return best;
}

naq_heap_entry naq_heap_pop(naq_heap *h) {
    naq_heap_entry top = h->entries[0], last = h->entries[--h->n];
    size_t at = 0;
    for (size_t first = 1; first < h->n; first = CHILDREN * at + 1) {
        size_t child = smallest_child(h, first);
        if (h->entries[child].key >= last.key) break;
        h->entries[at] = h->entries[child];
        at = child;
    }
    if (h->n > 0)
        h->entries[at] = last;
    else if (h->cap > KEEP)
        naq_heap_free(h);
    return top;
}
