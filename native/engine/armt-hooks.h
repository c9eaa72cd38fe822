#pragma once

// What the patches to llama.cpp call. They reach the rest of the engine through virtual functions of llama_model and
// llama_memory_i, and through the members of llama_context in armt-decode.cpp.

#include "llama.h"

#include <cstddef>
#include <cstdint>
#include <string>

struct llama_memory_i;
struct llama_memory_params;
struct llama_cparams;

// Puts the model of a file where armt_api.set_placement says. What params points to then lives until forget_placement.
void armt_place_model(const std::string & path, llama_model_params & params);

llama_model * armt_create_model(const llama_model_params & params);

// Uses the options of armt_api.set_context_options. Throws std::runtime_error if one does not fit the model.
llama_memory_i * armt_create_memory(const llama_model & model, const llama_memory_params & params,
                                    const llama_cparams & cparams);

// Tells the memory which context it belongs to, and registers it.
void armt_attach_context(llama_memory_i * memory, llama_context * lctx);

// of the largest graph of the context that the memory belongs to
uint32_t armt_graph_max_nodes(const llama_memory_i & memory);

// Takes the pages of a mapped file whose weights were copied out of the process. A later read brings them back.
void armt_release_pages(const void * data, size_t size);
