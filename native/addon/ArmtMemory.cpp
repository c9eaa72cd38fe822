#include "ArmtMemory.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"
#include "ArmtWorker.h"

#include <vector>

namespace {

class CloseSegmentWorker : public ArmtWorker {
public:
    CloseSegmentWorker(Napi::Env env, uint64_t id, int32_t seq_id)
        : ArmtWorker(env, "armtCloseSegment"), id(id), seq_id(seq_id) {}

protected:
    void work() override {
        const ArmtLibrary & library = ArmtLibrary::get();
        if (!library.api().close_segment(id, seq_id)) {
            throw std::runtime_error(library.last_error(id));
        }
    }

    Napi::Value result(Napi::Env env) override { return env.Undefined(); }

private:
    uint64_t id;
    int32_t  seq_id;
};

class ReadMemoryWorker : public ArmtWorker {
public:
    ReadMemoryWorker(Napi::Env env, uint64_t id, int32_t seq_id, uint32_t il)
        : ArmtWorker(env, "armtReadMemory"), id(id), seq_id(seq_id), il(il) {}

protected:
    void work() override {
        const ArmtLibrary & library = ArmtLibrary::get();
        armt_context_info   info{};
        if (!library.api().context_info(id, &info)) {
            throw std::runtime_error("the context is disposed");
        }
        const size_t n_z = size_t(info.n_head) * info.d_key;
        a.resize(n_z * info.d_value);
        z.resize(info.use_denom != 0 ? n_z : 0);
        if (!library.api().read_memory(id, seq_id, il, a.data(), a.size(), z.empty() ? nullptr : z.data(), z.size())) {
            throw std::runtime_error(library.last_error(id));
        }
    }

    Napi::Value result(Napi::Env env) override {
        Napi::Object memory = Napi::Object::New(env);
        memory.Set("a", to_array(env, a));
        memory.Set("z", z.empty() ? env.Undefined() : Napi::Value(to_array(env, z)));
        return memory;
    }

private:
    uint64_t           id;
    int32_t            seq_id;
    uint32_t           il;
    std::vector<float> a; // [h][d_key][d_value]
    std::vector<float> z; // [h][d_key]

    static Napi::Float32Array to_array(Napi::Env env, const std::vector<float> & values) {
        Napi::Float32Array array = Napi::Float32Array::New(env, values.size());
        std::copy(values.begin(), values.end(), array.Data());
        return array;
    }
};

// closeSegment(id, sequenceId): Promise<void>
Napi::Value close_segment(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        return ArmtWorker::start(
            new CloseSegmentWorker(info.Env(), armt_id(info[0]), armt_int32(info[1], "sequenceId")));
    });
}

// readMemory(id, sequenceId, layer): Promise<{a: Float32Array, z?: Float32Array}>
Napi::Value read_memory(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        return ArmtWorker::start(new ReadMemoryWorker(info.Env(), armt_id(info[0]), armt_int32(info[1], "sequenceId"),
                                                      armt_uint32(info[2], "layer")));
    });
}

} // namespace

void armt_register_memory(Napi::Env env, Napi::Object exports) {
    exports.Set("closeSegment", Napi::Function::New(env, close_segment, "closeSegment"));
    exports.Set("readMemory", Napi::Function::New(env, read_memory, "readMemory"));
}
