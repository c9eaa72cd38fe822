// Steps of neighbouring sequences that become one.

#include "armt-step.h"
#include "test.h"

static armt_step open_step(llama_seq_id seq_id, uint32_t n_past) {
    armt_step step;
    step.type     = ARMT_STEP_OPEN;
    step.seq_id   = seq_id;
    step.n_text   = 2;
    step.n_kv     = 32 * (1 + n_past / 32);
    step.whole    = true;
    step.tokens   = {10 * seq_id, 10 * seq_id + 1};
    step.n_past   = {n_past};
    step.n_prev   = {5 + uint32_t(seq_id)};
    step.n_before = {5 + uint32_t(seq_id)};
    step.out_rows = {1};
    step.outs     = {seq_id};
    return step;
}

TEST("a shared step holds the rows of both, with the larger view of the cache") {
    armt_step step = open_step(0, 3);
    CHECK(step.can_share(open_step(1, 40)));
    step.share(open_step(1, 40));
    CHECK_EQUAL(step.n_seqs, 2u);
    CHECK_EQUAL(step.n_kv, 64u);
    CHECK(!step.whole);
    CHECK((step.tokens == std::vector<llama_token>{0, 1, 10, 11}));
    CHECK((step.n_past == std::vector<uint32_t>{3, 40}));
    CHECK((step.n_prev == std::vector<uint32_t>{5, 6}));
    CHECK((step.out_rows == std::vector<uint32_t>{1, 3}));
    CHECK((step.outs == std::vector<int32_t>{0, 1}));
}

TEST("the part of a sequence has its tokens and counts, and no outputs") {
    armt_step step = open_step(0, 3);
    step.share(open_step(1, 40));
    step.share(open_step(2, 7));
    const armt_step own = step.of_sequence(2);
    CHECK_EQUAL(own.seq_id, 2);
    CHECK_EQUAL(own.n_seqs, 1u);
    CHECK((own.tokens == std::vector<llama_token>{20, 21}));
    CHECK((own.n_past == std::vector<uint32_t>{7}));
    CHECK((own.n_prev == std::vector<uint32_t>{7}));
    CHECK(own.outs.empty());
}

TEST("steps with other rows, and diagonals, are not shared") {
    const armt_step step = open_step(0, 3);
    armt_step       other;
    other = open_step(1, 3), other.n_text = 1;
    CHECK(!step.can_share(other));
    other = open_step(1, 3), other.n_mem = 2;
    CHECK(!step.can_share(other));
    other = open_step(1, 3), other.n_sink = 1;
    CHECK(!step.can_share(other));
    other = open_step(1, 3), other.first = true;
    CHECK(!step.can_share(other));
    other = open_step(1, 3), other.type = ARMT_STEP_DIAGONAL;
    CHECK(!step.can_share(other));
}

TEST("a graph is reused for other data, not for another topology") {
    const armt_step step = open_step(0, 3);
    armt_step       other;
    other = open_step(0, 4), other.tokens = {7, 8}, other.outs = {5};
    CHECK(step.same_topology(other));

    const auto differs = [&](auto change) {
        armt_step changed = open_step(0, 3);
        change(changed);
        return !step.same_topology(changed);
    };
    CHECK(differs([](armt_step & s) { s.type = ARMT_STEP_DIAGONAL; }));
    CHECK(differs([](armt_step & s) { s.seq_id = 1; }));
    CHECK(differs([](armt_step & s) { s.n_seqs = 2; }));
    CHECK(differs([](armt_step & s) { s.n_sink = 1; }));
    CHECK(differs([](armt_step & s) { s.n_text = 1; }));
    CHECK(differs([](armt_step & s) { s.n_mem = 1; }));
    CHECK(differs([](armt_step & s) { s.first = true; }));
    CHECK(differs([](armt_step & s) { s.n_kv = 64; }));
    CHECK(differs([](armt_step & s) { s.whole = false; }));
    CHECK(differs([](armt_step & s) { s.layer0 = 1; }));
    CHECK(differs([](armt_step & s) { s.layer1 = 1; }));
    CHECK(differs([](armt_step & s) { s.inject = true; }));
    CHECK(differs([](armt_step & s) { s.open_cell = true; }));
    CHECK(differs([](armt_step & s) { s.oldest_has_own_mask = true; }));
    CHECK(differs([](armt_step & s) { s.out_rows = {}; }));
}

int main() {
    return run_tests();
}
