#pragma once

#include "llama.h"

#include <cstdint>
#include <vector>

// A row whose logits are asked for
struct armt_output {
    uint32_t row; // text row of its segment or step
    int32_t  out; // row in the context's output buffer
};

enum armt_step_type {
    ARMT_STEP_OPEN,     // new rows of the open segments of some sequences go through all layers, against their K/V caches
    ARMT_STEP_DIAGONAL, // the cells of one diagonal: whole segments of one sequence, the open one after them, each in another layer (arXiv 2506.05229, sec. 3)
    ARMT_STEP_RESERVE,  // the largest graph of both kinds, never computed
};

// What one graph evaluation does. The first part decides the graph's topology, the second part is data for its inputs.
struct armt_step {
    armt_step_type type = ARMT_STEP_RESERVE;

    llama_seq_id seq_id = 0; // first sequence
    uint32_t     n_seqs = 1; // sequences seq_id .. seq_id + n_seqs - 1; 1 in a diagonal
    uint32_t     n_sink = 0; // rows of each sequence before the text: the model's, or 0 where the segment has begun already
    uint32_t     n_text = 0; // text rows of each sequence
    uint32_t     n_mem  = 0; // memory rows of each sequence that follow: the model's, or 0 where the segment stays open
    bool         first  = false; // OPEN: all sequences are in their first segment, so there is nothing to read
    uint32_t     n_kv   = 0;     // rows of the K/V cache that the attention sees; the mask hides those beyond its own
    bool         whole  = false; // all S + M rows of a segment of one sequence, or of the cells: their positions and mask are constants of the memory
    uint32_t     layer0 = 0;     // DIAGONAL: cells are in the layers layer0 .. layer1 - 1
    uint32_t     layer1 = 0;
    bool         inject = false; // DIAGONAL: a new segment enters layer 0
    bool         open_cell = false; // DIAGONAL: the cell in layer0 is of the open segment, with rows in vain behind its own, and writes no memory
    bool         lone_oldest = false; // DIAGONAL: the segment before the one in layer1 - 1 has another length than the others', so that cell has a mask of its own

    std::vector<llama_token> tokens;         // [n_seqs][n_text], the last one of an open cell again and again; a diagonal that injects nothing has none
    std::vector<uint32_t>    n_past;         // [n_seqs] OPEN: rows that are in the K/V cache already
    std::vector<uint32_t>    n_prev;         // text rows of the segment before. OPEN: [n_seqs]; DIAGONAL: {of all cells but the last layer's, of that}
    std::vector<uint8_t>     first_in_layer; // [layer1 - layer0] DIAGONAL: 1 where the cell is of the first segment
    std::vector<uint32_t>    out_rows;       // flat rows whose logits are wanted, rows of one sequence: n_rows()
    std::vector<int32_t>     outs;           // for each of them the row in the context's output buffer

    uint32_t n_rows() const { return n_sink + n_text + n_mem; }

    // Steps of open segments of neighbouring sequences can be one, a batch of sequences.
    bool can_share(const armt_step & other) const {
        return type == ARMT_STEP_OPEN && other.type == ARMT_STEP_OPEN && n_sink == other.n_sink && n_text == other.n_text && n_mem == other.n_mem &&
               first == other.first;
    }
    // It is a batch then, so that no constant fits it.
    void share(const armt_step & other);

    // The part of one of the sequences in a shared step, without its outputs
    armt_step of_sequence(uint32_t i) const;

    // whether a graph made for the other step computes this one
    bool same_topology(const armt_step & other) const {
        return type == other.type && seq_id == other.seq_id && n_seqs == other.n_seqs && n_sink == other.n_sink && n_text == other.n_text && n_mem == other.n_mem &&
               lone_oldest == other.lone_oldest && first == other.first && n_kv == other.n_kv && whole == other.whole && layer0 == other.layer0 && layer1 == other.layer1 && inject == other.inject &&
               open_cell == other.open_cell && out_rows.size() == other.out_rows.size();
    }
};
