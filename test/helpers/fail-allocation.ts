import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";

/**
 * A library for LD_PRELOAD that lets one of ggml's allocations fail. `ARMT_FAIL_ALLOCATION` is `number:name`:
 * allocation `number`, from 0, of those that follow a change of the variable. Only buffers of tensors count: without
 * the kilobytes for their descriptions (`ggml_init`), ggml ends the process.
 */
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdlib.h>
#include <string.h>

#define MIN_SIZE 4096
#define N_FRAMES 8

static int is_description(void) {
    void * frames[N_FRAMES];
    const int n = backtrace(frames, N_FRAMES);
    for (int i = 0; i < n; ++i) {
        Dl_info info;
        if (dladdr(frames[i], &info) && info.dli_sname != NULL && strcmp(info.dli_sname, "ggml_init") == 0) {
            return 1;
        }
    }
    return 0;
}

int posix_memalign(void ** pointer, size_t alignment, size_t size) {
    static int (*next)(void **, size_t, size_t);
    static char current[64];
    static long left;
    if (next == NULL) {
        next = (int (*)(void **, size_t, size_t)) dlsym(RTLD_NEXT, "posix_memalign");
    }
    const char * wanted = getenv("ARMT_FAIL_ALLOCATION");
    Dl_info caller;
    if (wanted != NULL && *wanted != 0 && size >= MIN_SIZE && dladdr(__builtin_return_address(0), &caller) &&
        strstr(caller.dli_fname, "libggml") != NULL && !is_description()) {
        if (strcmp(wanted, current) != 0) {
            strncpy(current, wanted, sizeof(current) - 1);
            left = strtol(wanted, NULL, 10);
        }
        if (left-- == 0) {
            setenv("ARMT_FAILED_ALLOCATION", current, 1);
            return ENOMEM;
        }
    }
    return next(pointer, alignment, size);
}
`;

/** Whether the library can be compiled and preloaded here. */
export function canFailAllocations(): boolean {
    if (process.platform !== "linux") return false;
    try {
        execFileSync("cc", ["--version"], { stdio: "ignore" });
        return true;
    } catch {
        return false;
    }
}

/** This process's environment with one more library, before those of the sanitizers. */
export function preloading(library: string): NodeJS.ProcessEnv {
    const { LD_PRELOAD, ASAN_OPTIONS } = process.env;
    return {
        ...process.env,
        LD_PRELOAD: [library, LD_PRELOAD].filter(Boolean).join(":"),
        ASAN_OPTIONS: [ASAN_OPTIONS, "verify_asan_link_order=0"].filter(Boolean).join(":")
    };
}

/** Compiles the library and returns its path. */
export function buildFailingAllocator(folder: string): string {
    const [code, library] = [path.join(folder, "fail.c"), path.join(folder, "fail.so")];
    writeFileSync(code, source);
    execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, code, "-ldl"]);
    return library;
}
