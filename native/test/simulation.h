#pragma once

// Runs the steps of a sequence without a model, and checks of each that what it reads has been computed before.

#include "armt-sequence.h"
#include "test.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

// S = 8 text tokens, M = 2 memory tokens, 4 layers
inline armt_config small_config(bool diagonal) {
    armt_config config;
    config.diagonal      = diagonal;
    config.n_layer       = 4;
    config.n_mem         = 2;
    config.n_segment     = 8;
    config.n_segment_max = 8;
    config.n_rows_max    = 8;
    config.n_kv_max      = 32;
    config.n_kv_multiple = 4;
    return config;
}

class simulation {
public:
    explicit simulation(const armt_config & config) : config(config) {}

    const armt_config config;
    armt_sequence     seq;

    size_t                                          n_steps = 0;
    std::set<std::pair<uint32_t, uint64_t>>         cells;   // (layer, segment) of closed segments
    std::map<int32_t, std::pair<uint64_t, int64_t>> outputs; // segment and position in it, by row of the output buffer
    std::vector<uint32_t>                           widths;  // cells of each diagonal
    std::vector<uint32_t>                           closed;  // text tokens of each closed segment

    // Appends tokens, which are their positions' numbers. outs: rows of the output buffer by position
    void push(uint32_t n, const std::map<uint32_t, int32_t> & outs = {}) {
        for (uint32_t i = 0; i < n; ++i) {
            const auto out = outs.find(n_pushed);
            seq.push(llama_token(n_pushed), llama_pos(n_pushed), out == outs.end() ? -1 : out->second);
            n_pushed++;
        }
    }

    void run(bool close = false) {
        armt_step step;
        while (seq.next_step(config, step, close)) {
            CHECK(++n_steps < 10000); // or it never ends
            if (step.type == ARMT_STEP_DIAGONAL) {
                run_diagonal(step);
            } else {
                run_open(step);
            }
            seq.finish_step(config, step);
        }
    }

    uint32_t n_pushed = 0;

private:
    struct flying {
        uint64_t              segment;
        std::vector<uint32_t> tokens;
        bool                  open;
    };

    std::deque<flying> in_flight;      // youngest first
    uint64_t           n_entered  = 0; // segments that are closed or in flight as closed ones
    uint32_t           n_open     = 0; // tokens of the open segment that were computed or are in flight
    uint32_t           next_token = 0;

    std::vector<uint32_t> take(const armt_step & step, uint32_t n) {
        std::vector<uint32_t> tokens;
        for (uint32_t i = 0; i < n; ++i) {
            CHECK_EQUAL(step.tokens[i], llama_token(next_token));
            tokens.push_back(next_token++);
        }
        return tokens;
    }

    void run_cell(uint32_t il, uint64_t segment) {
        CHECK(il == 0 || cells_before.count({il - 1, segment}) > 0);
        CHECK(segment == 0 || cells_before.count({il, segment - 1}) > 0);
        CHECK(cells.insert({il, segment}).second);
    }

    void record_outputs(const armt_step & step, uint64_t segment, const std::vector<uint32_t> & tokens) {
        CHECK_EQUAL(step.out_rows.size(), step.outs.size());
        for (size_t i = 0; i < step.outs.size(); ++i) {
            const uint32_t row = step.out_rows[i] - step.n_sink;
            CHECK(row < tokens.size());
            CHECK(outputs.insert({step.outs[i], {segment, tokens[row]}}).second);
        }
    }

    void run_diagonal(const armt_step & step) {
        cells_before = cells;
        if (step.inject) {
            CHECK_EQUAL(step.layer0, 0u);
            CHECK_EQUAL(step.tokens.size(), size_t(step.n_text));
            const uint32_t n_text = step.open_cell ? uint32_t(seq.pending.size()) : step.n_text;
            in_flight.push_front({n_entered, take(step, n_text), step.open_cell});
            for (uint32_t i = n_text; i < step.n_text; ++i) { // padding
                CHECK_EQUAL(step.tokens[i], step.tokens[n_text - 1]);
            }
            if (step.open_cell) {
                n_open += n_text;
            } else {
                closed.push_back(n_text);
                n_entered++;
            }
        } else {
            CHECK(step.tokens.empty());
        }
        CHECK_EQUAL(in_flight.size(), size_t(step.layer1 - step.layer0));
        CHECK_EQUAL(step.first_in_layer.size(), in_flight.size());
        CHECK_EQUAL(step.open_cell, in_flight.front().open);
        for (uint32_t i = 0; i < in_flight.size(); ++i) {
            const flying & cell = in_flight[i];
            CHECK_EQUAL(step.first_in_layer[i] != 0, cell.segment == 0);
            if (!cell.open) {
                run_cell(step.layer0 + i, cell.segment);
            }
        }
        widths.push_back(uint32_t(in_flight.size()));
        if (step.layer1 == config.n_layer) {
            record_outputs(step, in_flight.back().segment, in_flight.back().tokens);
            in_flight.pop_back();
        } else {
            CHECK(step.outs.empty());
        }
    }

    void run_open(const armt_step & step) {
        cells_before = cells;
        CHECK(in_flight.empty());
        CHECK_EQUAL(step.first, n_entered == 0);
        CHECK_EQUAL(step.n_past[0], n_open > 0 ? config.n_sink + n_open : 0);
        CHECK(step.n_text <= config.n_rows_max);
        record_outputs(step, n_entered, take(step, step.n_text));
        n_open += step.n_text;
        if (step.n_mem == 0) {
            return;
        }
        CHECK_EQUAL(step.n_mem, config.n_mem);
        for (uint32_t il = 0; il < config.n_layer; ++il) {
            run_cell(il, n_entered);
            cells_before.insert({il, n_entered});
        }
        closed.push_back(n_open);
        n_open = 0;
        n_entered++;
    }

    std::set<std::pair<uint32_t, uint64_t>> cells_before; // those of earlier steps
};
