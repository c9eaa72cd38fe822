#pragma once

#include "armt-inputs.h"
#include "armt-memory.h"
#include "armt-model.h"

#include "llama-graph.h"

// Builds the graph of a step from stock ggml ops, so that any backend of the same llama.cpp runs it.
//
// Activations are {n_embd, n_rows, n_batch}. In a step of open segments the batch is a range of sequences in one layer;
// in a diagonal it is a range of layers of one sequence. The same functions serve both, because the two differ only in
// the weights (of one layer or stacked) and in the memory (views).
//
// Shapes are written {ne0, ne1, ..} with ggml's order, the fastest dimension first, and products as weight @ input =>
// result. The papers write row-major shapes: their A [K, D] is our {D, K} in memory order. The engine keeps A
// transposed, {K, D}, so that a read is a plain product, and z [K] as one more column, {K, D + 1} in all; with h heads
// {K/h, D/h + 1, h}.
struct armt_graph : public llm_graph_context {
    armt_graph(const llama_model_armt & model, const llm_graph_params & params);

private:
    const llama_model_armt &  model;
    const llama_memory_armt & memory;
    armt_trace &              trace;

    llm_graph_input_armt * inp = nullptr;

    // Layers il .. il + n - 1, whose weights are multiplied at once. In a shared diagonal each has cells of n_texts
    // sequences, whose rows follow each other: activations are {n_embd, n_rows*n_texts, n}.
    struct cells {
        uint32_t il;
        uint32_t n;
        uint32_t n_texts = 1;
    };

    //
    // armt-graph.cpp: steps
    //

    void build_open(const armt_step & step);
    void build_diagonal(const armt_step & step);
    // A diagonal of several sequences. Their cells read and write copies of A and z, so that the graph depends on the
    // number of cells only.
    void build_shared(const armt_step & step);
    void build_fetch(const armt_step & step, cells c);

    // With several devices: puts the nodes since the last call on one. The scheduler does not see that a view is of a
    // weight, so it would let the first nodes of a device follow those before them, and copy their weights in each
    // step.
    void place_nodes(ggml_backend_dev_t dev);
    int  n_placed = 0;
    void build_logits(ggml_tensor * rows);
    void build_reserve();

    // The cells of closed segments in a diagonal: all but the first of the step, if that is the open segment's
    cells closed_cells(const armt_step & step, cells c) const;

    // Writes their segments to memory. x: {n_embd, .., c.n}, in which the memory rows of all cells start at first_row;
    // az and store: of all cells, see build_write
    void build_write_closed(const armt_step & step, cells c, ggml_tensor * x, uint32_t first_row, ggml_tensor * az,
                            ggml_tensor * store);

    // What is looked up for the rows that a step takes. nullptr: nothing
    struct table_rows {
        ggml_tensor * tokens;    // {n_embd, n_text*n_taken}
        ggml_tensor * positions; // {n_embd, n_rows*n_taken}
    };

    // {n_embd, n_rows, n_taken}: the sink, the embeddings of the text rows, then the memory tokens
    ggml_tensor * build_embeddings(const armt_step & step, const table_rows & rows);
    table_rows    build_table_rows();
    ggml_tensor * build_token_rows();

    // n of the learned rows from first on (the memory tokens, then the sink), in float32: {n_embd, n, n_batch}
    ggml_tensor * build_learned_rows(int64_t first, int64_t n, int64_t n_batch, const char * name);

    // Plain RMT: the state's rows, {n_embd, n_mem, n_seqs}, and the write of the next segment's from the last layer's
    // memory rows, {n_embd, n_mem*n_seqs}
    ggml_tensor * build_state_rows(const armt_step & step);
    void          build_state_write(const armt_step & step, ggml_tensor * rows);

    // For models whose layers all start from the learned memory rows
    void build_disjoint(const armt_step & step, cells c);

    // What all cells (or sequences) of a batch share, on the layer's device
    struct rows_info {
        ggml_tensor * pos;     // I32 {n_rows*n_batch}
        ggml_tensor * kv_idxs; // I64 {n_rows*n_batch}
        ggml_tensor * kq_mask; // F16 {n_kv, n_rows, 1, 1 or n_batch}
    };
    rows_info view_rows_info(const armt_step & step, cells c, int64_t n_total);

    // trim: the last layer is computed for some rows only, see build_last_rows
    void build_inputs(const armt_step & step, uint32_t n_batch, bool trim);

    // {ne0, n_rows, n_batch} => {ne0, n_outputs + n_mem*n_batch}: the rows that matter after the last layer, which are
    // those with outputs, then all memory rows
    ggml_tensor * build_last_rows(ggml_tensor * x);

    //
    // armt-graph-layer.cpp: the base model's decoder layer
    //

    // a weight of the layers, {ne0, ne1, n}; a vector, {ne0, 1, n}
    ggml_tensor * view_weight(const armt_weight & weight, cells c);
    ggml_tensor * view_vector(const armt_weight & weight, cells c);

    ggml_tensor * build_product(const armt_weight & weight, const armt_weight & bias, cells c, ggml_tensor * x);

    // The same for hidden states that no norm bounds. Their products, and on some cards they themselves, can exceed the
    // range of 16-bit floats, in which backends otherwise multiply.
    ggml_tensor * build_projection(const armt_weight & weight, const armt_weight & bias, cells c, ggml_tensor * x);

    // the base model's kind of norm
    ggml_tensor * build_scaled_norm(const armt_weight & weight, const armt_weight & bias, cells c, ggml_tensor * x);

    // RMS norm of each head, {n_embd_head, heads, n_rows*n_batch}
    ggml_tensor * build_head_norm(const armt_weight & weight, cells c, ggml_tensor * x);

    // {n_embd_head, heads, n_rows*n_batch}
    ggml_tensor * build_rope(cells c, ggml_tensor * x, ggml_tensor * pos);

    // of ffn_up's product
    ggml_tensor * build_activation(ggml_tensor * x);
    ggml_tensor * build_gated_row(cells c, ggml_tensor * x);

    // Attention before its output projection, {n_head*n_embd_head, n_rows, n_batch}
    ggml_tensor * build_attn(const armt_step & step, cells c, ggml_tensor * x);
    // q: {n_embd_head, n_head, n_rows, n_batch}; k, v: {n_embd_head, n_kv, n_head_kv, n_batch}
    ggml_tensor * build_attn_core(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * kq_mask, cells c);

    // The part of the K or V cache that the batch's attention sees, as build_attn_core takes it
    ggml_tensor * view_kv(const armt_step & step, cells c, ggml_tensor * cache);
    // The same part as {n_embd_kv, rows}; kv_idxs assigns its rows
    ggml_tensor * view_kv_flat(const armt_step & step, cells c, ggml_tensor * cache);

    // For models whose attention goes back into the segment before: copies K and V of the text of a segment that closes
    // to where the next segment sees them.
    void build_keep_text(const armt_step & step, cells c);

    // Output projection, residual, MLP, residual. into: where the result goes, or nullptr. It may have the same rows in
    // another shape.
    ggml_tensor * build_layer_end(cells c, ggml_tensor * attn, ggml_tensor * x, ggml_tensor * into = nullptr);

    //
    // armt-graph-memory.cpp: the associative memory (arXiv 2407.04841, sec. 3)
    //

    // phi(W x), {K/h, n_rows, h, n_texts*n_batch}, features in the order of rolls 3, 2, 1
    ggml_tensor * build_dpfp(const armt_weight & weight, cells c, ggml_tensor * x);

    // {n_embd, n_rows*n_texts, n} => {n_embd/h, n_rows, h, n_texts*n}, and back to {n_embd, n_rows, n_texts*n}
    ggml_tensor * split_heads(cells c, ggml_tensor * x);
    ggml_tensor * merge_heads(ggml_tensor * x);

    // What features recall from az: {D/h, n_rows, h, n_batch}. denom: k.z + eps, {1, n_rows, h, n_batch}; not set
    // without use_denom
    ggml_tensor * build_recall(ggml_tensor * az, ggml_tensor * features, ggml_tensor ** denom);

    // A and z in float32, whatever type they are stored in. az: of llama_memory_armt::view_memory_of_layer(s)
    ggml_tensor * build_memory(ggml_tensor * az);

    // x + what x recalls. az: of build_memory. in_place: the result overwrites x, which then has to be a layer's input
    // in the memory. Embeddings may be on the CPU, where a GPU cannot write.
    ggml_tensor * build_read(cells c, ggml_tensor * x, ggml_tensor * az, bool in_place);

    // Writes memory rows {n_embd, n_mem, n_batch}, with several texts {n_embd, n_mem, n_texts, n}, to store, whose
    // values az holds in float32. first: az is zero.
    // not_first: the input of that name, or nullptr
    void build_write(cells c, ggml_tensor * rows, ggml_tensor * az, ggml_tensor * store, bool first,
                     ggml_tensor * not_first);

    // gamma, the factor of each key in the sum that is added to z: {1, n_mem, h, n_batch}
    ggml_tensor * build_gamma(ggml_tensor * keys, ggml_tensor * denom, bool first, ggml_tensor * not_first);
};
