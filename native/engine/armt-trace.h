#pragma once

// The record of a context's graph evaluations

#include "armt-api.h"
#include "armt-sequence.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>

class armt_trace {
public:
    // The most steps that are kept until they are taken
    static constexpr size_t n_max = 1u << 20;

    bool enabled() const { return on.load(std::memory_order_relaxed); }

    // Starts a new record, or stops recording
    void set(bool enabled);

    // Moves the oldest n steps to the array and returns their number. n = 0: returns the number of recorded steps
    size_t take(armt_trace_step * steps, size_t n);

    // Around one step. Call them only if enabled.
    void begin();
    void mark_inputs(); // the graph is built
    void end(const armt_step & step, int64_t n_segments, bool reused, bool replayed);
    // The same for a sequence of a shared diagonal, before it has finished the step
    void end_shared(const armt_config & config, const armt_step & step, llama_seq_id seq_id, const armt_sequence & seq,
                    bool reused, bool replayed);

private:
    std::atomic<bool>           on = false;
    std::mutex                  mutex;
    std::deque<armt_trace_step> steps;

    std::atomic<int64_t> t_origin_us = 0;
    int64_t              t_begin_us  = 0; // used by the decoding thread only
    int64_t              t_inputs_us = 0;
};
