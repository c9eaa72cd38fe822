import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { canFailAllocations } from "./fail-allocation.js";
import { repositoryRoot } from "./repository.js";

const headers = path.join(repositoryRoot, "native/build/llama.cpp/ggml/include");

/** Whether the library can be compiled and preloaded here. */
export const canCheckOffsets = existsSync(path.join(headers, "ggml.h")) && canFailAllocations();

/**
 * A library for LD_PRELOAD that checks each graph before it is computed. Vulkan's kernels for some operations take no
 * tensor that starts between two multiples of a device's alignment: RoPE reads other positions, the others end the
 * process (bench/results/platforms/linux-x64-vulkan.txt). The alignment is that of Mesa's software renderer. At the
 * end, a line of standard error has the counts, for `readOffsets`.
 */
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

#include "ggml.h"

#define ALIGNMENT 16
#define MAX_LINES 10

static int n_graphs;
static int n_copied; // RoPEs whose positions are a copy
static int n_wrong;

static void check(const struct ggml_tensor * node, const struct ggml_tensor * t) {
    if (t != NULL && t->view_offs % ALIGNMENT != 0 && n_wrong++ < MAX_LINES) {
        fprintf(stderr, "%s, operation %d: %s starts at byte %zu\\n", node->name, node->op, t->name, t->view_offs);
    }
}

static void * find(const char * name) {
    return dlsym(dlopen("libggml-base.so", RTLD_LAZY | RTLD_NOLOAD), name);
}

static void check_graph(struct ggml_cgraph * graph) {
    struct ggml_tensor ** nodes = ((struct ggml_tensor ** (*)(struct ggml_cgraph *)) find("ggml_graph_nodes"))(graph);
    const int n_nodes = ((int (*)(struct ggml_cgraph *)) find("ggml_graph_n_nodes"))(graph);
    ++n_graphs;
    for (int i = 0; i < n_nodes; ++i) {
        const struct ggml_tensor * node = nodes[i];
        switch (node->op) {
            case GGML_OP_ROPE:
                n_copied += node->src[1]->op == GGML_OP_CONT;
                check(node, node->src[1]);
                break;
            case GGML_OP_SOFT_MAX:
            case GGML_OP_FLASH_ATTN_EXT:
            case GGML_OP_MUL_MAT:
                check(node, node);
                for (int j = 0; j < GGML_MAX_SRC; ++j) {
                    check(node, node->src[j]);
                }
                break;
            default:
                break;
        }
    }
}

int ggml_backend_sched_graph_compute_async(void * sched, struct ggml_cgraph * graph) {
    check_graph(graph);
    return ((int (*)(void *, struct ggml_cgraph *)) find("ggml_backend_sched_graph_compute_async"))(sched, graph);
}

__attribute__((destructor)) static void report(void) {
    fprintf(stderr, "offsets: %d graphs, %d copied, %d wrong\\n", n_graphs, n_copied, n_wrong);
}
`;

/** What the library found in a process. */
export interface Offsets {
    /** Graphs that were computed. */
    readonly graphs: number;
    /** RoPEs whose positions were copied first. */
    readonly copied: number;
    /** Tensors that a kernel of Vulkan could not take; standard error names the first ones. */
    readonly wrong: number;
}

/** Compiles the library and returns its path. */
export function buildOffsetCheck(folder: string): string {
    const [code, library] = [path.join(folder, "offsets.c"), path.join(folder, "offsets.so")];
    writeFileSync(code, source);
    execFileSync("cc", ["-shared", "-fPIC", "-O1", `-I${headers}`, "-o", library, code, "-ldl"]);
    return library;
}

/** Finds the library's line in what a process wrote to standard error. */
export function readOffsets(stderr: string): Offsets | undefined {
    const [, graphs, copied, wrong] = /^offsets: (\d+) graphs, (\d+) copied, (\d+) wrong$/m.exec(stderr) ?? [];
    return graphs === undefined ? undefined : { graphs: Number(graphs), copied: Number(copied), wrong: Number(wrong) };
}
