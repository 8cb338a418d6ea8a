/* naq-lua-threads THREADS N SCRIPT [ARG...] -- one Lua program in several threads, a state each.
 *
 * SCRIPT is run in every state with its ARGs and returns a function, which is then called with N in
 * all threads at the same moment. Prints the seconds until the last one returned, and how far the
 * process's memory grew meanwhile. */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct task {
    pthread_t thread;
    char **words; /* SCRIPT, ARG..., NULL */
    long n;
    pthread_barrier_t *ready, *go;
    bool failed;
} task;

static double mono(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A field of /proc/self/status, in kB. */
static long memory(const char *field) {
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kb = 0;
    size_t len = strlen(field);
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, field, len) == 0 && line[len] == ':') kb = atol(line + len + 1);
    if (f != NULL) fclose(f);
    return kb;
}

static bool load(lua_State *L, char **words) {
    luaL_openlibs(L);
    if (luaL_loadfile(L, words[0]) != LUA_OK) return false;
    int n = 0;
    for (; words[n + 1] != NULL; n++)
        lua_pushstring(L, words[n + 1]);
    return lua_pcall(L, n, 1, 0) == LUA_OK;
}

static void *run(void *arg) {
    task *t = arg;
    lua_State *L = luaL_newstate();
    bool ok = L != NULL && load(L, t->words);
    pthread_barrier_wait(t->ready);
    pthread_barrier_wait(t->go);
    if (ok) {
        lua_pushinteger(L, t->n);
        ok = lua_pcall(L, 1, 0, 0) == LUA_OK;
    }
    if (!ok && L != NULL) fprintf(stderr, "%s\n", lua_tostring(L, -1));
    t->failed = !ok;
    return L; /* closed by main, after the clock has been read */
}

int main(int argc, char **argv) {
    long threads = argc > 3 ? atol(argv[1]) : 0;
    if (threads < 1 || threads > 1024) {
        fprintf(stderr, "usage: naq-lua-threads THREADS N SCRIPT [ARG...]\n");
        return 2;
    }
    pthread_barrier_t ready, go;
    pthread_barrier_init(&ready, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&go, NULL, (unsigned)threads + 1);
    task *tasks = calloc((size_t)threads, sizeof *tasks);
    if (tasks == NULL) return 1;
    for (long i = 0; i < threads; i++) {
        task *t = &tasks[i];
        t->words = argv + 3;
        t->n = atol(argv[2]);
        t->ready = &ready;
        t->go = &go;
        if (pthread_create(&t->thread, NULL, run, t) != 0) {
            fprintf(stderr, "naq-lua-threads: no more threads\n");
            return 1;
        }
    }
    pthread_barrier_wait(&ready);
    long before = memory("VmRSS");
    double began = mono();
    pthread_barrier_wait(&go);
    lua_State **states = calloc((size_t)threads, sizeof(lua_State *));
    bool failed = states == NULL;
    for (long i = 0; i < threads; i++) {
        void *state = NULL;
        pthread_join(tasks[i].thread, &state);
        failed = failed || tasks[i].failed;
        if (states != NULL) states[i] = state;
    }
    double seconds = mono() - began;
    printf("seconds=%.6f grown_kb=%ld\n", seconds, memory("VmHWM") - before);
    for (long i = 0; states != NULL && i < threads; i++)
        if (states[i] != NULL) lua_close(states[i]);
    free(states);
    free(tasks);
    return failed ? 1 : 0;
}
