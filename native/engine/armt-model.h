#pragma once

#include "armt-api.h"
#include "armt-hparams.h"

#include "llama-graph.h"
#include "llama-model.h"

#include <utility>
#include <vector>

// One kind of weight of all layers. The file holds it as stacks of consecutive layers, so that the layers of a diagonal
// can be multiplied at once. Stack i holds the layers first[i] .. first[i + 1] - 1 in its slowest dimension. A matrix
// that goes into one of a CPU's extra buffer types is packed: it is a stack of its own, of which no views are taken.
struct armt_weight {
    std::vector<uint32_t>      first;
    std::vector<ggml_tensor *> stack;
    std::vector<bool>          packed;
    uint32_t                   product = 0; // enum armt_product; 0: not one of those

    explicit operator bool() const { return !stack.empty(); }

    // index of the stack that holds layer il
    size_t find(uint32_t il) const;

    bool is_packed(uint32_t il) const { return packed[find(il)]; }

    void add(uint32_t il, ggml_tensor * tensor, bool is_packed);
};

struct llama_model_armt : public llama_model_base {
    explicit llama_model_armt(const llama_model_params & params);
    ~llama_model_armt() override;

    armt_hparams armt;

    bool output_is_tied = false; // the output's weights are the token embeddings

    ggml_tensor * memory_embd =
        nullptr; // {n_embd, n_mem + n_sink}: the memory tokens, then the sink; {n_embd, n_mem} if recurrent
    ggml_tensor * position_embd = nullptr; // {n_embd, n_position}, of models with learned positions
    // {n_embd, n_vocab}: the token embeddings on the first layer's device; nullptr: it has none, and rows are looked up
    // on the CPU
    ggml_tensor * input_embd = nullptr;

    std::vector<ggml_tensor *> rope_freqs; // [n_layer] {n_rot/2} on the layer's device; empty: the model has none

    armt_weight attn_norm;     // {n_embd, n}
    armt_weight attn_norm_b;   // optional
    armt_weight attn_qkv;      // {n_embd, n_embd_q + 2*n_embd_kv, n}
    armt_weight attn_qkv_b;    // optional
    armt_weight attn_q_norm;   // {n_embd_head, n}, optional: of each head before RoPE
    armt_weight attn_k_norm;   // optional
    armt_weight attn_output;   // {n_embd_q, n_embd, n}
    armt_weight attn_output_b; // optional
    armt_weight attn_post;     // {n_embd, n}, optional: norm of the attention's output
    armt_weight ffn_norm;      // {n_embd, n}
    armt_weight ffn_norm_b;    // optional
    armt_weight ffn_up;        // {n_embd, 2*n_ff, n}: gate, then up; without a gate {n_embd, n_ff, n}
    armt_weight ffn_up_b;      // optional
    armt_weight ffn_down;      // {n_ff, n_embd, n}
    armt_weight ffn_down_b;    // optional
    armt_weight ffn_post;      // {n_embd, n}, optional: norm of the MLP's output
    armt_weight memory_q;      // {n_embd, n_feature, n}
    armt_weight memory_k;      // {n_embd, n_feature, n}
    armt_weight memory_v;      // {n_embd, n_embd, n}
    armt_weight memory_b;      // {n_embd, n_head, n}; with gating {n_embd, n_embd, n}
    armt_weight memory_b_b;    // {n_head, n}; with gating {n_embd, n}

    // how many layers from il on, at most n_max, are in one stack of each kind
    uint32_t n_stacked(uint32_t il, uint32_t n_max) const;

    // the largest n_stacked of all layers
    uint32_t n_widest() const;

    void load_arch_hparams(llama_model_loader & ml) override;
    void load_arch_tensors(llama_model_loader & ml) override;

    std::unique_ptr<llm_graph_context> build_arch_graph(const llm_graph_params & params) const override;

private:
    std::vector<const armt_weight *> weights() const;

    void create_memory_stacks();

    void create_input_embd();
    void create_rope_freqs();

    // ne: shape of one layer. Biases may be absent, and norms that not all families have.
    void create_stacks(armt_weight & weight, llm_tensor kind, const char * suffix, std::vector<int64_t> ne);

    // Splits a stack of layers il .. il + n - 1 where the next layer is on another device. Returns the parts' first
    // layers and numbers of layers.
    std::vector<std::pair<uint32_t, uint32_t>> split_by_device(llm_tensor kind, const char * suffix, int layer_dims,
                                                               uint32_t il, uint32_t n);

    // the matrices {ne[0], ne[1]} of layers il .. il + n - 1, split if a CPU's extra buffer types take them
    void create_matrices(armt_weight & weight, llm_tensor kind, uint32_t il, uint32_t n,
                         const std::vector<int64_t> & ne);
};
