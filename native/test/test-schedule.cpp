// Both schedules compute each cell once, after the cells that it depends on (arXiv 2506.05229, sec. 3).

#include "simulation.h"

#include <random>

static size_t n_cells(uint32_t n_layer, size_t n_segments) {
    return n_layer * n_segments;
}

TEST("the sequential schedule takes one step for each segment") {
    simulation run(small_config(false));
    run.push(8 * 5 + 3, {{8 * 5 + 2, 0}});
    run.run();
    CHECK_EQUAL(run.n_steps, 6u);
    CHECK_EQUAL(run.cells.size(), n_cells(4, 5));
    CHECK_EQUAL(run.outputs.size(), 1u);
}

TEST("the diagonal schedule takes segments + layers - 1 steps, with up to one cell for each layer") {
    for (const uint32_t n_segments : {1u, 2u, 3u, 4u, 5u, 9u}) {
        simulation run(small_config(true));
        run.push(8 * n_segments + 1, {{8 * n_segments, 0}});
        run.run();
        CHECK_EQUAL(run.widths.size(), size_t(n_segments + 4 - 1));
        CHECK_EQUAL(run.n_steps, run.widths.size() + 1); // the open segment's own step
        CHECK_EQUAL(*std::max_element(run.widths.begin(), run.widths.end()), std::min(4u, n_segments));
        CHECK_EQUAL(run.cells.size(), n_cells(4, n_segments));
    }
}

TEST("a diagonal marks the cells of the first segment, which read nothing") {
    for (const uint32_t max_cells : {1u, 2u}) {
        armt_config config = small_config(true);
        config.max_cells   = max_cells;
        armt_sequence seq;
        armt_step     step;
        for (llama_pos pos = 0; pos < 8 * 3; ++pos) {
            seq.push(0, pos, -1);
        }
        std::vector<uint32_t> marked; // layers, in the order of the diagonals
        while (seq.next_step(config, step, true)) {
            CHECK_EQUAL(step.first_in_layer.size(), size_t(step.layer1 - step.layer0));
            for (uint32_t il = step.layer0; il < step.layer1; ++il) {
                if (step.first_in_layer[il - step.layer0]) {
                    CHECK_EQUAL(il, step.layer1 - 1); // only the oldest segment can be the first
                    marked.push_back(il);
                }
            }
            seq.finish_step(config, step);
        }
        CHECK(marked == (std::vector<uint32_t>{0, 1, 2, 3}));
        CHECK_EQUAL(seq.n_segments, 3u);
    }
}

TEST("an automatic schedule computes a single segment in one step") {
    armt_config config = small_config(true);
    config.automatic   = true;
    simulation run(config);
    run.push(9, {{8, 0}});
    run.run();
    CHECK_EQUAL(run.n_steps, 2u);
    CHECK(run.widths.empty());
}

TEST("a model of one layer has diagonals of one cell") {
    armt_config config = small_config(true);
    config.n_layer     = 1;
    simulation run(config);
    run.push(8 * 3 + 1, {{3, 0}, {8 * 3, 1}});
    run.run();
    CHECK_EQUAL(run.widths.size(), 3u);
    CHECK_EQUAL(run.outputs.size(), 2u);
    CHECK_EQUAL(run.cells.size(), 3u);
}

TEST("without an output, full segments enter the pipeline and stay in flight") {
    simulation run(small_config(true));
    run.push(8 * 2 + 4);
    run.run();
    CHECK_EQUAL(run.seq.n_segments, 2u);
    CHECK_EQUAL(run.seq.n_in_flight(), 2u);
    CHECK_EQUAL(run.seq.pending.size(), 4u);

    armt_step step;
    while (run.seq.next_flight_step(run.config, step)) {
        CHECK(!step.inject);
        run.seq.finish_step(run.config, step);
    }
    CHECK_EQUAL(run.seq.n_in_flight(), 0u);
    CHECK_EQUAL(run.seq.pending.size(), 4u);
}

TEST("segments that were advanced for an output of an older one leave the pipeline before another enters") {
    simulation run(small_config(true));
    run.push(8 * 2 + 1, {{3, 0}});
    run.run();
    CHECK_EQUAL(run.outputs.size(), 1u);
    CHECK_EQUAL(run.seq.n_in_flight(), 1u);
    run.push(8, {{8 * 3, 1}});
    run.run();
    CHECK_EQUAL(run.outputs.size(), 2u);
    CHECK_EQUAL(run.cells.size(), n_cells(4, 3));
}

TEST("the rest of a prompt joins the diagonals if it needs little padding, else it has a step of its own") {
    for (const uint32_t n_padding_max : {0u, 5u}) {
        armt_config config   = small_config(true);
        config.n_padding_max = n_padding_max;
        simulation run(config);
        run.push(8 * 3 + 5, {{8 * 3 + 4, 0}}); // 3 rows of padding, and 2 memory rows
        run.run();
        CHECK_EQUAL(run.n_steps, run.widths.size() + (n_padding_max == 0 ? 1 : 0));
        CHECK_EQUAL(run.widths.size(), size_t(n_padding_max == 0 ? 6 : 7));
        CHECK_EQUAL(run.seq.n_segments, 3u);
        CHECK_EQUAL(run.seq.n_open, 5u);
        CHECK_EQUAL(run.outputs.at(0).first, 3u);
        CHECK_EQUAL(run.outputs.at(0).second, 8 * 3 + 4);
    }
}

TEST("a segment after one of another length has a mask of its own, if attention goes back") {
    armt_config config = small_config(true);
    config.n_prev_max  = 8;
    simulation run(config);
    run.seq.plan = {3, 8, 3 + 8 * 3 + 1};
    run.push(3 + 8 * 3 + 1);
    armt_step step;
    size_t    n_masked = 0;
    while (run.seq.next_step(config, step, true)) {
        if (step.type == ARMT_STEP_DIAGONAL && step.oldest_has_own_mask) {
            n_masked++;
            CHECK(!step.whole);
            CHECK(step.n_prev[1] != step.n_text);
        }
        run.seq.finish_step(config, step);
    }
    // in the first segment of 8 tokens, through all layers; and of 3 tokens, which has nothing before it
    CHECK_EQUAL(n_masked, 2 * 4u);
}

TEST("both schedules compute the same cells and outputs, whatever the batches") {
    std::mt19937 random(7);
    const auto   up_to = [&](uint32_t n) { return uint32_t(random() % (n + 1)); };
    for (int i = 0; i < 400; ++i) {
        armt_config config   = small_config(false);
        config.n_layer       = 1 + up_to(5);
        config.n_segment     = 1 + up_to(8);
        config.n_segment_max = config.n_segment;
        config.n_rows_max    = 1 + up_to(8);
        config.n_sink        = up_to(1);
        config.n_padding_max = up_to(8);
        config.automatic     = up_to(1) == 1;

        armt_config diagonal = config;
        diagonal.diagonal    = true;
        simulation one(config);
        simulation other(diagonal);
        int32_t    n_outputs = 0;
        for (uint32_t n_batches = 1 + up_to(5); n_batches > 0; --n_batches) {
            const uint32_t              n = 1 + up_to(30);
            std::map<uint32_t, int32_t> outs;
            for (uint32_t j = 0; j < n; ++j) {
                if (up_to(4) == 0) {
                    outs[one.n_pushed + j] = n_outputs++;
                }
            }
            const bool close = up_to(5) == 0;
            for (simulation * run : {&one, &other}) {
                run->push(n, outs);
                run->run(close);
            }
        }
        for (simulation * run : {&one, &other}) {
            run->run(true);
            CHECK_EQUAL(run->outputs.size(), size_t(n_outputs));
            CHECK_EQUAL(run->seq.n_in_flight(), 0u);
            CHECK_EQUAL(run->cells.size(), n_cells(config.n_layer, run->closed.size()));
            CHECK_EQUAL(run->seq.n_segments, run->closed.size());
        }
        CHECK(one.cells == other.cells);
        CHECK(one.outputs == other.outputs);
        CHECK(one.closed == other.closed);
        CHECK_EQUAL(one.seq.stats.n_cells, other.seq.stats.n_cells);
    }
}

int main() {
    return run_tests();
}
