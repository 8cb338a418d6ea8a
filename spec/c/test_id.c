/* test_id.c -- ids: their order, their alphabet, and that no two are the same. */
#include "base/id.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"

static int64_t fixed_us;
static int64_t fixed_clock(void) {
    return fixed_us;
}

static void is_valid(void) {
    char id[NAQ_ID_NEW + 1];
    naq_id_new(id);
    CHECK(strlen(id) == NAQ_ID_NEW);
    CHECK(naq_id_valid(id, NAQ_ID_NEW));
    CHECK(strspn(id, "0123456789abcdefghjkmnpqrstvwxyz") == NAQ_ID_NEW);
}

static void sorts_by_time(void) {
    char before[NAQ_ID_NEW + 1], after[NAQ_ID_NEW + 1];
    naq_clock_replace(fixed_clock, NULL);
    for (int64_t ms = 1; ms < INT64_C(4000000000000); ms = ms * 3 + 1) {
        fixed_us = ms * 1000;
        naq_id_new(before);
        fixed_us += 1000;
        naq_id_new(after);
        CHECK(strcmp(before, after) < 0);
    }
    naq_clock_replace(NULL, NULL);
}

enum { EACH = 20000, THREADS = 4 };
static char made[THREADS][EACH][NAQ_ID_NEW + 1];

static void *make(void *arg) {
    char(*ids)[NAQ_ID_NEW + 1] = arg;
    for (int i = 0; i < EACH; i++)
        naq_id_new(ids[i]);
    return NULL;
}

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

static void is_unique(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, make, made[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    char(*all)[NAQ_ID_NEW + 1] = made[0];
    qsort(all, (size_t)THREADS * EACH, sizeof *all, compare);
    int same = 0;
    for (int i = 1; i < THREADS * EACH; i++)
        same += strcmp(all[i - 1], all[i]) == 0;
    CHECK(same == 0);
}

/* The pool of random bytes is copied by fork; the child must not draw the same ones. */
static void differs_after_fork(void) {
    char parent[NAQ_ID_NEW + 1], child[NAQ_ID_NEW + 1] = "";
    int pipe_ends[2];
    naq_id_new(parent);
    naq_clock_replace(fixed_clock, NULL);
    CHECK(pipe(pipe_ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        naq_id_new(child);
        _exit(write(pipe_ends[1], child, NAQ_ID_NEW) == NAQ_ID_NEW ? 0 : 1);
    }
    naq_id_new(parent);
    CHECK(read(pipe_ends[0], child, NAQ_ID_NEW) == NAQ_ID_NEW);
    waitpid(pid, NULL, 0);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    naq_clock_replace(NULL, NULL);
    CHECK(strncmp(parent, child, 10) == 0 && strcmp(parent, child) != 0);
}

static void checks_names(void) {
    char longest[NAQ_ID_MAX + 2];
    memset(longest, 'a', sizeof longest);
    CHECK(naq_id_valid("A-z_09", 6));
    CHECK(naq_id_valid(longest, NAQ_ID_MAX) && !naq_id_valid(longest, NAQ_ID_MAX + 1));
    CHECK(!naq_id_valid("", 0) && !naq_id_valid("a.b", 3) && !naq_id_valid("a b", 3));
    CHECK(!naq_id_valid("*", 1) && !naq_id_valid(">", 1) && !naq_id_valid("\xC3\xA4", 2));
    CHECK(!naq_id_valid("a\0b", 3));
}

int main(void) {
    run("id is 26 valid characters", is_valid);
    run("id sorts by time", sorts_by_time);
    run("id is unique across threads", is_unique);
    run("id differs after a fork", differs_after_fork);
    run("id and queue names are checked", checks_names);
    return failures != 0;
}
