#pragma once

// What the commands share: models and contexts of the engine, random input, comparison of results.

#include "armt-api.h"

#include "ggml-backend.h"
#include "llama.h"

#include <cstdint>
#include <string>
#include <vector>

// Seconds on a clock that only runs forward
double now();

// Throws std::runtime_error with this text if not ok
void check(bool ok, const std::string & what);

struct model_ptr {
    llama_model * model;

    explicit model_ptr(const std::string & path, bool gpu);
    ~model_ptr();
    model_ptr(const model_ptr &) = delete;
};

struct settings {
    armt_schedule schedule      = ARMT_SCHEDULE_DIAGONAL;
    uint32_t      n_segment     = 1024;
    uint32_t      n_batch       = 8192;
    uint32_t      n_ctx         = 2 << 20;
    const char *  fusion        = "all"; // ARMT_CUDA_FUSION
    uint32_t      fp8_products  = 0;     // products in e4m3, a sum of enum armt_product
    const char *  fp8           = "";    // ARMT_CUDA_FP8
    int           n_threads     = 0;     // 0: llama.cpp's default
    uint32_t      n_seq         = 1;
    bool          armt          = true;  // false: the base model alone
    bool          separate_open = false; // see context_ptr::read

    ggml_backend_sched_eval_callback cb_eval   = nullptr;
    void *                           user_data = nullptr;
};

struct context_ptr {
    llama_context * ctx;
    uint64_t        id = 0; // of the engine; 0 for a base model

    context_ptr(const model_ptr & model, const settings & s);
    ~context_ptr();
    context_ptr(const context_ptr &) = delete;

    // Reads the tokens from index `from` on, with logits of the last one. Returns the seconds until they are there.
    // separate_open: the open segment waits until the closed ones have passed all layers.
    double read(const std::vector<llama_token> & tokens, uint32_t n_batch, size_t from = 0, bool separate_open = false);

    // One token of each sequence, with logits
    void step(uint32_t n_seq, llama_pos pos, const std::vector<llama_token> & tokens);

    std::vector<float> logits(uint32_t n_vocab);

    // A and z of a layer
    std::vector<float> memory(uint32_t il);

    armt_context_info info();

    void clear();
};

// Sets the variables that the backend reads for each graph. Making a context does it too; do it again before a context
// reads after another one was made.
void set_variables(const settings & s);

// What the first NVIDIA GPU has drawn since its driver was loaded, in joules; 0 if it cannot say
double gpu_joules();

std::vector<llama_token> random_tokens(size_t n, uint32_t n_vocab);

// |a - b| / |b|
double difference(const std::vector<float> & a, const std::vector<float> & b);

// All names that ARMT_CUDA_FUSION knows
const std::vector<std::string> & all_fusions();
