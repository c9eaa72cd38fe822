#pragma once

// The record of a context's graph evaluations. Nothing here touches ggml's graphs.

#include "armt-api.h"
#include "armt-step.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>

class armt_trace {
public:
    // Steps that are kept until somebody takes them
    static constexpr size_t n_max = 1u << 20;

    bool enabled() const { return on.load(std::memory_order_relaxed); }

    // Starts a new record, or stops
    void set(bool enabled);

    // Moves the oldest n steps out; n = 0: the number of steps that are there
    size_t take(armt_trace_step * steps, size_t n);

    // Around one step. Only where enabled.
    void begin();
    void mark_inputs(); // the graph is there
    void end(const armt_step & step, int64_t n_segments, bool reused, bool replayed);

private:
    std::atomic<bool>           on = false;
    std::mutex                  mutex;
    std::deque<armt_trace_step> steps;

    std::atomic<int64_t> t_origin_us = 0;
    int64_t t_begin_us  = 0; // of the thread that decodes alone
    int64_t t_inputs_us = 0;
};
