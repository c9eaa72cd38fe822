#pragma once

#include "armt-inputs.h"
#include "armt-memory.h"
#include "armt-model.h"

#include "llama-graph.h"

// Builds the graph of a step. Everything is composed of stock ggml ops, so that any backend of the same llama.cpp runs it.
//
// Activations are {n_embd, n_rows, n_batch}. In an open segment's step the batch is a range of sequences in one layer, in a diagonal a range of
// layers of one sequence; the same functions serve both, since they differ in the weights (of one layer or stacked) and in the memory (views).
struct armt_graph : public llm_graph_context {
    armt_graph(const llama_model_armt & model, const llm_graph_params & params);

private:
    const llama_model_armt  & model;
    const llama_memory_armt & memory;

    llm_graph_input_armt * inp = nullptr;

    // Layers il .. il + n - 1, whose weights are multiplied at once
    struct cells {
        uint32_t il;
        uint32_t n;
    };

    //
    // armt-graph.cpp: steps
    //

    void build_open    (const armt_step & step);
    void build_diagonal(const armt_step & step);
    void build_next_device(const armt_step & step, cells c);
    // Of a diagonal's cells, those of closed segments: all but the first one of the step, where that is the open segment's
    cells closed_cells(const armt_step & step, cells c) const;
    // Their writes. x: {n_embd, .., c.n} with all cells' memory rows from first_row on; az, store: of all cells, see build_write
    void build_write_closed(const armt_step & step, cells c, ggml_tensor * x, uint32_t first_row, ggml_tensor * az, ggml_tensor * store);
    void build_logits  (ggml_tensor * rows);
    void build_reserve ();

    // {n_embd, n_rows, n_seqs}: the sink, embeddings of the text rows, then the memory tokens
    ggml_tensor * build_embeddings(const armt_step & step);
    ggml_tensor * build_text_embeddings();

    // x with the rows of the learned position table added
    ggml_tensor * add_positions(ggml_tensor * x);

    // What all cells (or sequences) of a batch share, of the device that the layer is on
    struct rows_info {
        ggml_tensor * pos;     // I32 [n_rows*n_batch]
        ggml_tensor * kv_idxs; // I64 [n_rows*n_batch]
        ggml_tensor * kq_mask; // F16 {n_kv, n_rows, 1, 1 or n_batch}
    };
    rows_info view_rows_info(const armt_step & step, cells c, int64_t n_total);

    // trim: the last layer is computed for some rows only, see build_last_rows
    void build_inputs(const armt_step & step, uint32_t n_batch, bool trim);

    // Of {ne0, n_rows, n_batch}, the rows that something looks at after the last layer: those with outputs, then all memory rows
    ggml_tensor * build_last_rows(ggml_tensor * x);

    //
    // armt-graph-layer.cpp: the base model's decoder layer
    //

    // a weight of the layers: {ne0, ne1, n}, a vector as {ne0, 1, n}
    ggml_tensor * view_weight(const armt_weight & weight, cells c);
    ggml_tensor * view_vector(const armt_weight & weight, cells c);

    ggml_tensor * build_product(const armt_weight & weight, const armt_weight & bias, cells c, ggml_tensor * x);
    // The same of hidden states that no norm bounds: results, and on some cards inputs, are beyond the range of 16-bit floats, which backends multiply in otherwise.
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
    // The same part as {n_embd_kv, rows}, where kv_idxs says which rows are whose
    ggml_tensor * view_kv_flat(const armt_step & step, cells c, ggml_tensor * cache);

    // Where attention goes back into the segment before: puts K and V of the text of a segment that is closed where the next one sees them.
    void build_keep_text(const armt_step & step, cells c);

    // Output projection, residual, MLP, residual. into: where the result goes, or nullptr.
    ggml_tensor * build_layer_end(cells c, ggml_tensor * attn, ggml_tensor * x, ggml_tensor * into = nullptr);

    //
    // armt-graph-memory.cpp: the associative memory (arXiv 2407.04841, sec. 3)
    //

    // phi(W x), {K/h, n_rows, h, n_batch}, features in the order of rolls 3, 2, 1
    ggml_tensor * build_dpfp(const armt_weight & weight, cells c, ggml_tensor * x);

    // {n_embd, n_rows, n_batch} in heads: {n_embd/h, n_rows, h, n_batch}, and back
    ggml_tensor * split_heads(ggml_tensor * x);
    ggml_tensor * merge_heads(ggml_tensor * x);

    // what features recall from az: values {D/h, n_rows, h, n_batch}; denom gets k.z + eps, {1, n_rows, h, n_batch}, where the model has it
    ggml_tensor * build_recall(ggml_tensor * az, ggml_tensor * features, ggml_tensor ** denom);

    // A and z in float32, whatever type they are kept in; az: as llama_memory_armt::view_memory_of_layer(s)
    ggml_tensor * build_memory(ggml_tensor * az);

    // x + memory read with x, in x's place where x is a layer's input in the memory; az: of build_memory
    ggml_tensor * build_read(cells c, ggml_tensor * x, ggml_tensor * az);

    // Writes memory rows {n_embd, n_mem, n_batch} to store, whose values az has in float32. first: az is zero. later: see the input of that name, or nullptr.
    void build_write(cells c, ggml_tensor * rows, ggml_tensor * az, ggml_tensor * store, bool first, ggml_tensor * later);

    // How much of each key is new, {1, n_mem, h, n_batch}
    ggml_tensor * build_novelty(ggml_tensor * keys, ggml_tensor * denom, bool first, ggml_tensor * later);
};
