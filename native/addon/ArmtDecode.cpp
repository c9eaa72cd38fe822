#include "ArmtDecode.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"
#include "ArmtWorker.h"

#include <algorithm>
#include <vector>

namespace {

// Owns a llama_batch
class Batch {
public:
    Batch(const ArmtLibrary::Llama & llama, int32_t n_tokens) : llama(llama), batch(llama.batch_init(n_tokens, 0, 1)) {}
    ~Batch() { llama.batch_free(batch); }
    Batch(const Batch &)             = delete;
    Batch & operator=(const Batch &) = delete;

    void add(llama_token token, llama_pos pos, llama_seq_id seq_id, bool logits) {
        const int32_t i    = batch.n_tokens++;
        batch.token[i]     = token;
        batch.pos[i]       = pos;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = seq_id;
        batch.logits[i]    = logits ? 1 : 0;
    }

    const llama_batch & get() const { return batch; }

private:
    const ArmtLibrary::Llama & llama;
    llama_batch                batch;
};

class DecodeWorker : public ArmtWorker {
public:
    DecodeWorker(Napi::Env env, uint64_t id, int32_t seq_id, std::vector<llama_token> tokens, llama_pos start,
                 bool all_logits)
        : ArmtWorker(env, "armtDecode"), id(id), seq_id(seq_id), tokens(std::move(tokens)), start(start),
          all_logits(all_logits) {}

protected:
    void work() override {
        const ArmtLibrary &        library = ArmtLibrary::get();
        const ArmtLibrary::Llama & llama   = library.llama();
        llama_context *            context = library.api().get_context(id);
        if (context == nullptr) {
            throw std::runtime_error("the context is disposed");
        }
        const int32_t n_tokens = static_cast<int32_t>(tokens.size());
        const int32_t n_vocab  = llama.vocab_n_tokens(llama.model_get_vocab(llama.get_model(context)));
        if (n_tokens == 0 || uint32_t(n_tokens) > llama.n_batch(context)) {
            throw std::runtime_error("the batch has " + std::to_string(n_tokens) + " tokens; this context takes 1 to " +
                                     std::to_string(llama.n_batch(context)));
        }
        Batch batch(llama, n_tokens);
        for (int32_t i = 0; i < n_tokens; ++i) {
            if (tokens[i] < 0 || tokens[i] >= n_vocab) {
                throw std::runtime_error("token id " + std::to_string(tokens[i]) + " at position " +
                                         std::to_string(start + i) + " is out of range; the vocabulary has " +
                                         std::to_string(n_vocab) + " tokens");
            }
            batch.add(tokens[i], start + i, seq_id, all_logits || i == n_tokens - 1);
        }
        if (llama.decode(context, batch.get()) != 0) {
            throw std::runtime_error(library.last_error(id));
        }
        llama.synchronize(context);

        logits.resize(size_t(all_logits ? n_tokens : 1) * n_vocab);
        float * row = logits.data();
        for (int32_t i = all_logits ? 0 : n_tokens - 1; i < n_tokens; ++i, row += n_vocab) {
            const float * values = llama.get_logits_ith(context, i);
            if (values == nullptr) {
                throw std::runtime_error("the model produced no logits for position " + std::to_string(start + i));
            }
            std::copy(values, values + n_vocab, row);
        }
    }

    Napi::Value result(Napi::Env env) override {
        Napi::Float32Array array = Napi::Float32Array::New(env, logits.size());
        std::copy(logits.begin(), logits.end(), array.Data());
        return array;
    }

private:
    uint64_t                 id;
    int32_t                  seq_id;
    std::vector<llama_token> tokens;
    llama_pos                start;
    bool                     all_logits;
    std::vector<float>       logits; // [n_tokens or 1][n_vocab]
};

// decode(id, sequenceId, tokens: Int32Array, start, allLogits): Promise<Float32Array>
Napi::Value decode(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
            throw std::runtime_error("`tokens` has to be an Int32Array");
        }
        const Napi::Int32Array   array = info[2].As<Napi::Int32Array>();
        std::vector<llama_token> tokens(array.Data(), array.Data() + array.ElementLength());
        return ArmtWorker::start(new DecodeWorker(info.Env(), armt_id(info[0]), armt_int32(info[1], "sequenceId"),
                                                  std::move(tokens), armt_int32(info[3], "start"),
                                                  info[4].ToBoolean().Value()));
    });
}

} // namespace

void armt_register_decode(Napi::Env env, Napi::Object exports) {
    exports.Set("decode", Napi::Function::New(env, decode, "decode"));
}
