#include "armt-step.h"

#include <algorithm>

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

armt_step armt_step::of_sequence(uint32_t i) const {
    armt_step own = *this;
    own.seq_id    = seq_id + llama_seq_id(i);
    own.n_seqs    = 1;
    own.tokens.assign(tokens.begin() + i * n_text, tokens.begin() + (i + 1) * n_text);
    own.n_past   = {n_past[i]};
    own.n_prev   = {n_prev[i]};
    own.n_before = {n_before[i]};
    own.out_rows.clear();
    own.outs.clear();
    return own;
}
