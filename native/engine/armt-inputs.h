#pragma once

#include "armt-sequence.h"
#include "armt-step.h"
#include "armt-trace.h"

#include "llama-graph.h"

// What the rows of a segment attend to: earlier rows of the segment, with the exceptions that armt_hparams defines for
// memory rows and for the segment before
struct armt_mask {
    uint32_t n_sink        = 0; // rows before the text
    uint32_t n_text_end    = 0; // the row after the last text row so far
    uint32_t n_rows        = 0; // the row after the last one
    uint32_t n_prev        = 0; // text rows of the segment before
    uint32_t n_prev_max    = 0; // columns before the segment's own
    uint32_t n_window      = 0; // rows of the segment that a row sees, itself included; 0: all before it
    bool     splits_memory = false;
    bool     mutual_memory = false;
    bool     prev_by_row   = false; // row i sees rows i.. of the text before, counted from the segment's first row

    // Unmasks what row ir of the segment sees, in a row that masks everything.
    void fill_row(ggml_fp16_t * row, uint32_t ir) const;
};

class llama_memory_armt;

// The inputs of a step's graph. Those that the step does not use are nullptr.
class llm_graph_input_armt : public llm_graph_input_i {
public:
    llm_graph_input_armt(const armt_step & step, armt_trace & trace, const llama_memory_armt & memory);

    void set_input(const llama_ubatch * ubatch) override;
    bool can_reuse(const llm_graph_params & params) override;

    // n_batch: n_seqs in a step of open segments, cells of the widest batch in a diagonal
    ggml_tensor * tokens    = nullptr; // I32 {n_text*n_taken}
    ggml_tensor * table_pos = nullptr; // I32 {n_rows*n_taken}: rows of the learned position table
    ggml_tensor * out_ids   = nullptr; // I32 {n_outputs}
    ggml_tensor * last_ids  = nullptr; // I32 {n_outputs + n_mem*n_last}: rows that the last layer has to compute
    ggml_tensor * not_first = nullptr; // F32 {1, 1, 1, n_cells}: 0 in the first segment, else 1
    ggml_tensor * az_rows   = nullptr; // I32 {n_cells}: rows of llama_memory_armt::view_memory_rows, shared diagonals

    // Of a step that is not whole. With oldest_has_own_mask, pos and kq_mask have that cell's part after the others'.
    ggml_tensor * pos            = nullptr; // I32 {n_rows*n_batch}, or {n_rows*(n_batch + 1)}: positions in the segment
    ggml_tensor * kq_mask        = nullptr; // F16 {n_kv, n_rows, 1, n_seqs}, or {n_kv, n_rows, 1, 2}
    ggml_tensor * kq_mask_window = nullptr; // the same for layers with a window that cuts into a segment
    ggml_tensor * kv_idxs = nullptr; // I64 {n_rows*n_batch}: rows of the flat K/V cache, from the batch's first on

    // minus the first positions of the segments that close: those of all cells but the oldest, then of the oldest
    ggml_tensor * shift_back = nullptr; // I32 {S, 2}

    uint32_t  n_wrap    = 0;     // rows of the position table, if memory rows take its last ones
    bool      continues = false; // positions of the table run on from segment to segment
    armt_mask mask;              // what the masks of all segments have in common
    uint32_t  n_kv_stride = 0;   // rows from one sequence (or cell) to the next in the flat K/V cache

private:
    const armt_step * step;
    const armt_step   made_for; // the step that the graph was made for
    armt_trace &      trace;

    const llama_memory_armt & memory;
    const armt_config &       config;

    uint32_t n_past(uint32_t i_seq) const { return step->type == ARMT_STEP_OPEN ? step->n_past[i_seq] : 0; }

    // Text rows of the segment before that attention sees: of sequence i; in a diagonal of the oldest cell (1) or the
    // others (0)
    uint32_t n_prev(uint32_t i) const { return config.n_prev_max > 0 ? step->n_prev[i] : 0; }

    void set_cells() const;
    void set_table_pos() const;
    void set_pos() const;
    void set_mask(ggml_tensor * tensor, uint32_t n_window) const;
    void set_shift() const;
    void set_ids() const;
};
