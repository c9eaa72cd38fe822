#pragma once

#include "armt-step.h"
#include "armt-trace.h"

#include "llama-graph.h"

// The inputs of a step's graph. Absent where the step has no use for one.
class llm_graph_input_armt : public llm_graph_input_i {
public:
    llm_graph_input_armt(const armt_step & step, armt_trace & trace) : step(&step), made_for(step), trace(trace) {}

    void set_input(const llama_ubatch * ubatch) override;
    bool can_reuse(const llm_graph_params & params) override;

    ggml_tensor * tokens   = nullptr; // I32 [n_seqs*n_text]
    ggml_tensor * table_pos = nullptr; // I32 [n_rows*n_seqs]: rows of the learned position table
    // of a step that is not whole
    ggml_tensor * pos      = nullptr; // I32 [n_rows*n_seqs, or n_rows times the widest batch of cells]: positions in the segment
    ggml_tensor * kq_mask  = nullptr; // F16 {n_kv, n_rows, 1, n_seqs}
    ggml_tensor * kv_idxs  = nullptr; // I64, as pos: rows of the flat K/V cache from the first sequence (or cell) on
    ggml_tensor * out_ids  = nullptr; // I32 [n_outputs]
    ggml_tensor * last_ids = nullptr; // I32 [n_outputs + n_mem*n_seqs]: rows that the last layer has to compute
    ggml_tensor * later    = nullptr; // F32 {1, 1, 1, n_cells}: 0 in the first segment, else 1

    uint32_t n_wrap = 0; // rows of the position table, where memory rows take its last ones
    bool splits_memory = false; // memory rows attend to memory rows only
    uint32_t n_kv_stride = 0; // rows from one sequence (or cell) to the next in the flat K/V cache

private:
    const armt_step * step;
    const armt_step   made_for; // the step that the graph was made for
    armt_trace      & trace;

    uint32_t n_past(uint32_t i_seq) const { return step->type == ARMT_STEP_OPEN ? step->n_past[i_seq] : 0; }

    void set_table_pos() const;
    void set_pos() const;
    void set_mask() const;
    void set_ids() const;
};
