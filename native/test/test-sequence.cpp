// What a sequence holds, and what can be removed from it.

#include "simulation.h"

TEST("a new sequence is empty, and has nothing to do") {
    simulation run(small_config(false));
    armt_step  step;
    CHECK(run.seq.empty());
    CHECK_EQUAL(run.seq.pos_last(), -1);
    CHECK(!run.seq.next_step(run.config, step, false));
    CHECK(!run.seq.next_step(run.config, step, true));
    CHECK(!run.seq.next_flight_step(run.config, step));
}

TEST("positions begin at the first token's") {
    armt_sequence seq;
    seq.push(1, 100, -1);
    seq.push(2, 101, -1);
    CHECK_EQUAL(seq.pos_first, 100);
    CHECK_EQUAL(seq.pos_open, 100);
    CHECK_EQUAL(seq.pos_last(), 101);
}

TEST("tokens wait until their segment is full or an output is requested") {
    simulation run(small_config(false));
    run.push(8);
    run.run();
    CHECK_EQUAL(run.n_steps, 0u); // full, but it may still be read for its logits
    run.push(1);
    run.run();
    CHECK_EQUAL(run.n_steps, 1u);
    CHECK_EQUAL(run.seq.pos_open, 8);
    run.push(1, {{9, 0}});
    run.run();
    CHECK_EQUAL(run.n_steps, 2u);
    CHECK_EQUAL(run.seq.n_open, 2u);
    CHECK(run.seq.pending.empty());
}

TEST("a close computes everything, and does nothing to an empty segment") {
    simulation run(small_config(false));
    run.push(3);
    run.run(true);
    CHECK_EQUAL(run.closed.size(), 1u);
    CHECK_EQUAL(run.closed[0], 3u);
    run.run(true);
    CHECK_EQUAL(run.n_steps, 1u);
}

TEST("a segment that exceeds a step's rows takes several steps") {
    armt_config config = small_config(false);
    config.n_rows_max  = 3;
    simulation run(config);
    run.push(9);
    run.run();
    CHECK_EQUAL(run.n_steps, 3u); // 3 + 3 + 2 rows, and the memory rows with the last ones
    CHECK_EQUAL(run.closed.at(0), 8u);
}

TEST("tokens of the open segment can be removed, earlier ones cannot") {
    simulation run(small_config(false));
    run.push(8 + 5, {{10, 0}});
    run.run();
    CHECK(!run.seq.truncate(7));
    CHECK_EQUAL(run.seq.pos_last(), 12);
    CHECK(run.seq.truncate(20));
    CHECK_EQUAL(run.seq.pos_last(), 12);
    CHECK(run.seq.truncate(10));
    CHECK_EQUAL(run.seq.pos_last(), 9);
    CHECK_EQUAL(run.seq.first_output, UINT32_MAX);
    CHECK(run.seq.truncate(8));
    CHECK_EQUAL(run.seq.n_open, 0u);
    CHECK_EQUAL(run.seq.n_segments, 1u);
}

TEST("the closed part has no open segment, and the sequence keeps its own") {
    simulation run(small_config(false));
    run.push(8 + 5, {{12, 0}});
    run.run();
    const armt_sequence part = run.seq.closed_part();
    CHECK_EQUAL(part.n_open, 0u);
    CHECK_EQUAL(part.n_segments, 1u);
    CHECK_EQUAL(part.pos_last(), 7);
    CHECK_EQUAL(run.seq.n_open, 5u);
}

TEST("dropped outputs are not computed") {
    simulation run(small_config(true));
    run.push(8 + 5, {{2, 0}, {12, 1}});
    run.seq.forget_outputs();
    run.run();
    CHECK(run.outputs.empty());
    CHECK_EQUAL(run.seq.pending.size(), 5u);
}

TEST("a plan sets the segments' sizes until its tokens have arrived") {
    for (const bool diagonal : {false, true}) {
        simulation run(small_config(diagonal));
        run.seq.plan = {2, 6, 2 + 6 * 2};
        run.push(2 + 6 * 2 + 2 + 8 + 1);
        run.run(true);
        const std::vector<uint32_t> sizes = {2, 6, 8, 8, 1}; // the last planned segment is filled up
        CHECK(run.closed == sizes);
    }
}

TEST("a cleared sequence has no plan, and its memory has to be zeroed") {
    armt_sequence seq;
    seq.plan = {1, 2, 3};
    seq.push(1, 0, -1);
    seq.clear();
    CHECK(seq.empty());
    CHECK(seq.stale);
    CHECK_EQUAL(seq.plan.n_total, 0u);
}

TEST("an open segment extends from its first output on, up to its limit") {
    armt_config config   = small_config(false);
    config.extend        = true;
    config.n_segment_max = 12;
    simulation run(config);
    CHECK_EQUAL(run.seq.capacity(config), 8u);
    run.push(5, {{4, 0}});
    run.run();
    CHECK_EQUAL(run.seq.capacity(config), 12u);

    CHECK(run.seq.fits(config, std::vector<bool>(7, true)));
    CHECK(!run.seq.fits(config, std::vector<bool>(8, true)));
    run.push(7, {{11, 1}});
    run.run();
    CHECK_EQUAL(run.seq.n_open, 12u);
    CHECK_EQUAL(run.seq.n_segments, 0u);
}

TEST("a segment that grows if told closes when full, unless it was told to") {
    armt_config config   = small_config(false);
    config.extend        = true;
    config.grows_if_told = true;
    config.n_segment_max = 12;
    simulation run(config);
    run.push(9, {{4, 0}, {8, 1}});
    run.run();
    CHECK_EQUAL(run.seq.n_segments, 1u);
    CHECK(run.seq.fits(config, std::vector<bool>(100, true)));

    run.push(7, {{15, 2}});
    run.run();
    CHECK_EQUAL(run.seq.n_open, 8u);
    run.seq.set_growth(config, true);
    CHECK_EQUAL(run.seq.capacity(config), 12u);
    run.push(4, {{19, 3}});
    run.run();
    CHECK_EQUAL(run.seq.n_open, 12u);
    CHECK_EQUAL(run.seq.n_segments, 1u);
    CHECK(!run.seq.fits(config, {true}));

    // a segment that has grown stays so
    run.seq.set_growth(config, false);
    CHECK_EQUAL(run.seq.capacity(config), 12u);

    // what it had when it was told to grow stays, and then not
    CHECK(run.seq.truncate(17));
    CHECK_EQUAL(run.seq.capacity(config), 12u);
    CHECK(run.seq.truncate(15));
    CHECK_EQUAL(run.seq.capacity(config), 8u);

    // a full segment whose next token never came
    run.push(1, {{15, 4}});
    run.run();
    run.seq.set_growth(config, true);
    run.seq.set_growth(config, false);
    CHECK_EQUAL(run.seq.capacity(config), 8u);
}

TEST("tokens without outputs always fit, since their segments close") {
    armt_config config   = small_config(false);
    config.extend        = true;
    config.n_segment_max = 12;
    armt_sequence seq;
    CHECK(seq.fits(config, std::vector<bool>(100, false)));
    std::vector<bool> outputs(100, false);
    outputs[96] = true; // the first of its segment
    CHECK(seq.fits(config, outputs));
    outputs[80] = true;
    CHECK(!seq.fits(config, outputs));
}

TEST("positions that run on count the memory rows of closed segments") {
    armt_config config = small_config(false); // segments of 8 + 2 rows
    config.n_position  = 25;
    armt_sequence seq;
    CHECK(seq.fits(config, std::vector<bool>(8 + 8 + 5, false)));
    CHECK(!seq.fits(config, std::vector<bool>(8 + 8 + 6, false)));
    CHECK(seq.fits(config, std::vector<bool>(8 + 8 + 3, false), true));
    CHECK(!seq.fits(config, std::vector<bool>(8 + 8 + 4, false), true));
}

TEST("attention sees a multiple of rows, at most those of the cache") {
    armt_config config   = small_config(false);
    config.n_kv_multiple = 32;
    config.n_kv_max      = 100;
    CHECK_EQUAL(config.n_kv(1), 32u);
    CHECK_EQUAL(config.n_kv(33), 64u);
    CHECK_EQUAL(config.n_kv(99), 100u);
    config.n_prev_max = 32;
    CHECK_EQUAL(config.n_kv(1), 64u);
}

int main() {
    return run_tests();
}
