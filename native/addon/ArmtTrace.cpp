#include "ArmtTrace.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"

#include <vector>

namespace {

// setTrace(id, enabled)
void set_trace(const Napi::CallbackInfo & info) {
    armt_call(info.Env(), [&] {
        if (!ArmtLibrary::get().api().set_trace(armt_id(info[0]), info[1].ToBoolean().Value())) {
            throw std::runtime_error("the context is disposed");
        }
    });
}

// takeTrace(id): an array of the recorded steps, which are removed
Napi::Value take_trace(const Napi::CallbackInfo & info) {
    const Napi::Env env = info.Env();
    return armt_call(env, [&]() -> Napi::Value {
        const armt_api &             api = ArmtLibrary::get().api();
        const uint64_t               id  = armt_id(info[0]);
        std::vector<armt_trace_step> steps(api.take_trace(id, nullptr, 0));
        if (!steps.empty()) {
            steps.resize(api.take_trace(id, steps.data(), steps.size()));
        }
        Napi::Array result = Napi::Array::New(env, steps.size());
        for (size_t i = 0; i < steps.size(); ++i) {
            const Napi::HandleScope scope(env);
            const armt_trace_step & step   = steps[i];
            Napi::Object            object = Napi::Object::New(env);
            object.Set("type", step.type == ARMT_TRACE_DIAGONAL ? "diagonal" : "open");
            object.Set("startMs", step.start_us / 1e3);
            object.Set("buildMs", step.build_us / 1e3);
            object.Set("timeMs", step.time_us / 1e3);
            object.Set("sequence", step.seq_id);
            object.Set("sequences", step.n_seqs);
            object.Set("segment", armt_number(env, step.segment));
            object.Set("firstLayer", step.layer0);
            object.Set("endLayer", step.layer1);
            object.Set("textRows", step.n_text);
            object.Set("memoryRows", step.n_mem);
            object.Set("outputs", step.n_outputs);
            object.Set("reused", step.reused != 0);
            object.Set("replayed", step.replayed != 0);
            result.Set(uint32_t(i), object);
        }
        return result;
    });
}

} // namespace

void armt_register_trace(Napi::Env env, Napi::Object exports) {
    exports.Set("setTrace", Napi::Function::New(env, set_trace, "setTrace"));
    exports.Set("takeTrace", Napi::Function::New(env, take_trace, "takeTrace"));
}
