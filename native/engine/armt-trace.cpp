#include "armt-trace.h"

#include "ggml.h"

#include <algorithm>

void armt_trace::set(bool enabled) {
    const std::lock_guard<std::mutex> lock(mutex);
    steps.clear();
    t_origin_us = ggml_time_us();
    on          = enabled;
}

size_t armt_trace::take(armt_trace_step * out, size_t n) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (n == 0) {
        return steps.size();
    }
    n = std::min(n, steps.size());
    std::copy_n(steps.begin(), n, out);
    steps.erase(steps.begin(), steps.begin() + n);
    return n;
}

void armt_trace::begin() {
    t_begin_us = t_inputs_us = ggml_time_us();
}

void armt_trace::mark_inputs() {
    t_inputs_us = ggml_time_us();
}

void armt_trace::end(const armt_step & step, int64_t n_segments, bool reused, bool replayed) {
    const int64_t t_end_us = ggml_time_us();
    const bool    diagonal = step.type == ARMT_STEP_DIAGONAL;

    armt_trace_step record = {};
    record.start_us        = uint64_t(std::max<int64_t>(0, t_begin_us - t_origin_us));
    record.build_us        = uint64_t(t_inputs_us - t_begin_us);
    record.time_us         = uint64_t(t_end_us - t_begin_us);
    // n_segments counts neither the segment that enters nor the open one
    record.segment   = diagonal && !step.inject && !step.open_cell ? n_segments - 1 : n_segments;
    record.type      = diagonal ? ARMT_TRACE_DIAGONAL : ARMT_TRACE_OPEN;
    record.seq_id    = step.seq_id;
    record.n_seqs    = step.n_seqs;
    record.n_text    = step.n_text;
    record.n_mem     = step.n_mem;
    record.layer0    = step.layer0;
    record.layer1    = step.layer1;
    record.n_outputs = uint32_t(step.outs.size());
    record.reused    = reused ? 1 : 0;
    record.replayed  = replayed ? 1 : 0;

    const std::lock_guard<std::mutex> lock(mutex);
    if (on && steps.size() < n_max) {
        steps.push_back(record);
    }
}

void armt_trace::end_shared(const armt_config & config, const armt_step & step, llama_seq_id seq_id,
                            const armt_sequence & seq, bool reused, bool replayed) {
    armt_step own = step.of_sequence(seq_id);

    const std::vector<uint32_t> layers   = step.layers_of(seq_id, config.n_layer);
    const bool                  takes    = own.inject;
    const uint64_t              youngest = seq.n_segments + (takes ? 1 : 0); // the segment after it
    for (size_t i = 0, last = 0; i < layers.size(); i = last + 1) {
        for (last = i; last + 1 < layers.size() && layers[last + 1] == layers[last] + 1;) {
            ++last;
        }
        own.layer0 = layers[i];
        own.layer1 = layers[last] + 1;
        own.inject = takes && i == 0;
        own.outs.clear();
        if (own.layer1 == config.n_layer) {
            own.outs.resize(seq.flight().empty() ? seq.pending_outputs(own.n_text).size()
                                                 : seq.flight().front().outputs.size());
        }
        end(own, int64_t(youngest - i) - (own.inject ? 1 : 0), reused, replayed);
    }
}
