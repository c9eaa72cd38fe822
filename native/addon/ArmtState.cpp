#include "ArmtState.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"
#include "ArmtWorker.h"

#include <memory>
#include <vector>

namespace {

class SaveStateWorker : public ArmtWorker {
public:
    SaveStateWorker(Napi::Env env, uint64_t id, int32_t seq_id, bool closed_only)
        : ArmtWorker(env, "armtSaveState"), id(id), seq_id(seq_id), flags(closed_only ? ARMT_STATE_CLOSED_ONLY : 0) {}

protected:
    void work() override {
        const ArmtLibrary & library = ArmtLibrary::get();
        llama_context *     context = library.context(id);
        // finding the size completes the segments in flight, as saving does
        const size_t size = library.llama().state_seq_get_size(context, seq_id, flags);
        state             = std::make_unique<std::vector<uint8_t>>(size);
        if (size == 0 || library.llama().state_seq_get_data(context, state->data(), size, seq_id, flags) != size) {
            throw std::runtime_error(library.last_error(id));
        }
        if (!library.api().check_devices(id)) {
            throw std::runtime_error(library.last_error(id));
        }
    }

    Napi::Value result(Napi::Env env) override {
        std::vector<uint8_t> * owned = state.release();
        return Napi::Buffer<uint8_t>::NewOrCopy(
            env, owned->data(), owned->size(), [](Napi::Env, uint8_t *, std::vector<uint8_t> * hint) { delete hint; },
            owned);
    }

private:
    uint64_t                              id;
    int32_t                               seq_id;
    uint32_t                              flags;
    std::unique_ptr<std::vector<uint8_t>> state;
};

class CheckStateWorker : public ArmtWorker {
public:
    CheckStateWorker(Napi::Env env, uint64_t id, int32_t seq_id)
        : ArmtWorker(env, "armtCheckState"), id(id), seq_id(seq_id) {}

protected:
    void work() override {
        const ArmtLibrary & library = ArmtLibrary::get();
        if (library.llama().state_seq_get_size(library.context(id), seq_id, 0) == 0) {
            throw std::runtime_error(library.last_error(id));
        }
    }

    Napi::Value result(Napi::Env env) override { return env.Undefined(); }

private:
    uint64_t id;
    int32_t  seq_id;
};

class LoadStateWorker : public ArmtWorker {
public:
    LoadStateWorker(Napi::Env env, uint64_t id, int32_t seq_id, const Napi::Buffer<uint8_t> & buffer, uint64_t n_tokens)
        : ArmtWorker(env, "armtLoadState"), id(id), seq_id(seq_id), state(buffer.Data()), size(buffer.Length()),
          n_tokens(n_tokens), reference(Napi::Persistent(buffer)) {}

protected:
    void work() override {
        const ArmtLibrary & library = ArmtLibrary::get();
        if (!library.api().load_state(id, seq_id, state, size, n_tokens)) {
            throw std::runtime_error(library.last_error(id));
        }
    }

    Napi::Value result(Napi::Env env) override { return env.Undefined(); }

private:
    uint64_t                               id;
    int32_t                                seq_id;
    const uint8_t *                        state;
    size_t                                 size;
    uint64_t                               n_tokens;
    Napi::Reference<Napi::Buffer<uint8_t>> reference; // keeps the bytes alive
};

class CopySequenceWorker : public ArmtWorker {
public:
    CopySequenceWorker(Napi::Env env, uint64_t id, int32_t from, int32_t to)
        : ArmtWorker(env, "armtCopySequence"), id(id), from(from), to(to) {}

protected:
    void work() override {
        const ArmtLibrary & library = ArmtLibrary::get();
        library.api().last_error(id); // of an earlier call
        library.llama().memory_seq_cp(library.llama().get_memory(library.context(id)), from, to, -1, -1);
        const char * failure = library.api().last_error(id);
        if (failure != nullptr && *failure != '\0') {
            throw std::runtime_error(failure);
        }
    }

    Napi::Value result(Napi::Env env) override { return env.Undefined(); }

private:
    uint64_t id;
    int32_t  from;
    int32_t  to;
};

// saveState(id, sequenceId, closedOnly): Promise<Buffer>
Napi::Value save_state(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        return ArmtWorker::start(new SaveStateWorker(info.Env(), armt_id(info[0]), armt_int32(info[1], "sequenceId"),
                                                     info[2].ToBoolean().Value()));
    });
}

// checkState(id, sequenceId): Promise<void>; rejects if a state of the sequence cannot be saved
Napi::Value check_state(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        return ArmtWorker::start(new CheckStateWorker(info.Env(), armt_id(info[0]), armt_int32(info[1], "sequenceId")));
    });
}

// loadState(id, sequenceId, state: Buffer, tokens): Promise<void>; the buffer must not change until it is settled
Napi::Value load_state(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        if (!info[2].IsBuffer()) {
            throw std::runtime_error("`state` has to be a Buffer");
        }
        return ArmtWorker::start(new LoadStateWorker(info.Env(), armt_id(info[0]), armt_int32(info[1], "sequenceId"),
                                                     info[2].As<Napi::Buffer<uint8_t>>(), armt_id(info[3])));
    });
}

// copySequence(id, from, to): Promise<void>
Napi::Value copy_sequence(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        return ArmtWorker::start(new CopySequenceWorker(info.Env(), armt_id(info[0]), armt_int32(info[1], "from"),
                                                        armt_int32(info[2], "to")));
    });
}

} // namespace

void armt_register_state(Napi::Env env, Napi::Object exports) {
    exports.Set("saveState", Napi::Function::New(env, save_state, "saveState"));
    exports.Set("checkState", Napi::Function::New(env, check_state, "checkState"));
    exports.Set("loadState", Napi::Function::New(env, load_state, "loadState"));
    exports.Set("copySequence", Napi::Function::New(env, copy_sequence, "copySequence"));
}
