#include "armt-inputs.h"

#include "armt-memory.h"

#include <algorithm>
#include <cmath>

// tensor: a view of an input from its start
template <typename T> static void set_values(ggml_tensor * tensor, const std::vector<T> & values) {
    GGML_ASSERT(ggml_nbytes(tensor) == values.size() * sizeof(T));
    if (tensor->view_src->buffer == nullptr) { // nothing in this graph reads it, so it was not allocated
        return;
    }
    ggml_backend_tensor_set(tensor->view_src, values.data(), 0, ggml_nbytes(tensor));
}

llm_graph_input_armt::llm_graph_input_armt(const armt_step & step, armt_trace & trace, const llama_memory_armt & memory)
    : step(&step), made_for(step), trace(trace), memory(memory), config(memory.get_config()) {}

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
    set_cells();
    if (table_pos != nullptr) {
        set_table_pos();
    }
    if (pos != nullptr) {
        set_pos();
        set_mask(kq_mask, 0);
        if (kq_mask_window != nullptr) {
            set_mask(kq_mask_window, mask.n_window);
        }
    }
    if (shift_back != nullptr) {
        set_shift();
    }
    set_ids();
}

void llm_graph_input_armt::set_cells() const {
    std::vector<float>   values;
    std::vector<int32_t> rows;
    for (const uint8_t first : step->first_in_layer) {
        values.push_back(first != 0 ? 0.0f : 1.0f);
    }
    for (size_t i = 0, ic = 0; i < step->n_cells.size(); ++i) {
        for (uint32_t n = step->n_cells[i]; n > 0; --n, ++ic) {
            values.push_back(step->cells[ic].first ? 0.0f : 1.0f);
            rows.push_back(memory.memory_row(step->layer0 + uint32_t(i), step->cells[ic].seq_id));
        }
    }
    if (not_first != nullptr) {
        set_values(not_first, values);
    }
    if (az_rows != nullptr) {
        set_values(az_rows, rows);
    }
}

void llm_graph_input_armt::set_table_pos() const {
    const uint32_t n_rows = step->n_rows();

    std::vector<int32_t> values;
    for (uint32_t is = 0; is < step->n_taken(); ++is) {
        for (uint32_t ir = 0; ir < n_rows; ++ir) {
            const bool     wraps = n_wrap != 0 && ir >= step->n_sink + step->n_text;
            const uint32_t first = continues ? uint32_t(step->n_before[is]) : 0;
            values.push_back(int32_t(wraps ? n_wrap - (n_rows - ir) : first + n_past(is) + ir));
        }
    }
    set_values(table_pos, values);
}

void llm_graph_input_armt::set_pos() const {
    const uint32_t n_rows = step->n_rows();

    std::vector<int32_t> values(pos->ne[0]);
    const bool           open = step->type == ARMT_STEP_OPEN;
    for (size_t i = 0; i < values.size(); ++i) {
        const bool     oldest = step->oldest_has_own_mask && i + n_rows >= values.size();
        const uint32_t first  = config.first_pos(n_prev(open ? uint32_t(i / n_rows) : oldest ? 1 : 0));
        values[i]             = int32_t(first + (open ? n_past(i / n_rows) : 0) + i % n_rows);
    }
    set_values(pos, values);

    std::vector<int64_t> idxs(kv_idxs->ne[0]);
    for (size_t i = 0; i < idxs.size(); ++i) {
        idxs[i] = int64_t(i / n_rows) * n_kv_stride + config.n_prev_max + (open ? n_past(i / n_rows) : 0) + i % n_rows;
    }
    set_values(kv_idxs, idxs);
}

void armt_mask::fill_row(ggml_fp16_t * row, uint32_t ir) const {
    const ggml_fp16_t shown   = ggml_fp32_to_fp16(0.0f);
    const bool        is_sink = ir < n_sink;
    const bool        is_mem  = ir >= n_text_end;
    if (n_prev_max > 0 && !is_sink) {
        // otherwise a memory row sees all of the text before, a text row the part from its own position on
        const uint32_t from = prev_by_row ? ir : is_mem ? 0 : ir - n_sink;
        std::fill(row + std::min(from, n_prev), row + n_prev, shown);
    }
    uint32_t first = splits_memory && is_mem ? n_text_end : 0;
    if (n_window > 0 && ir >= n_window) {
        first = std::max(first, ir + 1 - n_window);
    }
    const uint32_t end = mutual_memory && is_mem ? n_rows : ir + 1;
    std::fill(row + n_prev_max + first, row + n_prev_max + end, shown);
}

void llm_graph_input_armt::set_shift() const {
    std::vector<int32_t> values;
    for (const uint32_t i : {0, 1}) {
        const bool own = step->type == ARMT_STEP_DIAGONAL || i == 0; // of a sequence in an open step
        values.insert(values.end(), config.n_segment, own ? -int32_t(config.first_pos(n_prev(i))) : 0);
    }
    set_values(shift_back, values);
}

void llm_graph_input_armt::set_mask(ggml_tensor * tensor, uint32_t n_window) const {
    const int64_t n_kv     = tensor->ne[0];
    const int64_t n_rows   = tensor->ne[1];
    const int64_t n_planes = tensor->ne[3];

    std::vector<ggml_fp16_t> values(n_kv * n_rows * n_planes, ggml_fp32_to_fp16(-INFINITY));
    for (int64_t ip = 0; ip < n_planes; ++ip) {
        const uint32_t past = n_past(ip);
        armt_mask      rows = mask;
        rows.n_text_end     = past + step->n_sink + step->n_text;
        rows.n_rows         = past + step->n_rows();
        rows.n_prev         = n_prev(ip);
        rows.n_window       = n_window;
        for (int64_t ir = 0; ir < n_rows; ++ir) {
            rows.fill_row(values.data() + (ip * n_rows + ir) * n_kv, past + uint32_t(ir));
        }
    }
    set_values(tensor, values);
}

void llm_graph_input_armt::set_ids() const {
    std::vector<int32_t> ids(step->out_rows.begin(), step->out_rows.end());
    if (out_ids != nullptr) {
        set_values(out_ids, ids);
    }
    if (last_ids != nullptr) {
        for (uint32_t is = 0; is < step->n_last(); ++is) {
            for (uint32_t im = 0; im < step->n_mem; ++im) {
                ids.push_back(is * step->n_rows() + step->n_sink + step->n_text + im);
            }
        }
        set_values(last_ids, ids);
    }
}
