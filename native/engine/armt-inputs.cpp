#include "armt-inputs.h"

#include "armt-memory.h"

#include <cmath>

// tensor: a view of an input from its start
template <typename T> static void set_values(ggml_tensor * tensor, const std::vector<T> & values) {
    GGML_ASSERT(ggml_nbytes(tensor) == values.size() * sizeof(T));
    if (tensor->view_src->buffer == nullptr) { // nothing in this graph looks at it, so it has no place
        return;
    }
    ggml_backend_tensor_set(tensor->view_src, values.data(), 0, ggml_nbytes(tensor));
}

bool llm_graph_input_armt::can_reuse(const llm_graph_params & params) {
    const armt_step & next = static_cast<const llama_memory_armt_context *>(params.mctx)->step;
    if (!made_for.same_topology(next)) {
        return false;
    }
    step = &next;
    return true;
}

void llm_graph_input_armt::set_input(const llama_ubatch *) {
    if (trace.enabled()) {
        trace.mark_inputs();
    }
    if (tokens != nullptr) {
        set_values(tokens, step->tokens);
    }
    if (later != nullptr) {
        std::vector<float> values;
        for (const uint8_t first : step->first_in_layer) {
            values.push_back(first != 0 ? 0.0f : 1.0f);
        }
        set_values(later, values);
    }
    if (table_pos != nullptr) {
        set_table_pos();
    }
    if (pos != nullptr) {
        set_pos();
        set_mask();
    }
    set_ids();
}

void llm_graph_input_armt::set_table_pos() const {
    const uint32_t n_rows = step->n_rows();

    std::vector<int32_t> values;
    for (uint32_t is = 0; is < step->n_seqs; ++is) {
        for (uint32_t ir = 0; ir < n_rows; ++ir) {
            const bool wraps = n_wrap != 0 && ir >= step->n_text;
            values.push_back(int32_t(wraps ? n_wrap - (n_rows - ir) : n_past(is) + ir));
        }
    }
    set_values(table_pos, values);
}

void llm_graph_input_armt::set_pos() const {
    const uint32_t n_rows = step->n_rows();

    std::vector<int32_t> values(pos->ne[0]);
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = int32_t((step->type == ARMT_STEP_OPEN ? n_past(i / n_rows) : 0) + i % n_rows);
    }
    set_values(pos, values);

    std::vector<int64_t> idxs(kv_idxs->ne[0]);
    for (size_t i = 0; i < idxs.size(); ++i) {
        idxs[i] = int64_t(i / n_rows) * n_kv_stride + values[i];
    }
    set_values(kv_idxs, idxs);
}

// causal over the rows of the segment
void llm_graph_input_armt::set_mask() const {
    const int64_t n_kv   = kq_mask->ne[0];
    const int64_t n_rows = kq_mask->ne[1];
    const int64_t n_seqs = kq_mask->ne[3];

    const ggml_fp16_t hidden = ggml_fp32_to_fp16(-INFINITY);

    std::vector<ggml_fp16_t> values(n_kv * n_rows * n_seqs, hidden);
    for (int64_t is = 0; is < n_seqs; ++is) {
        for (int64_t ir = 0; ir < n_rows; ++ir) {
            ggml_fp16_t * row = values.data() + (is * n_rows + ir) * n_kv;
            const int64_t first = splits_memory && ir >= step->n_text ? n_past(is) + step->n_text : 0;
            std::fill(row + first, row + n_past(is) + ir + 1, ggml_fp32_to_fp16(0.0f));
        }
    }
    set_values(kq_mask, values);
}

void llm_graph_input_armt::set_ids() const {
    std::vector<int32_t> ids(step->out_rows.begin(), step->out_rows.end());
    if (out_ids != nullptr) {
        set_values(out_ids, ids);
    }
    if (last_ids != nullptr) {
        for (uint32_t is = 0; is < step->n_seqs; ++is) {
            for (uint32_t im = 0; im < step->n_mem; ++im) {
                ids.push_back(is * step->n_rows() + step->n_text + im);
            }
        }
        set_values(last_ids, ids);
    }
}
