#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct gguf_context;

// nu of DPFP: the number of rolls in the feature map (arXiv 2102.11174, eq. 37)
constexpr uint32_t ARMT_DPFP_ORDER = 3;

enum armt_activation {
    ARMT_ACTIVATION_SILU,
    ARMT_ACTIVATION_GELU,      // x * Phi(x), by the error function
    ARMT_ACTIVATION_GELU_TANH, // its approximation by tanh
};

// How the base model's layers differ from LLaMA's, which the defaults describe. Tensors tell which biases and norms
// there are.
struct armt_base_hparams {
    bool            layer_norm = false; // LayerNorm rather than RMS norm
    armt_activation activation = ARMT_ACTIVATION_SILU;
    bool            gated      = true;  // the activation's product with a second projection
    bool            parallel   = false; // attention and MLP both take the layer's input

    float embedding_scale = 1.0f; // of text tokens; memory tokens are not scaled
    float attention_scale = 0.0f; // of q.k

    uint32_t n_position     = 0;     // rows of the learned position table; 0: RoPE
    bool     wrap_positions = false; // memory rows take the table's last rows, whatever the text's length
    bool     splits_memory  = false; // memory rows attend to memory rows only
    uint32_t n_window       = 0;     // rows that a row of some layers attends to, itself included; 0: all before it

    // Layers whose RoPE has a base of its own and is not scaled; empty: none
    std::vector<bool> local_layers;
    float             local_freq_base = 0.0f;

    bool is_local(uint32_t il) const { return !local_layers.empty() && local_layers[il]; }

    // the longest segment, memory rows included; 0: no bound
    uint32_t n_rows_max() const { return n_position != 0 ? n_position : n_window; }

    // Throws std::runtime_error that names the key. n_embd_head: size of an attention head
    void load(const gguf_context * metadata, uint32_t n_embd_head, uint32_t n_layer);
};

// The keys armt.* of a model file that llama.cpp has no field for (docs/model-file.md)
struct armt_hparams {
    armt_base_hparams base;

    uint32_t n_segment = 0; // text tokens in a segment, S
    uint32_t n_mem     = 0; // memory tokens, M
    uint32_t n_feature = 0; // rows of W_mq and W_mk, d_mem
    uint32_t n_head    = 1; // heads of the associative memory, h

    bool normalize_keys = false; // features divided by their norm
    bool use_denom      = true;  // the normalizer z exists
    bool correction     = true;  // gamma = clip(1 - d/|k|^2, 0, 1) rather than 1
    bool gating         = false; // one beta for each channel of the value

    uint32_t n_sink    = 0;     // learned rows before each segment's text: 0 or 1
    bool sees_previous = false; // attention sees the text of the segment before too, and memory rows see one another

    std::string fingerprint; // of the tensor data; states are bound to it

    // features in one head, K/h
    uint32_t n_key() const { return 2 * ARMT_DPFP_ORDER * n_feature / n_head; }

    // text tokens of a segment for which the base model has room; 0: no bound
    uint32_t n_text_max() const;

    // Throws std::runtime_error that names the key. n_embd: size of a row, D; n_embd_head: of an attention head
    void load(const gguf_context * metadata, uint32_t n_embd, uint32_t n_embd_head, uint32_t n_layer);
};
