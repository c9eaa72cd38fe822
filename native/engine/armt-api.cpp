#include "armt-api.h"

#include "armt-devices.h"
#include "armt-error.h"
#include "armt-memory.h"
#include "armt-options.h"
#include "armt-registry.h"

#include "llama-context.h"
#include "llama-hparams.h"

#include <exception>
#include <stdexcept>

// Runs fn and turns an exception into false and a message.
template <typename F> static bool guard(uint64_t id, F fn) {
    try {
        fn();
        return true;
    } catch (const std::exception & error) {
        armt_set_error(id, error.what());
        return false;
    }
}

// Calls that compute may take long, so they do not lock the registry. The caller keeps the context alive
// (armt_api.get_context).
static llama_memory_armt & find_sequence(uint64_t id, int32_t seq_id) {
    llama_memory_armt * memory = armt_find(id);
    if (memory == nullptr) {
        throw std::runtime_error("the context is disposed");
    }
    if (!memory->has_sequence(seq_id)) {
        throw std::runtime_error("this context has no sequence " + std::to_string(seq_id));
    }
    return *memory;
}

static bool set_context_options(const armt_context_options * options) {
    armt_take_error(0);
    return guard(0, [&] { armt_set_options(options != nullptr ? *options : armt_context_options{}); });
}

static llama_context * get_context(uint64_t id) {
    llama_memory_armt * memory = armt_find(id);
    return memory != nullptr ? memory->get_context() : nullptr;
}

static bool context_info(uint64_t id, armt_context_info * info) {
    return armt_with(id, [&](llama_memory_armt & memory) { *info = memory.get_info(); });
}

static bool sequence_stats(uint64_t id, int32_t seq_id, armt_sequence_stats * stats) {
    bool found = false;
    armt_with(id, [&](llama_memory_armt & memory) {
        found = memory.has_sequence(seq_id);
        if (found) {
            *stats = memory.get_stats(seq_id);
        }
    });
    return found;
}

static bool plan_segments(uint64_t id, int32_t seq_id, uint64_t n_first, uint64_t n_each, uint64_t n_total) {
    return guard(id, [&] {
        llama_memory_armt & memory = find_sequence(id, seq_id);
        armt_sequence &     seq    = memory.sequence(seq_id);
        const uint32_t      size   = memory.get_config().n_segment;
        if (!seq.empty()) {
            throw std::runtime_error("segments can only be planned for an empty sequence; clear it first");
        }
        if (n_first < 1 || n_first > size || n_each < 1 || n_each > size) {
            throw std::runtime_error("planned segments have to be 1 to " + std::to_string(size) + " tokens long");
        }
        seq.plan = {n_first, n_each, n_total};
    });
}

static bool grow_segment(uint64_t id, int32_t seq_id, bool grows) {
    return guard(id, [&] {
        llama_memory_armt & memory = find_sequence(id, seq_id);
        if (!memory.get_config().grows_if_told) {
            throw std::runtime_error("the segments of this context do not grow; it needs segmentOverflow \"answer\"");
        }
        memory.sequence(seq_id).set_growth(memory.get_config(), grows);
    });
}

static bool load_rpc(const char * library) {
    return guard(0, [&] { armt_load_rpc(library); });
}

static bool serve_rpc(const char * endpoint, const char * cache, uint32_t n_threads) {
    return guard(0, [&] { armt_serve_rpc(endpoint, cache, n_threads); });
}

static bool forget_placement(const char * path) {
    return guard(0, [&] { armt_forget_placement(path); });
}

static bool set_placement(const armt_placement * placement) {
    return guard(0, [&] { armt_set_placement(*placement); });
}

static uint32_t get_devices(uint64_t id, armt_device_info * devices, uint32_t n) {
    llama_memory_armt * memory = armt_find(id);
    return memory == nullptr ? 0 : memory->get_devices(devices, n);
}

static bool check_devices(uint64_t id) {
    return guard(id, [&] { find_sequence(id, 0).check_devices(); });
}

static bool close_segment(uint64_t id, int32_t seq_id) {
    return guard(id, [&] { find_sequence(id, seq_id).get_context()->close_armt(seq_id); });
}

static bool read_memory(uint64_t id, int32_t seq_id, uint32_t il, float * a, size_t n_a, float * z, size_t n_z) {
    return guard(id, [&] {
        llama_memory_armt &     memory = find_sequence(id, seq_id);
        const armt_context_info info   = memory.get_info();
        if (il >= info.n_layer) {
            throw std::runtime_error("layer " + std::to_string(il) + " is out of range; the model has " +
                                     std::to_string(info.n_layer) + " layers");
        }
        const size_t n_keys = size_t(info.n_head) * info.d_key;
        if (n_a < n_keys * info.d_value || (z != nullptr && info.use_denom != 0 && n_z < n_keys)) {
            throw std::runtime_error("the buffers are too small for a layer's memory");
        }
        armt_drain(*memory.get_context(), seq_id);
        memory.read_memory(seq_id, il, a, z);
        memory.check_devices();
    });
}

static bool load_state(uint64_t id, int32_t seq_id, const uint8_t * data, size_t size, uint64_t n_tokens) {
    return guard(id, [&] {
        llama_memory_armt & memory = find_sequence(id, seq_id);
        armt_take_error(id);
        memory.expect_tokens(int64_t(n_tokens));
        const size_t n_read = llama_state_seq_set_data(memory.get_context(), data, size, seq_id);
        memory.expect_tokens(-1);
        if (n_read == 0) {
            const std::string reason = armt_take_error(id);
            throw std::runtime_error(reason.empty() ? "this is not a state of an ARMT model" : reason);
        }
    });
}

static bool set_trace(uint64_t id, bool enabled) {
    return armt_with(id, [&](llama_memory_armt & memory) { memory.trace.set(enabled); });
}

static size_t take_trace(uint64_t id, armt_trace_step * steps, size_t n) {
    size_t n_taken = 0;
    armt_with(id, [&](llama_memory_armt & memory) { n_taken = memory.trace.take(steps, n); });
    return n_taken;
}

static const char * last_error(uint64_t id) {
    static thread_local std::string message;
    message = armt_take_error(id);
    return message.c_str();
}

static const char * sequence_error(uint64_t id, int32_t seq_id) {
    static thread_local std::string message;
    message = seq_id < 0 ? "" : armt_take_sequence_error(id, seq_id);
    return message.c_str();
}

const armt_api * armt_get_api(void) {
    static const armt_api api = {
        // clang-format off
        /*.version             =*/ ARMT_API_VERSION,
        /*.size                =*/ sizeof(armt_api),
        /*.set_context_options =*/ set_context_options,
        /*.load_rpc            =*/ load_rpc,
        /*.serve_rpc           =*/ serve_rpc,
        /*.set_placement       =*/ set_placement,
        /*.forget_placement    =*/ forget_placement,
        /*.get_devices         =*/ get_devices,
        /*.check_devices       =*/ check_devices,
        /*.last_context_id     =*/ armt_last_registered,
        /*.get_context         =*/ get_context,
        /*.context_info        =*/ context_info,
        /*.sequence_stats      =*/ sequence_stats,
        /*.plan_segments       =*/ plan_segments,
        /*.grow_segment        =*/ grow_segment,
        /*.close_segment       =*/ close_segment,
        /*.read_memory         =*/ read_memory,
        /*.load_state          =*/ load_state,
        /*.set_trace           =*/ set_trace,
        /*.take_trace          =*/ take_trace,
        /*.last_error          =*/ last_error,
        /*.sequence_error      =*/ sequence_error,
        /*.max_layers          =*/ LLAMA_MAX_LAYERS,
        /*.max_experts         =*/ LLAMA_MAX_EXPERTS,
        // clang-format on
    };
    return &api;
}
