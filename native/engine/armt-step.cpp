#include "armt-step.h"

#include <algorithm>
#include <numeric>
#include <set>

void armt_step::share(const armt_step & other) {
    n_kv  = std::max(n_kv, other.n_kv);
    whole = false;
    for (size_t i = 0; i < other.outs.size(); ++i) {
        out_rows.push_back(n_seqs * n_rows() + other.out_rows[i]);
        outs.push_back(other.outs[i]);
    }
    tokens.insert(tokens.end(), other.tokens.begin(), other.tokens.end());
    n_past.push_back(other.n_past[0]);
    n_prev.push_back(other.n_prev[0]);
    n_before.push_back(other.n_before[0]);
    n_seqs++;
}

std::vector<llama_seq_id> armt_step::seq_ids() const {
    std::set<llama_seq_id> ids;
    for (uint32_t is = 0; is < n_seqs && type != ARMT_STEP_SHARED; ++is) {
        ids.insert(seq_id + llama_seq_id(is));
    }
    for (const armt_cell & cell : cells) {
        if (cell.seq_id >= 0) {
            ids.insert(cell.seq_id);
        }
    }
    return {ids.begin(), ids.end()};
}

std::vector<uint32_t> armt_step::layers_of(llama_seq_id id, uint32_t n_layer) const {
    std::vector<uint32_t> layers;
    if (type == ARMT_STEP_SHARED) {
        for (size_t i = 0, ic = 0; i < n_cells.size(); ic += n_cells[i++]) {
            if (std::any_of(cells.begin() + ic, cells.begin() + ic + n_cells[i],
                            [id](const armt_cell & cell) { return cell.seq_id == id; })) {
                layers.push_back(layer0 + uint32_t(i));
            }
        }
        return layers;
    }
    const bool open = type == ARMT_STEP_OPEN;
    layers.resize(open ? n_layer : layer1 - layer0);
    std::iota(layers.begin(), layers.end(), open ? 0 : layer0);
    return layers;
}

armt_step armt_step::of_sequence(llama_seq_id id) const {
    armt_step own = *this;
    own.seq_id    = id;
    own.n_seqs    = 1;
    own.out_rows.clear();
    own.outs.clear();
    if (type == ARMT_STEP_SHARED) {
        const auto at = std::find(entering.begin(), entering.end(), id);
        own.type      = ARMT_STEP_DIAGONAL;
        own.inject    = at != entering.end();
        own.lane      = uint32_t(at - entering.begin());
        return own;
    }
    if (type == ARMT_STEP_OPEN) {
        const size_t i = size_t(id - seq_id);
        own.tokens.assign(tokens.begin() + i * n_text, tokens.begin() + (i + 1) * n_text);
        own.n_past   = {n_past[i]};
        own.n_prev   = {n_prev[i]};
        own.n_before = {n_before[i]};
    }
    return own;
}
