#pragma once

#include <cstdint>
#include <functional>

class llama_memory_armt;
struct llama_model;

// The memories of live contexts by id. Ids count up and are never reused.
uint64_t armt_register(llama_memory_armt * memory);
void     armt_unregister(uint64_t id);

// The live models. What a program leaves behind when it exits is freed: contexts, then models. Node.js ends a process
// at process.exit() without finalizing its objects, and a backend may insist on that all its buffers are freed.
void armt_register_model(llama_model * model);
void armt_unregister_model(llama_model * model);

// The id of the newest context that still exists; 0: none
uint64_t armt_last_registered();

// nullptr if the context is gone. The pointer stays valid until the context is freed.
llama_memory_armt * armt_find(uint64_t id);

// Runs fn on a memory and keeps its context from being freed meanwhile. False if the context is gone.
bool armt_with(uint64_t id, const std::function<void(llama_memory_armt &)> & fn);
