// Several sequences in one pipeline of diagonals: each cell is computed once, from what the cell before it left in its
// lane, and after the cell of the segment before.

#include "armt-schedule.h"
#include "simulation.h"

#include <random>

// Runs the steps of several sequences without a model.
class pipeline_simulation {
public:
    pipeline_simulation(const armt_config & config, uint32_t n_seqs)
        : config(config), sequences(n_seqs), n_pushed(n_seqs), n_taken(n_seqs), cells(n_seqs), closed(n_seqs),
          outputs(n_seqs) {}

    using cell = std::pair<uint32_t, uint64_t>; // layer and segment

    const armt_config          config;
    std::vector<armt_sequence> sequences;
    std::vector<uint32_t>      n_pushed;
    std::vector<uint32_t>      n_taken;

    std::vector<std::set<cell>>                                  cells;  // of closed segments
    std::vector<std::vector<uint32_t>>                           closed; // text tokens of each closed segment
    std::vector<std::map<int32_t, std::pair<uint64_t, int64_t>>> outputs;
    size_t                                                       n_steps     = 0;
    size_t                                                       n_diagonals = 0;
    uint32_t                                                     n_widest    = 0; // cells of one layer in one step

    void push(llama_seq_id seq_id, uint32_t n, const std::map<uint32_t, int32_t> & outs = {}) {
        for (uint32_t i = 0; i < n; ++i) {
            const uint32_t pos = n_pushed[seq_id]++;
            const auto     out = outs.find(pos);
            sequences[seq_id].push(token_of(seq_id, pos), llama_pos(pos), out == outs.end() ? -1 : out->second);
        }
    }

    void run(const std::vector<llama_seq_id> & wanted, bool close = false) {
        armt_step step;
        while (armt_next_step(config, sequences, wanted, close, step)) {
            run_step(step);
        }
    }

    void drain(llama_seq_id seq_id) {
        armt_step step;
        while (armt_next_flight_step(config, sequences, seq_id, step)) {
            CHECK(step.entering.empty() && !step.inject);
            run_step(step);
        }
    }

    // The sequence starts over.
    void clear(llama_seq_id seq_id) {
        sequences[seq_id].clear();
        n_pushed[seq_id] = n_taken[seq_id] = 0;
        cells[seq_id].clear();
        closed[seq_id].clear();
        outputs[seq_id].clear();
        lives[seq_id]++;
    }

    void run_step(const armt_step & step) {
        CHECK(++n_steps < 100000); // or it never ends
        const std::vector<std::set<cell>> before = cells;
        if (step.type == ARMT_STEP_OPEN) {
            for (const llama_seq_id seq_id : step.seq_ids()) {
                run_open(step, seq_id);
            }
        } else if (step.type == ARMT_STEP_DIAGONAL) {
            run_own(before, step);
        } else {
            run_shared(before, step);
        }
        for (const llama_seq_id seq_id : step.seq_ids()) {
            const bool is_own = step.seq_ids().size() == 1 && step.type != ARMT_STEP_SHARED;
            sequences[seq_id].finish_step(config, is_own ? step : step.of_sequence(seq_id));
        }
    }

private:
    // A segment, by the life of its sequence
    struct segment {
        llama_seq_id seq_id;
        uint32_t     life;
        uint64_t     index;
        bool         open;
        uint32_t     n_text; // rows, with the padding of an open segment
    };

    std::map<llama_seq_id, uint32_t>                      lives;
    std::map<std::pair<uint32_t, uint32_t>, segment>      inputs; // by lane and layer
    std::map<std::pair<llama_seq_id, uint64_t>, uint32_t> sizes;  // first position of each segment

    static llama_token token_of(llama_seq_id seq_id, uint32_t pos) { return llama_token(1000 * seq_id + pos); }

    uint32_t n_lanes() const { return config.n_lanes > 0 ? config.n_lanes : uint32_t(sequences.size()); }

    void take(const armt_step & step, llama_seq_id seq_id, size_t first, uint32_t n) {
        const uint64_t index   = sequences[seq_id].n_segments;
        sizes[{seq_id, index}] = n_taken[seq_id];
        for (uint32_t i = 0; i < n; ++i) {
            CHECK_EQUAL(step.tokens[first + i], token_of(seq_id, n_taken[seq_id]++));
        }
    }

    void record(llama_seq_id seq_id, uint64_t index, uint32_t row, int32_t out) {
        CHECK(outputs[seq_id].insert({out, {index, sizes[{seq_id, index}] + row}}).second);
    }

    void run_cell(const std::vector<std::set<cell>> & before, const segment & seg, uint32_t il) {
        CHECK(il == 0 || before[seg.seq_id].count({il - 1, seg.index}) > 0);
        CHECK(seg.index == 0 || before[seg.seq_id].count({il, seg.index - 1}) > 0);
        CHECK(cells[seg.seq_id].insert({il, seg.index}).second);
    }

    void run_open(const armt_step & step, llama_seq_id seq_id) {
        armt_sequence & seq = sequences[seq_id];
        CHECK_EQUAL(seq.n_in_flight(), 0u);
        const size_t   first = size_t(seq_id - step.seq_id) * step.n_text;
        const uint32_t start = n_taken[seq_id];
        const auto     size  = sizes.find({seq_id, seq.n_segments});
        const uint32_t of    = seq.n_open > 0 ? size->second : start;
        take(step, seq_id, first, step.n_text);
        sizes[{seq_id, seq.n_segments}] = of;
        for (size_t i = 0; i < step.outs.size(); ++i) {
            if (step.out_rows[i] / step.n_rows() == uint32_t(seq_id - step.seq_id)) {
                record(seq_id, seq.n_segments, start - of + step.out_rows[i] % step.n_rows() - step.n_sink,
                       step.outs[i]);
            }
        }
        if (step.n_mem > 0) {
            for (uint32_t il = 0; il < config.n_layer; ++il) {
                CHECK(cells[seq_id].insert({il, seq.n_segments}).second);
            }
            closed[seq_id].push_back(seq.n_open + step.n_text);
        }
    }

    // The input of a cell, checked against the sequence's own account
    segment input_of(const armt_step & step, uint32_t lane, uint32_t il, llama_seq_id seq_id) {
        const auto found = inputs.find({lane, il});
        CHECK(found != inputs.end());
        CHECK_EQUAL(found->second.seq_id, seq_id);
        CHECK_EQUAL(found->second.life, lives[seq_id]);
        CHECK_EQUAL(found->second.n_text, step.n_text);
        return found->second;
    }

    void run_own(const std::vector<std::set<cell>> & before, const armt_step & step) {
        const llama_seq_id    seq_id = step.seq_id;
        const armt_sequence & seq    = sequences[seq_id];
        if (step.inject) {
            const uint32_t n_text = step.open_cell ? uint32_t(seq.pending.size()) : step.n_text;
            take(step, seq_id, 0, n_text);
            inputs[{step.lane, 0}] = {seq_id, lives[seq_id], seq.n_segments, step.open_cell, step.n_text};
            if (!step.open_cell) {
                closed[seq_id].push_back(n_text);
            }
        }
        CHECK_EQUAL(step.layer1 - step.layer0, seq.n_in_flight() + (step.inject ? 1 : 0));
        for (uint32_t il = step.layer1; il-- > step.layer0;) { // the last layers first
            const segment seg = input_of(step, step.lane, il, seq_id);
            if (!seg.open) {
                CHECK_EQUAL(step.first_in_layer[il - step.layer0] != 0, seg.index == 0);
                run_cell(before, seg, il);
            }
            if (il + 1 == config.n_layer) {
                for (size_t i = 0; i < step.outs.size(); ++i) {
                    record(seq_id, seg.index, step.out_rows[i] - step.n_sink, step.outs[i]);
                }
            }
            inputs[{step.lane, il + 1}] = seg;
        }
        n_diagonals++;
        n_widest = std::max(n_widest, 1u);
    }

    void run_shared(const std::vector<std::set<cell>> & before, const armt_step & step) {
        CHECK_EQUAL(step.tokens.size(), step.entering.size() * step.n_text);
        CHECK((step.entering.size() & (step.entering.size() - 1)) == 0);
        for (uint32_t lane = 0; lane < step.entering.size(); ++lane) {
            const llama_seq_id seq_id = step.entering[lane];
            take(step, seq_id, lane * step.n_text, step.n_text);
            inputs[{lane, 0}] = {seq_id, lives[seq_id], sequences[seq_id].n_segments, false, step.n_text};
            closed[seq_id].push_back(step.n_text);
        }
        CHECK_EQUAL(step.n_cells.size(), size_t(step.layer1 - step.layer0));
        std::map<std::pair<llama_seq_id, uint64_t>, uint32_t> computed;
        size_t                                                end = step.cells.size();
        for (uint32_t il = step.layer1; il-- > step.layer0;) {
            const uint32_t n = step.n_cells[il - step.layer0];
            CHECK(n <= n_lanes());
            n_widest = std::max(n_widest, n);
            end -= n;
            std::set<llama_seq_id> of_layer; // a sequence has one memory for each layer
            for (uint32_t lane = 0; lane < n; ++lane) {
                const armt_cell & c = step.cells[end + lane];
                if (c.seq_id < 0) {
                    continue;
                }
                CHECK(of_layer.insert(c.seq_id).second);
                const segment seg = input_of(step, lane, il, c.seq_id);
                CHECK(!seg.open);
                CHECK_EQUAL(c.first, seg.index == 0);
                run_cell(before, seg, il);
                for (size_t i = 0; i < step.outs.size() && il + 1 == config.n_layer; ++i) {
                    if (step.out_rows[i] / step.n_rows() == lane) {
                        record(c.seq_id, seg.index, step.out_rows[i] % step.n_rows() - step.n_sink, step.outs[i]);
                    }
                }
                inputs[{lane, il + 1}] = seg;
            }
        }
        CHECK_EQUAL(end, size_t(0));
        n_diagonals++;
    }
};

static std::vector<llama_seq_id> first_seqs(uint32_t n) {
    std::vector<llama_seq_id> ids;
    for (uint32_t i = 0; i < n; ++i) {
        ids.push_back(llama_seq_id(i));
    }
    return ids;
}

TEST("in one lane, texts follow each other: all segments + layers - 1 steps") {
    armt_config config = small_config(true);
    config.n_lanes     = 1;
    pipeline_simulation run(config, 8);
    size_t              n_segments = 0;
    for (uint32_t i = 0; i < 8; ++i) {
        n_segments += 4 + i;
        run.push(llama_seq_id(i), 8 * (4 + i) + 1, {{8 * (4 + i), int32_t(i)}});
    }
    run.run(first_seqs(8));
    CHECK_EQUAL(run.n_diagonals, n_segments + 4 - 1);
    CHECK_EQUAL(run.n_widest, 1u);
    CHECK_EQUAL(run.n_steps, run.n_diagonals + 1); // the open segments, all at once
}

TEST("in several lanes, as many texts as a power of two enter together") {
    armt_config config = small_config(true);
    config.n_lanes     = 4;
    pipeline_simulation run(config, 8);
    for (uint32_t i = 0; i < 8; ++i) {
        run.push(llama_seq_id(i), 8 * 4 + 1);
    }
    run.run(first_seqs(8));
    CHECK_EQUAL(run.n_widest, 4u);
    CHECK_EQUAL(run.n_diagonals, size_t(4 * 8 / 4)); // they stay in flight
    run.drain(0);
    run.drain(7);
    CHECK_EQUAL(run.n_diagonals, size_t(4 * 8 / 4 + 4 - 1));
}

TEST("a sequence that is alone has diagonals of its own") {
    armt_config config = small_config(true);
    config.n_lanes     = 2;
    pipeline_simulation run(config, 3);
    run.push(1, 8 * 5 + 1, {{8 * 5, 0}});
    armt_step step;
    CHECK(armt_next_step(config, run.sequences, {1}, false, step));
    CHECK_EQUAL(int(step.type), int(ARMT_STEP_DIAGONAL));
    CHECK_EQUAL(step.seq_id, 1);
    CHECK_EQUAL(step.lane, 0u);
    run.run({1});
    CHECK_EQUAL(run.n_diagonals, size_t(5 + 4 - 1));
}

TEST("a sequence that is gone leaves cells for nobody") {
    armt_config config = small_config(true);
    config.n_lanes     = 2;
    pipeline_simulation run(config, 2);
    run.push(0, 8 + 1);
    run.push(1, 8 + 1);
    run.run({0, 1});
    const llama_seq_id first = run.sequences[0].flight()[0].lane == 0 ? 0 : 1; // in the first lane
    run.clear(first);
    armt_step step;
    CHECK(armt_next_flight_step(config, run.sequences, 1 - first, step));
    CHECK_EQUAL(step.n_cells[0], 2u);
    CHECK_EQUAL(step.cells[0].seq_id, -1);
    CHECK_EQUAL(step.cells[1].seq_id, 1 - first);
    CHECK((step.seq_ids() == std::vector<llama_seq_id>{1 - first}));
}

TEST("an open segment in flight leaves the pipeline before another text enters") {
    armt_config config   = small_config(true);
    config.n_lanes       = 2;
    config.n_padding_max = 5;
    pipeline_simulation run(config, 2);
    run.push(0, 8 * 3 + 5, {{8 * 3 + 4, 0}});
    armt_step step;
    while (!run.sequences[0].has_open_in_flight()) {
        CHECK(armt_next_step(config, run.sequences, {0}, false, step));
        run.run_step(step);
    }
    run.push(1, 8 * 2 + 1);
    run.run({1}); // the call that wanted the first text's output has failed
    CHECK_EQUAL(run.sequences[0].n_in_flight(), 0u);
    CHECK_EQUAL(run.sequences[1].n_in_flight(), 2u);
    CHECK_EQUAL(run.cells[0].size(), size_t(3 * 4));
    CHECK_EQUAL(run.outputs[0].size(), size_t(1));
}

TEST("a graph serves other sequences in the same lanes and layers") {
    armt_config config = small_config(true);
    config.n_lanes     = 2;
    pipeline_simulation one(config, 3);
    pipeline_simulation other(config, 3);
    for (const llama_seq_id seq_id : {0, 1}) {
        one.push(seq_id, 8 + 1);
        other.push(seq_id + 1, 8 + 1);
    }
    armt_step a;
    armt_step b;
    CHECK(armt_next_step(config, one.sequences, {0, 1}, false, a));
    CHECK(armt_next_step(config, other.sequences, {1, 2}, false, b));
    CHECK_EQUAL(int(a.type), int(ARMT_STEP_SHARED));
    CHECK(a.same_topology(b));
    b.n_cells[0] = 1;
    CHECK(!a.same_topology(b));
}

TEST("texts of any lengths have the cells and outputs that they have alone, whatever joins, ends or goes") {
    std::mt19937 random(11);
    const auto   up_to = [&](uint32_t n) { return uint32_t(random() % (n + 1)); };
    for (int i = 0; i < 600; ++i) {
        armt_config config   = small_config(true);
        config.n_layer       = 1 + up_to(5);
        config.n_segment     = 1 + up_to(8);
        config.n_segment_max = config.n_segment;
        config.n_rows_max    = 1 + up_to(8);
        config.n_sink        = up_to(1);
        config.n_padding_max = up_to(8);
        config.automatic     = up_to(1) == 1;
        config.n_lanes       = 1 + up_to(4);

        const uint32_t      n_seqs = 1 + up_to(4);
        pipeline_simulation shared(config, n_seqs);
        armt_config         own = config;
        own.diagonal            = false;
        own.n_lanes             = 0;
        pipeline_simulation  alone(own, n_seqs);
        std::vector<int32_t> n_outputs(n_seqs);
        for (uint32_t n_batches = 1 + up_to(7); n_batches > 0; --n_batches) {
            std::vector<llama_seq_id> wanted;
            for (uint32_t s = 0; s < n_seqs; ++s) {
                const llama_seq_id seq_id = llama_seq_id(s);
                const uint32_t     what   = up_to(9);
                if (what == 0) {
                    shared.clear(seq_id);
                    alone.clear(seq_id);
                    n_outputs[s] = 0;
                }
                if (what == 1) {
                    shared.drain(seq_id);
                }
                if ((what == 2 || what == 3) && shared.sequences[s].empty() && config.n_segment > 2) {
                    const armt_plan plan     = {2, config.n_segment - 1, 2 + 3 * uint64_t(config.n_segment - 1)};
                    shared.sequences[s].plan = plan;
                    alone.sequences[s].plan  = plan;
                }
                if (what > 7) {
                    continue;
                }
                const uint32_t              n = 1 + up_to(40);
                std::map<uint32_t, int32_t> outs;
                for (uint32_t j = 0; j < n; ++j) {
                    if (up_to(6) == 0) {
                        outs[shared.n_pushed[s] + j] = n_outputs[s]++;
                    }
                }
                shared.push(seq_id, n, outs);
                alone.push(seq_id, n, outs);
                wanted.push_back(seq_id);
            }
            shared.run(wanted);
            for (const llama_seq_id seq_id : wanted) {
                alone.run({seq_id});
                CHECK(shared.outputs[seq_id] == alone.outputs[seq_id]);
                if (up_to(5) == 0) {
                    shared.run({seq_id}, true);
                    alone.run({seq_id}, true);
                }
            }
        }
        for (uint32_t s = 0; s < n_seqs; ++s) {
            shared.run({llama_seq_id(s)}, true);
            alone.run({llama_seq_id(s)}, true);
            CHECK_EQUAL(shared.sequences[s].n_in_flight(), 0u);
            CHECK(shared.cells[s] == alone.cells[s]);
            CHECK(shared.closed[s] == alone.closed[s]);
            CHECK(shared.outputs[s] == alone.outputs[s]);
            CHECK_EQUAL(shared.outputs[s].size(), size_t(n_outputs[s]));
            CHECK_EQUAL(shared.sequences[s].stats.n_cells, alone.sequences[s].stats.n_cells);
        }
    }
}

int main() {
    return run_tests();
}
