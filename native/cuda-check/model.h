#pragma once

#include "ggml.h"

#include <cstdint>
#include <string>

// Sizes of a model with random weights, and of its base model
struct random_model {
    uint32_t  n_layer   = 16;
    uint32_t  n_embd    = 2048;
    uint32_t  n_head    = 32;
    uint32_t  n_head_kv = 8;
    uint32_t  head_size = 64;
    uint32_t  n_ff      = 8192;
    uint32_t  n_vocab   = 128256;
    uint32_t  n_mem     = 128;
    uint32_t  n_segment = 1024;
    uint32_t  d_mem     = 64;
    bool      normalize = false; // normalize_keys
    ggml_type type      = GGML_TYPE_BF16;
    bool      as_f32    = false; // the same numbers, written as F32
    uint32_t  seed      = 1;

    bool large_queries    = false; // the memory's queries are beyond the range of F16
    bool quantized_memory = false; // a quantized type is the memory's projections' too, as in files of `armt quantize`
};

// Writes the ARMT model (docs/model-file.md), or with `base` its base model alone as a plain llama file.
void write_random_model(const random_model & model, bool base, const std::string & path);
