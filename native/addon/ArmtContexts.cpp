#include "ArmtContexts.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"

#include <atomic>

namespace {

// The thread (its environment) that creates a context now. The engine reads the options of a new context from one place
// in the process.
std::atomic<napi_env> creator{nullptr};

void release_creation(napi_env env) {
    creator.compare_exchange_strong(env, nullptr);
}

// beginCreation(): whether this thread may create a context now; if so, no other thread may until endCreation()
Napi::Value begin_creation(const Napi::CallbackInfo & info) {
    napi_env   free = nullptr;
    const bool ok   = creator.compare_exchange_strong(free, info.Env());
    return Napi::Boolean::New(info.Env(), ok);
}

// endCreation()
void end_creation(const Napi::CallbackInfo & info) {
    release_creation(info.Env());
}

// limits(): what llama.cpp takes at most; it ends the process for more
Napi::Value limits(const Napi::CallbackInfo & info) {
    const Napi::Env env = info.Env();
    return armt_call(env, [&] {
        const armt_api & api    = ArmtLibrary::get().api();
        Napi::Object     result = Napi::Object::New(env);
        result.Set("maxLayers", api.max_layers);
        result.Set("maxExperts", api.max_experts);
        return result;
    });
}

// setContextOptions({schedule, segmentOverflow, segmentSize, openSegmentLimit, maxCells, stateType, textsPerLayer,
// precision, fp8Products} | null): null restores the defaults
void set_context_options(const Napi::CallbackInfo & info) {
    armt_call(info.Env(), [&] {
        const ArmtLibrary &  library = ArmtLibrary::get();
        armt_context_options options{};
        const bool           reset = info[0].IsNull() || info[0].IsUndefined();
        if (!reset) {
            const Napi::Object object  = info[0].As<Napi::Object>();
            const auto         field   = [&](const char * key) { return armt_uint32(object.Get(key), key); };
            options.schedule           = static_cast<int32_t>(field("schedule"));
            options.segment_overflow   = static_cast<int32_t>(field("segmentOverflow"));
            options.segment_size       = field("segmentSize");
            options.open_segment_limit = field("openSegmentLimit");
            options.max_cells          = field("maxCells");
            options.state_type         = static_cast<int32_t>(field("stateType"));
            options.texts_per_layer    = object.Get("textsPerLayer").ToNumber().Int32Value();
            options.precision          = static_cast<int32_t>(field("precision"));
            options.fp8_products       = field("fp8Products");
        }
        if (!library.api().set_context_options(reset ? nullptr : &options)) {
            throw std::runtime_error(library.last_error(0));
        }
    });
}

// lastContextId(): 0 if there is no ARMT context
Napi::Value last_context_id(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] { return armt_number(info.Env(), ArmtLibrary::get().api().last_context_id()); });
}

// contextInfo(id): undefined if the context is gone
Napi::Value context_info(const Napi::CallbackInfo & info) {
    const Napi::Env env = info.Env();
    return armt_call(env, [&]() -> Napi::Value {
        armt_context_info context{};
        if (!ArmtLibrary::get().api().context_info(armt_id(info[0]), &context)) {
            return env.Undefined();
        }
        Napi::Object result = Napi::Object::New(env);
        result.Set("schedule", context.schedule);
        result.Set("segmentOverflow", context.segment_overflow);
        result.Set("segmentSize", context.segment_size);
        result.Set("openSegmentLimit", context.open_segment_limit);
        result.Set("maxCells", context.max_cells);
        result.Set("layers", context.n_layer);
        result.Set("memoryTokens", context.n_mem);
        result.Set("sequences", context.n_seq_max);
        result.Set("memoryHeads", context.n_head);
        result.Set("keyLength", context.d_key);
        result.Set("valueLength", context.d_value);
        result.Set("useDenom", context.use_denom != 0);
        result.Set("stateType", context.state_type);
        result.Set("textsPerLayer", context.texts_per_layer);
        result.Set("fp8Products", context.fp8_products);
        result.Set("memoryBytes", armt_number(env, context.memory_bytes));
        result.Set("totalBytes", armt_number(env, context.total_bytes));
        result.Set("graphs", armt_number(env, context.n_graphs));
        result.Set("graphsReused", armt_number(env, context.n_graphs_reused));
        result.Set("graphsReplayed", armt_number(env, context.n_graphs_replayed));
        result.Set("graphParts", armt_number(env, context.n_graph_parts));
        result.Set("fp8Computed", armt_number(env, context.n_fp8_computed));
        result.Set("fp8Left", armt_number(env, context.n_fp8_left));
        return result;
    });
}

// sequenceStats(id, sequenceId): undefined if the context is gone
Napi::Value sequence_stats(const Napi::CallbackInfo & info) {
    const Napi::Env env = info.Env();
    return armt_call(env, [&]() -> Napi::Value {
        armt_sequence_stats stats{};
        if (!ArmtLibrary::get().api().sequence_stats(armt_id(info[0]), armt_int32(info[1], "sequenceId"), &stats)) {
            return env.Undefined();
        }
        Napi::Object result = Napi::Object::New(env);
        result.Set("tokens", armt_number(env, stats.n_tokens));
        result.Set("segmentStart", armt_number(env, stats.segment_start));
        result.Set("openTokens", armt_number(env, stats.n_open));
        result.Set("pendingTokens", armt_number(env, stats.n_pending));
        result.Set("segmentsClosed", armt_number(env, stats.n_segments));
        result.Set("segmentsInFlight", armt_number(env, stats.n_in_flight));
        result.Set("graphs", armt_number(env, stats.n_graphs));
        result.Set("graphsReused", armt_number(env, stats.n_graphs_reused));
        result.Set("graphsReplayed", armt_number(env, stats.n_graphs_replayed));
        result.Set("cells", armt_number(env, stats.n_cells));
        return result;
    });
}

// planSegments(id, sequenceId, first, each, total)
void plan_segments(const Napi::CallbackInfo & info) {
    armt_call(info.Env(), [&] {
        const ArmtLibrary & library = ArmtLibrary::get();
        const uint64_t      id      = armt_id(info[0]);
        if (!library.api().plan_segments(id, armt_int32(info[1], "sequenceId"), armt_uint64(info[2], "first"),
                                         armt_uint64(info[3], "each"), armt_uint64(info[4], "total"))) {
            throw std::runtime_error(library.last_error(id));
        }
    });
}

// growSegment(id, sequenceId, grows)
void grow_segment(const Napi::CallbackInfo & info) {
    armt_call(info.Env(), [&] {
        const ArmtLibrary & library = ArmtLibrary::get();
        const uint64_t      id      = armt_id(info[0]);
        if (!library.api().grow_segment(id, armt_int32(info[1], "sequenceId"), info[2].ToBoolean().Value())) {
            throw std::runtime_error(library.last_error(id));
        }
    });
}

// lastError(id): the engine's message since the last call; empty if there is none
Napi::Value last_error(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        const char * message = ArmtLibrary::get().api().last_error(armt_id(info[0]));
        return Napi::String::New(info.Env(), message == nullptr ? "" : message);
    });
}

// sequenceError(id, sequenceId): why the last evaluation of a sequence failed, once; empty if it did not
Napi::Value sequence_error(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        const char * message =
            ArmtLibrary::get().api().sequence_error(armt_id(info[0]), armt_int32(info[1], "sequenceId"));
        return Napi::String::New(info.Env(), message == nullptr ? "" : message);
    });
}

} // namespace

void armt_register_contexts(Napi::Env env, Napi::Object exports) {
    exports.Set("setContextOptions", Napi::Function::New(env, set_context_options, "setContextOptions"));
    exports.Set("beginCreation", Napi::Function::New(env, begin_creation, "beginCreation"));
    exports.Set("endCreation", Napi::Function::New(env, end_creation, "endCreation"));
    // a thread may end while it creates a context
    env.AddCleanupHook([](napi_env own) { release_creation(own); }, napi_env(env));
    exports.Set("limits", Napi::Function::New(env, limits, "limits"));
    exports.Set("lastContextId", Napi::Function::New(env, last_context_id, "lastContextId"));
    exports.Set("contextInfo", Napi::Function::New(env, context_info, "contextInfo"));
    exports.Set("sequenceStats", Napi::Function::New(env, sequence_stats, "sequenceStats"));
    exports.Set("planSegments", Napi::Function::New(env, plan_segments, "planSegments"));
    exports.Set("growSegment", Napi::Function::New(env, grow_segment, "growSegment"));
    exports.Set("lastError", Napi::Function::New(env, last_error, "lastError"));
    exports.Set("sequenceError", Napi::Function::New(env, sequence_error, "sequenceError"));
}
