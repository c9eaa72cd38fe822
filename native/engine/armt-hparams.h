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
    bool     continues      = false; // positions run on from segment to segment, memory rows included
    bool     splits_memory  = false; // memory rows attend to memory rows only
    uint32_t n_window       = 0;     // rows that a row of some layers attends to, itself included; 0: all before it

    // Layers whose RoPE has a base of its own and is not scaled; empty: none
    std::vector<bool> local_layers;
    float             local_freq_base = 0.0f;

    bool is_local(uint32_t il) const { return !local_layers.empty() && local_layers[il]; }

    // Layers with an attention window: those with a RoPE of their own, or all if there are none of these
    bool is_windowed(uint32_t il) const { return n_window != 0 && (local_layers.empty() || local_layers[il]); }

    // Throws std::runtime_error that names the key. n_embd_head: size of an attention head
    void load(const gguf_context * metadata, uint32_t n_embd_head, uint32_t n_layer);
};

// Positions of a segment whose attention sees the text of the segment before, of T rows with sink and memory rows
enum armt_previous_positions {
    ARMT_PREVIOUS_CONTINUED, // go on after the number of keys kept
    ARMT_PREVIOUS_RESTARTED, // start at 0 again
    ARMT_PREVIOUS_APART,     // start T after the start of the segment before; any row i sees kept keys k >= i
};

// The keys armt.* of a model file that llama.cpp has no field for (docs/model-file.md)
struct armt_hparams {
    armt_base_hparams base;

    // Plain RMT (arXiv 2207.06881): the memory is the final norm of the last n_mem rows, which the next segment gets
    // before and after its text. No layer has an associative memory then.
    bool recurrent = false;

    uint32_t n_embd    = 0; // size of a row, D
    uint32_t n_segment = 0; // text tokens in a segment, S
    uint32_t n_mem     = 0; // memory tokens, M
    uint32_t n_feature = 0; // rows of W_mq and W_mk, d_mem
    uint32_t n_head    = 1; // heads of the associative memory, h

    bool normalize_keys = false; // features divided by their norm
    bool use_denom      = true;  // the normalizer z exists
    bool correction     = true;  // gamma = clip(1 - d/|k|^2, 0, 1) rather than 1
    bool gating         = false; // one beta for each channel of the value

    float epsilon = 1e-5f; // added to q.z, k.z and |k|^2 before they divide

    uint32_t                n_sink             = 0;     // learned rows before each segment's text: 0 or 1
    bool                    sees_previous      = false; // attention sees the text of the segment before too
    armt_previous_positions previous_positions = ARMT_PREVIOUS_CONTINUED;

    bool mutual_memory = false; // memory rows see all memory rows of the segment, not only those before them
    bool disjoint      = false; // every layer starts from the learned memory rows, not from the layer before's
    bool rereads       = false; // a segment's rows begin with the text of the segment before, computed again

    std::string fingerprint; // of the tensor data; states are bound to it

    // features in one head, K/h; of a recurrent state, the size of a row
    uint32_t n_key() const { return recurrent ? n_embd : 2 * ARMT_DPFP_ORDER * n_feature / n_head; }

    // the longest segment that the base model takes, memory rows included; 0: no bound
    uint32_t n_rows_max() const { return base.n_position != 0 ? base.n_position : sees_previous ? base.n_window : 0; }

    // text tokens of a segment for which the base model has room; 0: no bound
    uint32_t n_text_max() const;

    // Throws std::runtime_error that names the key. n_embd: size of a row, D; n_embd_head: of an attention head
    void load(const gguf_context * metadata, uint32_t n_embd, uint32_t n_embd_head, uint32_t n_layer);

private:
    void load_memory(const gguf_context * metadata);
};
