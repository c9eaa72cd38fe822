#pragma once

// On which devices a model's layers go, where the caller of llama.cpp cannot say so itself

#include "armt-api.h"

// Loads ggml's RPC backend from a library, once. Throws std::runtime_error.
void armt_load_rpc(const char * library);

// Runs an RPC server with this machine's GPUs, or else its CPU. Returns only if it cannot run, by throwing.
[[noreturn]] void armt_serve_rpc(const char * endpoint, const char * cache, uint32_t n_threads);

// Sets where the next models of a file go. Connects to the RPC servers. Throws std::runtime_error.
void armt_set_placement(const armt_placement & placement);

// What was set for the file is forgotten.
// @throws std::runtime_error if a server of it was lost since
void armt_forget_placement(const char * path);
