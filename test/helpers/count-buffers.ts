import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";

/**
 * A library for LD_PRELOAD that counts ggml's buffers. After all other code of the process it writes a line to standard
 * error, for `readBuffers`.
 */
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MAX_BUFFERS 4096

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void * buffers[MAX_BUFFERS];
static int n_made;

static void replace(void * from, void * to) {
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < MAX_BUFFERS; ++i) {
        if (buffers[i] == from) {
            buffers[i] = to;
            break;
        }
    }
    n_made += to != NULL;
    pthread_mutex_unlock(&mutex);
}

static void * find(const char * name) {
    return dlsym(dlopen("libggml-base.so", RTLD_LAZY | RTLD_NOLOAD), name);
}

void * ggml_backend_buft_alloc_buffer(void * type, size_t size) {
    void * (*next)(void *, size_t) = (void * (*)(void *, size_t)) find("ggml_backend_buft_alloc_buffer");
    void * buffer = next(type, size);
    if (buffer != NULL) {
        replace(NULL, buffer);
    }
    return buffer;
}

void ggml_backend_buffer_free(void * buffer) {
    void (*next)(void *) = (void (*)(void *)) find("ggml_backend_buffer_free");
    if (buffer != NULL) {
        replace(buffer, NULL);
    }
    next(buffer);
}

__attribute__((destructor)) static void report(void) {
    int n_left = 0;
    for (int i = 0; i < MAX_BUFFERS; ++i) {
        n_left += buffers[i] != NULL;
    }
    int n_mapped = 0;
    char line[4096];
    FILE * maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        n_mapped += strstr(line, ".gguf") != NULL;
    }
    fprintf(stderr, "buffers: %d made, %d left, %d mapped\\n", n_made, n_left, n_mapped);
}
`;

/** The buffers of a process, when it has ended. */
export interface Buffers {
    /** Buffers that ggml allocated. */
    readonly made: number;
    /** Of these, those that were never freed. */
    readonly left: number;
    /** Mapped parts of model files. */
    readonly mapped: number;
}

/** Compiles the library and returns its path. */
export function buildBufferCounter(folder: string): string {
    const [code, library] = [path.join(folder, "count.c"), path.join(folder, "count.so")];
    writeFileSync(code, source);
    execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, code, "-ldl", "-lpthread"]);
    return library;
}

/** Finds the library's line in what a process wrote to standard error. */
export function readBuffers(stderr: string): Buffers | undefined {
    const [, made, left, mapped] = /^buffers: (\d+) made, (\d+) left, (\d+) mapped$/m.exec(stderr) ?? [];
    return made === undefined ? undefined : { made: Number(made), left: Number(left), mapped: Number(mapped) };
}
