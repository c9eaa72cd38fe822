#pragma once

#include "armt-step.h"
#include "armt-trace.h"

#include "llama-graph.h"

// What the rows of a segment may attend to: causal over the segment's rows, and what armt_hparams says of memory rows and the segment before
struct armt_mask {
    uint32_t n_sink        = 0; // rows before the text
    uint32_t n_text_end    = 0; // row after the last text row so far
    uint32_t n_rows        = 0; // row after the last one
    uint32_t n_prev        = 0; // text rows of the segment before
    uint32_t n_prev_max    = 0; // columns before the segment's own
    bool     splits_memory = false;

    // Shows what row ir of the segment sees, in a row of a mask that hides all.
    void fill_row(ggml_fp16_t * row, uint32_t ir) const;
};

// The inputs of a step's graph. Absent where the step has no use for one.
class llm_graph_input_armt : public llm_graph_input_i {
public:
    llm_graph_input_armt(const armt_step & step, armt_trace & trace) : step(&step), made_for(step), trace(trace) {}

    void set_input(const llama_ubatch * ubatch) override;
    bool can_reuse(const llm_graph_params & params) override;

    ggml_tensor * tokens   = nullptr; // I32 [n_seqs*n_text]
    ggml_tensor * table_pos = nullptr; // I32 [n_rows*n_seqs]: rows of the learned position table
    // of a step that is not whole
    ggml_tensor * pos      = nullptr; // I32 [n_rows*n_seqs, or n_rows times the widest batch of cells, then of a lone oldest cell]: positions in the segment
    ggml_tensor * kq_mask  = nullptr; // F16 {n_kv, n_rows, 1, n_seqs}; with a lone oldest cell {.., .., 1, 2}, its own after the others'
    ggml_tensor * kv_idxs  = nullptr; // I64 [n_rows*n_seqs, or n_rows times the widest batch of cells]: rows of the flat K/V cache from the first sequence (or cell) on
    ggml_tensor * out_ids  = nullptr; // I32 [n_outputs]
    ggml_tensor * last_ids = nullptr; // I32 [n_outputs + n_mem*n_seqs]: rows that the last layer has to compute
    ggml_tensor * later    = nullptr; // F32 {1, 1, 1, n_cells}: 0 in the first segment, else 1

    uint32_t n_wrap = 0; // rows of the position table, where memory rows take its last ones
    bool splits_memory = false; // memory rows attend to memory rows only
    uint32_t n_sink_all = 0; // rows of a segment before its text, in this step or an earlier one
    uint32_t n_prev_max = 0; // rows of the K/V cache before the segment's own, which hold the text of the one before; 0: attention does not go back
    uint32_t n_kv_stride = 0; // rows from one sequence (or cell) to the next in the flat K/V cache

private:
    const armt_step * step;
    const armt_step   made_for; // the step that the graph was made for
    armt_trace      & trace;

    uint32_t n_past(uint32_t i_seq) const { return step->type == ARMT_STEP_OPEN ? step->n_past[i_seq] : 0; }

    // text rows that the attention of a sequence, or of the cells before the lone oldest (0) and of that (1), goes back to
    uint32_t n_prev(uint32_t i) const { return n_prev_max > 0 ? step->n_prev[i] : 0; }

    void set_table_pos() const;
    void set_pos() const;
    void set_mask() const;
    void set_ids() const;
};
