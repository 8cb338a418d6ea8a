/* roster.c -- a table of entries that do not move, hashed by id. */
#include "run/roster.h"

#include <stdlib.h>
#include <string.h>

static uint32_t hash_of(const char *id) {
    uint32_t h = 2166136261u;
    for (; *id != '\0'; id++)
        h = (h ^ (unsigned char)*id) * 16777619u;
    return h;
}

void naq_roster_free(naq_roster *r) {
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->all[i]->used) naq_plan_free(&r->all[i]->plan);
        free(r->all[i]);
    }
    free(r->all);
    free(r->heads);
    memset(r, 0, sizeof *r);
}

naq_entry *naq_roster_find(const naq_roster *r, const char *id) {
    if (r->n_heads == 0) return NULL;
    for (uint32_t at = r->heads[hash_of(id) & (r->n_heads - 1)]; at != 0; at = r->all[at - 1]->next)
        if (strcmp(r->all[at - 1]->id, id) == 0) return r->all[at - 1];
    return NULL;
}

static void link_in(naq_roster *r, naq_entry *e) {
    uint32_t *head = &r->heads[hash_of(e->id) & (r->n_heads - 1)];
    e->next = *head;
    *head = e->place + 1;
}

static bool grow(naq_roster *r) {
    uint32_t cap = r->cap > 0 ? r->cap * 2 : 64;
    naq_entry **all = realloc(r->all, cap * sizeof *all);
    if (all == NULL) return false;
    r->all = all;
    uint32_t *heads = calloc(cap, sizeof *heads);
    if (heads == NULL) return false;
    free(r->heads);
    r->heads = heads;
    r->n_heads = r->cap = cap;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->all[i]->used) link_in(r, r->all[i]);
    return true;
}

static naq_entry *free_place(naq_roster *r) {
    if (r->n_used < r->n)
        for (uint32_t i = 0; i < r->n; i++)
            if (!r->all[i]->used) return r->all[i];
    if (r->n == r->cap && !grow(r)) return NULL;
    naq_entry *e = calloc(1, sizeof *e);
    if (e == NULL) return NULL;
    e->place = r->n;
    r->all[r->n++] = e;
    return e;
}

naq_entry *naq_roster_add(naq_roster *r, const char *id) {
    naq_entry *e = free_place(r);
    if (e == NULL) return NULL;
    uint32_t place = e->place, generation = e->generation + 1;
    memset(e, 0, sizeof *e);
    e->place = place;
    e->generation = generation;
    e->used = true;
    e->queued_ms = INT64_MAX;
    (void)strncpy(e->id, id, NAQ_PLAN_ID_MAX);
    link_in(r, e);
    r->n_used++;
    return e;
}

void naq_roster_remove(naq_roster *r, naq_entry *e) {
    uint32_t *at = &r->heads[hash_of(e->id) & (r->n_heads - 1)];
    while (*at != e->place + 1)
        at = &r->all[*at - 1]->next;
    *at = e->next;
    naq_plan_free(&e->plan);
    e->used = false;
    e->generation++;
    r->n_used--;
}

uint64_t naq_roster_token(const naq_entry *e) {
    return (uint64_t)e->generation << 32 | e->place;
}

naq_entry *naq_roster_at(const naq_roster *r, uint64_t token) {
    uint32_t place = (uint32_t)token;
    if (place >= r->n) return NULL;
    naq_entry *e = r->all[place];
    return e->used && e->generation == (uint32_t)(token >> 32) ? e : NULL;
}
