/* heap.h -- what is due first: 16 bytes an entry, by millions. One thread. */
#ifndef NAQ_RUN_HEAP_H
#define NAQ_RUN_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct naq_heap_entry {
    int64_t key; /* the smallest comes first; equal ones in no order */
    uint64_t value;
} naq_heap_entry;

/* All zero: empty. */
typedef struct naq_heap {
    naq_heap_entry *entries;
    size_t n, cap;
} naq_heap;

void naq_heap_free(naq_heap *h);                              /* empty again, may be used again */
bool naq_heap_push(naq_heap *h, int64_t key, uint64_t value); /* false: out of memory */
/* The smallest entry; not of an empty heap. */
static inline naq_heap_entry naq_heap_top(const naq_heap *h) {
    return h->entries[0];
}
naq_heap_entry naq_heap_pop(naq_heap *h);

#endif
