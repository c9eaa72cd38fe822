#pragma once

// What the patches to llama.cpp call. Everything else of the engine is behind the virtual functions of llama_model and llama_memory_i.

#include "llama.h"

#include <cstdint>

struct llama_memory_i;
struct llama_memory_params;
struct llama_cparams;

llama_model * armt_create_model(const llama_model_params & params);

// Throws std::runtime_error where an option does not fit the model. Takes the options of armt_set_context_options.
llama_memory_i * armt_create_memory(const llama_model & model, const llama_memory_params & params, const llama_cparams & cparams);

// Tells the memory which context it belongs to, and lists it in the registry.
void armt_attach_context(llama_memory_i * memory, llama_context * lctx);

uint32_t armt_graph_max_nodes(const llama_model & model);
