#pragma once

#include "armt-api.h"
#include "armt-sequence.h"

#include "ggml.h"

struct llama_cparams;
struct llama_model_armt;

// Options of the contexts that are created from now on. armt_set_options throws std::runtime_error if a field is out of
// range.
void                 armt_set_options(const armt_context_options & options);
armt_context_options armt_get_options();

// Combines options, model and context parameters. Throws std::runtime_error if they do not fit.
armt_config armt_resolve_config(const armt_context_options & options, const llama_model_armt & model,
                                const llama_cparams & cparams);

// The type in which A and z are stored
ggml_type armt_resolve_state_type(const armt_context_options & options);
