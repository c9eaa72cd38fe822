// What other threads may do while a context computes: ask for its sizes (`stateSize`), statistics (progress), errors
// and trace, cancel, and create and free contexts of their own. ThreadSanitizer watches.
//
// Arguments: file of a model, number of rounds.

#include "armt-api.h"
#include "harness.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

static const armt_api * api   = nullptr;
static llama_model *    model = nullptr;

static std::atomic<bool> done = false; // the other threads end

// A computation ends early if both are set: llama_decode is cancelled, but not a save, which may not fail.
static std::atomic<bool> cancel   = false;
static std::atomic<bool> decoding = false;

static std::atomic<uint32_t> n_cancelled = 0;

struct armt_test_context {
    llama_context * context;
    uint64_t        id;
};

// The options and the last id are the process's. The addon lets one thread create a context at a time, as here.
static armt_test_context create(int32_t schedule) {
    static std::mutex                 creation;
    const std::lock_guard<std::mutex> lock(creation);

    armt_context_options options = {};
    options.schedule             = schedule;
    if (!api->set_context_options(&options)) {
        fuzz_fail(api->last_error(0));
    }
    llama_context * context = fuzz_create_context(model, 2);
    if (context == nullptr) {
        fuzz_fail("a context cannot be created");
    }
    const uint64_t    id   = api->last_context_id();
    armt_context_info info = {};
    if (api->get_context(id) != context || !api->context_info(id, &info) || info.schedule != schedule) {
        fuzz_fail("a context has another one's id or options");
    }
    return {context, id};
}

static void decode(const armt_test_context & test, uint32_t n_tokens, uint32_t seed) {
    decoding         = true;
    const int result = fuzz_decode(test.context, 0, fuzz_tokens(model, n_tokens, seed));
    decoding         = false;
    if (result == 2) {
        n_cancelled++;
    } else if (result != 0) {
        fuzz_fail("llama_decode returned " + std::to_string(result) + ": " + api->last_error(test.id));
    }
    cancel = false;
}

// Reads, copies, saves, loads and removes, as a program does with its own context
static void work(const armt_test_context & test, uint32_t round) {
    llama_memory_t memory = llama_get_memory(test.context);
    llama_memory_clear(memory, true);
    api->plan_segments(test.id, 0, 1 + round % 3, 3, 20);
    for (uint32_t i = 0; i < 4; ++i) {
        decode(test, 7 + (round + i) % 9, i);
    }
    llama_memory_seq_cp(memory, 0, 1, -1, -1);
    const std::vector<uint8_t> state = fuzz_save(test.context, 0);
    if (llama_state_seq_set_data(test.context, state.data(), state.size(), 1) != state.size()) {
        fuzz_fail("a state cannot be loaded");
    }
    if (!api->close_segment(test.id, 0)) {
        fuzz_fail(api->last_error(test.id));
    }
    llama_memory_seq_rm(memory, 1, -1, -1);
}

static void watch(uint64_t id) {
    for (uint32_t i = 0; !done; ++i) {
        armt_context_info   info  = {};
        armt_sequence_stats stats = {};
        armt_trace_step     steps[8];
        api->context_info(id, &info);
        api->sequence_stats(id, int32_t(i % 3), &stats);
        api->last_error(id);
        api->sequence_error(id, int32_t(i % 2));
        api->last_context_id();
        api->take_trace(id, steps, 8);
        if (i % 64 == 0) {
            api->set_trace(id, i % 128 == 0);
        }
        if (i % 32 == 31 && decoding) {
            cancel = true;
        }
        std::this_thread::yield();
    }
}

static void create_and_free() {
    for (uint32_t i = 0; !done; ++i) {
        const armt_test_context test = create(i % 2 == 0 ? ARMT_SCHEDULE_SEQUENTIAL : ARMT_SCHEDULE_DIAGONAL);
        if (fuzz_decode(test.context, 0, fuzz_tokens(model, 12, i)) != 0) {
            fuzz_fail(api->last_error(test.id));
        }
        llama_free(test.context);
        armt_context_info info = {};
        if (api->context_info(test.id, &info)) {
            fuzz_fail("a freed context is still known");
        }
    }
}

int main(int argc, char ** argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL ROUNDS\n", argv[0]);
        return 2;
    }
    fuzz_begin();
    api   = armt_get_api();
    model = fuzz_load_model(argv[1], false);
    if (model == nullptr) {
        fuzz_fail("the model cannot be loaded");
    }
    const uint32_t n_rounds = uint32_t(atoi(argv[2]));
    for (const int32_t schedule : {ARMT_SCHEDULE_SEQUENTIAL, ARMT_SCHEDULE_DIAGONAL}) {
        const armt_test_context test = create(schedule);
        llama_set_abort_callback(
            test.context, [](void *) { return cancel && decoding; }, nullptr);
        done                  = false;
        std::thread threads[] = {std::thread(watch, test.id), std::thread(watch, test.id),
                                 std::thread(create_and_free)};
        for (uint32_t i = 0; i < n_rounds; ++i) {
            work(test, i);
        }
        llama_free(test.context); // while others still ask for it
        done = true;
        for (std::thread & thread : threads) {
            thread.join();
        }
    }
    llama_model_free(model);
    printf("%u rounds of each schedule, %u evaluations cancelled\n", n_rounds, n_cancelled.load());
    return 0;
}
