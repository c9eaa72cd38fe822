#pragma once

#include "llama.h"

#include <cstdint>
#include <vector>

// A row whose logits are requested
struct armt_output {
    uint32_t row; // text row of its segment or step
    int32_t  out; // row in the context's output buffer
};

enum armt_step_type {
    // new rows of the open segments of some sequences go through all layers, with their K/V caches
    ARMT_STEP_OPEN,
    // the cells of one diagonal: whole segments of one sequence, and maybe its open segment, each in another layer
    // (arXiv 2506.05229, sec. 3)
    ARMT_STEP_DIAGONAL,
    // the cells of one diagonal that several sequences share: whole segments, and in each layer at most n_lanes cells
    ARMT_STEP_SHARED,
    // the largest graphs of both kinds in one; never computed
    ARMT_STEP_RESERVE,
};

// A cell of a shared diagonal
struct armt_cell {
    llama_seq_id seq_id = -1;    // -1: of a sequence that is gone. It is computed, and its result dropped
    bool         first  = false; // it belongs to the first segment of the sequence
};

// What one graph evaluation does. The first part decides the graph's topology, the second part is data for its inputs.
struct armt_step {
    armt_step_type type = ARMT_STEP_RESERVE;

    llama_seq_id seq_id = 0; // first sequence
    uint32_t     n_seqs = 1; // sequences seq_id .. seq_id + n_seqs - 1; 1 in a diagonal, and in a shared one
    uint32_t     lane   = 0; // DIAGONAL: the lane of all cells
    uint32_t n_sink = 0; // rows of each sequence before the text: the model's, or 0 if the segment has begun already
    uint32_t n_text = 0; // text rows of each sequence, those of the segment before included
    uint32_t n_mem  = 0; // memory rows of each sequence, after the text: the model's, or 0 if the segment stays open
    bool     first  = false; // OPEN: all sequences are in their first segment, so there is nothing to read
    uint32_t n_kv   = 0;     // rows of the K/V cache that attention sees; the mask hides those that a row must not see
    bool     whole  = false; // all S + M rows of a segment, so that positions and mask are constants of the memory
    uint32_t layer0 = 0;     // DIAGONAL, SHARED: cells are in the layers layer0 .. layer1 - 1
    uint32_t layer1 = 0;
    bool     inject = false; // DIAGONAL: a new segment enters layer 0
    // DIAGONAL: the cell in layer0 belongs to the open segment. It is padded to the length of the others and writes no
    // memory.
    bool open_cell = false;
    // DIAGONAL: the segment before the oldest cell's (in layer1 - 1) differs in length from the segments before the
    // other cells'
    bool oldest_has_own_mask = false;

    // [layer1 - layer0] SHARED: cells in each layer; 0 in a gap
    std::vector<uint32_t> n_cells;

    // [sum of n_cells] SHARED: layer after layer, and in each by lane
    std::vector<armt_cell> cells;
    // SHARED: the sequences whose next segment enters layer 0, by lane. Tokens and n_before are theirs.
    std::vector<llama_seq_id> entering;

    // [n_seqs][n_text], with the last token repeated in an open cell; empty in a diagonal that injects nothing
    std::vector<llama_token> tokens;
    std::vector<uint32_t>    n_past;   // [n_seqs] OPEN: rows that are in the K/V cache already
    std::vector<uint64_t>    n_before; // [n_seqs] rows of the segments before the one whose tokens these are
    // text rows of the segment before. OPEN: [n_seqs]; DIAGONAL: [2], of all cells but the oldest, and of the oldest
    std::vector<uint32_t> n_prev;
    std::vector<uint8_t>  first_in_layer; // [layer1 - layer0] DIAGONAL: 1 if the cell belongs to the first segment
    std::vector<uint32_t> out_rows;       // flat rows whose logits are requested; each sequence has n_rows() rows
    std::vector<int32_t>  outs;           // the row of each of them in the context's output buffer

    uint32_t n_rows() const { return n_sink + n_text + n_mem; }

    // Segments whose tokens the step takes
    uint32_t n_taken() const { return type == ARMT_STEP_SHARED ? uint32_t(entering.size()) : n_seqs; }

    // Cells in the last of the step's layers that were computed before they were trimmed
    uint32_t n_last() const { return type == ARMT_STEP_SHARED ? n_cells.back() : n_seqs; }

    // All its sequences
    std::vector<llama_seq_id> seq_ids() const;

    // The layers in which it computes a cell of this sequence
    std::vector<uint32_t> layers_of(llama_seq_id seq_id, uint32_t n_layer) const;

    // Whether this and the same step of the next sequence can be one, a batch of sequences
    bool can_share(const armt_step & other) const {
        return type == ARMT_STEP_OPEN && other.type == ARMT_STEP_OPEN && n_sink == other.n_sink &&
               n_text == other.n_text && n_mem == other.n_mem && first == other.first;
    }
    // Appends the other step. The batch is not whole then, because the constants are of one sequence.
    void share(const armt_step & other);

    // The part of one of the sequences, without its outputs
    armt_step of_sequence(llama_seq_id id) const;

    // Whether a graph made for the other step computes this one
    bool same_topology(const armt_step & other) const {
        const bool same_rows   = n_sink == other.n_sink && n_text == other.n_text && n_mem == other.n_mem;
        const bool same_layers = layer0 == other.layer0 && layer1 == other.layer1;
        const bool same_flags  = first == other.first && whole == other.whole && inject == other.inject &&
                                open_cell == other.open_cell && oldest_has_own_mask == other.oldest_has_own_mask;
        return type == other.type && seq_id == other.seq_id && n_seqs == other.n_seqs && lane == other.lane &&
               n_kv == other.n_kv && same_rows && same_layers && same_flags && n_cells == other.n_cells &&
               out_rows.size() == other.out_rows.size();
    }
};
