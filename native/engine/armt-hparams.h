#pragma once

#include <cstdint>
#include <string>

struct gguf_context;

// nu of DPFP: the number of rolls in the feature map (arXiv 2102.11174, eq. 37)
constexpr uint32_t ARMT_DPFP_ORDER = 3;

// The keys armt.* of a model file that llama.cpp has no field for (docs/model-file.md)
struct armt_hparams {
    uint32_t n_segment = 0; // text tokens in a segment, S
    uint32_t n_mem     = 0; // memory tokens, M
    uint32_t n_feature = 0; // rows of W_mq and W_mk, d_mem
    uint32_t n_head    = 1; // heads of the associative memory, h

    bool normalize_keys = false; // features divided by their norm
    bool use_denom      = true;  // the normalizer z exists
    bool correction     = true;  // gamma = clip(1 - d/|k|^2, 0, 1) rather than 1
    bool gating         = false; // one beta for each channel of the value

    std::string fingerprint; // of the tensor data; states are bound to it

    // features in one head, K/h
    uint32_t n_key() const { return 2 * ARMT_DPFP_ORDER * n_feature / n_head; }

    // Throws std::runtime_error that names the key. n_embd: size of a row, D
    void load(const gguf_context * metadata, uint32_t n_embd);
};
