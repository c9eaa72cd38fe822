#include "armt-schedule.h"

#include <algorithm>

// The step of an open segment of sequence wanted[i], shared with the sequences after it that need the same step
static void make_open(const armt_config & config, const std::vector<armt_sequence> & sequences,
                      const std::vector<llama_seq_id> & wanted, size_t i, bool close, armt_step & step) {
    sequences[wanted[i]].next_step(config, step, close);
    step.seq_id               = wanted[i];
    const uint32_t n_rows_max = config.n_sink + config.n_reread_max + config.n_rows_max + config.n_mem;
    if (step.n_mem > 0 && config.n_prev_max > 0) { // build_keep_text handles one sequence
        return;
    }
    for (size_t j = i + 1; j < wanted.size() && (step.n_seqs + 1) * step.n_rows() <= n_rows_max; ++j) {
        armt_step other;
        if (wanted[j] != step.seq_id + llama_seq_id(step.n_seqs) ||
            !sequences[wanted[j]].next_step(config, other, close) || !step.can_share(other)) {
            break;
        }
        step.share(other);
    }
}

// Each sequence has its own diagonals
static bool next_own_step(const armt_config & config, const std::vector<armt_sequence> & sequences,
                          const std::vector<llama_seq_id> & wanted, bool close, armt_step & step) {
    for (size_t i = 0; i < wanted.size(); ++i) {
        const llama_seq_id seq_id = wanted[i];
        const armt_move    move   = sequences[seq_id].next_move(config, close, ARMT_ALONE);
        if (move.kind == armt_move::OPEN) {
            make_open(config, sequences, wanted, i, close, step);
            return true;
        }
        if (move.kind == armt_move::DIAGONAL) {
            sequences[seq_id].next_step(config, step, close);
            step.seq_id = seq_id;
            step.lane   = uint32_t(seq_id);
            return true;
        }
    }
    return false;
}

// The diagonal of all segments in flight, and of one more of each sequence that enters
static void make_shared(const armt_config & config, const std::vector<armt_sequence> & sequences,
                        const std::vector<llama_seq_id> & entering, uint32_t n_text, armt_step & step) {
    step          = armt_step();
    step.type     = ARMT_STEP_SHARED;
    step.entering = entering;
    step.n_sink   = config.n_sink;
    step.n_text   = n_text;
    step.n_mem    = config.n_mem;
    step.n_kv     = config.n_kv(step.n_rows());
    step.whole    = n_text == config.n_text_whole();
    step.n_prev   = {0, 0};

    std::vector<std::vector<armt_cell>> layers(config.n_layer);
    const auto                          put = [&](uint32_t il, uint32_t lane, llama_seq_id seq_id, uint64_t segment) {
        layers[il].resize(std::max<size_t>(layers[il].size(), lane + 1));
        layers[il][lane] = {seq_id, segment == 0};
    };
    const auto add_outputs = [&](uint32_t lane, const std::vector<armt_output> & outputs) {
        for (const armt_output & output : outputs) {
            step.out_rows.push_back(lane * step.n_rows() + step.n_sink + output.row);
            step.outs.push_back(output.out);
        }
    };
    for (uint32_t lane = 0; lane < entering.size(); ++lane) {
        const armt_sequence & seq = sequences[entering[lane]];
        put(0, lane, entering[lane], seq.n_segments);
        step.n_before.push_back(seq.n_rows_before(config));
        seq.take_pending(n_text, step);
        if (config.n_layer == 1) {
            add_outputs(lane, seq.pending_outputs(n_text));
        }
    }
    for (size_t s = 0; s < sequences.size(); ++s) {
        const auto & flight = sequences[s].flight();
        for (size_t i = 0; i < flight.size(); ++i) {
            put(flight[i].layer, flight[i].lane, llama_seq_id(s), sequences[s].n_segments - flight.size() + i);
            if (flight[i].layer + 1 == config.n_layer) {
                add_outputs(flight[i].lane, flight[i].outputs);
            }
        }
    }
    const auto is_used = [](const std::vector<armt_cell> & cells) { return !cells.empty(); };
    step.layer0        = uint32_t(std::find_if(layers.begin(), layers.end(), is_used) - layers.begin());
    step.layer1        = uint32_t(layers.rend() - std::find_if(layers.rbegin(), layers.rend(), is_used));
    for (uint32_t il = step.layer0; il < step.layer1; ++il) {
        step.n_cells.push_back(uint32_t(layers[il].size()));
        step.cells.insert(step.cells.end(), layers[il].begin(), layers[il].end());
    }
}

// What all sequences have in the pipeline
struct pipeline {
    uint32_t n_users = 0; // sequences with segments in it
    uint32_t n_text  = 0; // text rows of each
    bool     open    = false;

    explicit pipeline(const std::vector<armt_sequence> & sequences) {
        for (const armt_sequence & seq : sequences) {
            if (seq.n_in_flight() > 0) {
                n_users++;
                n_text = seq.n_flight_text();
                open   = open || seq.has_open_in_flight();
            }
        }
    }

    // Whether none but this sequence has segments in it
    bool is_alone(const armt_sequence & seq) const { return n_users == (seq.n_in_flight() > 0 ? 1u : 0u); }
};

static uint32_t n_diagonals(const std::vector<armt_move> & moves) {
    return uint32_t(std::count_if(moves.begin(), moves.end(),
                                  [](const armt_move & move) { return move.kind == armt_move::DIAGONAL; }));
}

// What each of the wanted sequences needs next. A sequence that would have steps of its own joins the diagonals of
// others that have some.
static std::vector<armt_move> find_moves(const armt_config & config, const std::vector<armt_sequence> & sequences,
                                         const std::vector<llama_seq_id> & wanted, bool close, const pipeline & line) {
    std::vector<armt_move> own;
    std::vector<armt_move> active;
    for (const llama_seq_id seq_id : wanted) {
        const armt_sequence & seq = sequences[seq_id];
        own.push_back(seq.next_move(config, close, line.is_alone(seq) ? ARMT_ALONE : ARMT_PARKED));
        active.push_back(seq.next_move(config, close, ARMT_ACTIVE));
    }
    return n_diagonals(own) > 0 && n_diagonals(active) > 1 ? active : own;
}

static bool next_shared_step(const armt_config & config, const std::vector<armt_sequence> & sequences,
                             const std::vector<llama_seq_id> & wanted, bool close, armt_step & step) {
    const pipeline               line(sequences);
    const std::vector<armt_move> moves = find_moves(config, sequences, wanted, close, line);

    std::vector<llama_seq_id> entering;
    size_t                    first_open = wanted.size();
    for (size_t i = 0; i < wanted.size(); ++i) {
        if (moves[i].kind == armt_move::OPEN && moves[i].more) { // then its next segment can enter with the others'
            make_open(config, sequences, wanted, i, close, step);
            return true;
        }
        if (moves[i].kind == armt_move::OPEN) {
            first_open = std::min(first_open, i);
        } else if (moves[i].n_text > 0) {
            entering.push_back(wanted[i]);
        }
    }
    if (n_diagonals(moves) == 0) {
        if (first_open < wanted.size()) {
            make_open(config, sequences, wanted, first_open, close, step);
        }
        return first_open < wanted.size();
    }
    if (line.open) { // only its owner has segments in the pipeline
        const auto owner = std::find_if(sequences.begin(), sequences.end(),
                                        [](const armt_sequence & seq) { return seq.has_open_in_flight(); });
        owner->next_flight_step(config, step);
        step.seq_id = llama_seq_id(owner - sequences.begin());
        return true;
    }
    for (size_t i = 0; i < wanted.size() && n_diagonals(moves) == 1; ++i) {
        const armt_sequence & seq       = sequences[wanted[i]];
        const bool            is_behind = seq.n_in_flight() == 0 || seq.flight().back().layer == 1;
        if (moves[i].kind == armt_move::DIAGONAL && line.is_alone(seq) && seq.is_contiguous(config) &&
            (is_behind || moves[i].n_text == 0)) {
            seq.next_step(config, step, close);
            step.seq_id = wanted[i];
            return true;
        }
    }
    // the longest text first, because it is the last to end
    std::stable_sort(entering.begin(), entering.end(), [&](llama_seq_id a, llama_seq_id b) {
        return sequences[a].pending.size() > sequences[b].pending.size();
    });
    const uint32_t n_text = line.n_users > 0 ? line.n_text : sequences[entering[0]].capacity(config);
    entering.erase(std::remove_if(entering.begin(), entering.end(),
                                  [&](llama_seq_id id) { return sequences[id].capacity(config) != n_text; }),
                   entering.end());
    // a power of two, so that few graphs serve all numbers of texts
    size_t n_entering = 1;
    while (2 * n_entering <= std::min<size_t>(entering.size(), config.n_lanes)) {
        n_entering *= 2;
    }
    entering.resize(std::min(entering.size(), n_entering));
    make_shared(config, sequences, entering, n_text, step);
    return true;
}

bool armt_next_step(const armt_config & config, const std::vector<armt_sequence> & sequences,
                    const std::vector<llama_seq_id> & wanted, bool close, armt_step & step) {
    return config.n_lanes > 0 ? next_shared_step(config, sequences, wanted, close, step)
                              : next_own_step(config, sequences, wanted, close, step);
}

bool armt_next_flight_step(const armt_config & config, const std::vector<armt_sequence> & sequences,
                           llama_seq_id seq_id, armt_step & step) {
    const armt_sequence & seq = sequences[seq_id];
    if (seq.n_in_flight() == 0) {
        return false;
    }
    const pipeline line(sequences);
    if (config.n_lanes > 0 && !(line.is_alone(seq) && seq.is_contiguous(config))) {
        make_shared(config, sequences, {}, line.n_text, step);
        return true;
    }
    seq.next_flight_step(config, step);
    step.seq_id = seq_id;
    step.lane   = config.n_lanes > 0 ? 0 : uint32_t(seq_id);
    return true;
}
