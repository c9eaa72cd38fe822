#include "ArmtDecode.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"
#include "ArmtWorker.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
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

    void clear() { batch.n_tokens = 0; }

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
        const ArmtLibrary &        library  = ArmtLibrary::get();
        const ArmtLibrary::Llama & llama    = library.llama();
        llama_context *            context  = library.context(id);
        const int32_t              n_tokens = static_cast<int32_t>(tokens.size());
        const int32_t              n_vocab  = llama.vocab_n_tokens(llama.model_get_vocab(llama.get_model(context)));
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

Napi::Int32Array int32_array(const Napi::Value & value) {
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
        throw std::runtime_error("`tokens` has to be an Int32Array");
    }
    return value.As<Napi::Int32Array>();
}

// Tokens of one sequence, in an array of JavaScript that does not change meanwhile
struct ReadPart {
    int32_t             seq_id;
    llama_pos           start;
    const llama_token * tokens;
    int32_t             n_tokens;
};

class ReadWorker;

// The reads that run now, by context
std::mutex                       reads_mutex;
std::map<uint64_t, ReadWorker *> reads;

// Reads tokens whose logits nobody wants. Several sequences share one batch. The tokens of one sequence are read in as
// many batches as they need, until someone else wants the context or the time is up.
class ReadWorker : public ArmtWorker {
public:
    ReadWorker(Napi::Env env, uint64_t id, std::vector<ReadPart> parts, Napi::ObjectReference && arrays,
               int32_t batch_size, std::chrono::milliseconds limit)
        : ArmtWorker(env, "armtRead"), id(id), parts(std::move(parts)), arrays(std::move(arrays)),
          batch_size(batch_size), limit(limit) {
        const std::lock_guard<std::mutex> lock(reads_mutex);
        reads[id] = this;
    }

    ~ReadWorker() override {
        const std::lock_guard<std::mutex> lock(reads_mutex);
        const auto                        found = reads.find(id);
        if (found != reads.end() && found->second == this) {
            reads.erase(found);
        }
    }

    // Ends the read of a context after its current batch
    static void interrupt(uint64_t id) {
        const std::lock_guard<std::mutex> lock(reads_mutex);
        const auto                        found = reads.find(id);
        if (found != reads.end()) {
            found->second->interrupted = true;
        }
    }

protected:
    void work() override {
        const ArmtLibrary &        library  = ArmtLibrary::get();
        const ArmtLibrary::Llama & llama    = library.llama();
        llama_context *            context  = library.context(id);
        const auto                 deadline = std::chrono::steady_clock::now() + limit;
        int32_t                    total    = 0;
        for (const ReadPart & part : parts) {
            total += part.n_tokens;
        }
        Batch batch(llama, std::min(total, batch_size));
        do {
            batch.clear();
            int32_t room = batch_size;
            for (ReadPart & part : parts) {
                const int32_t n = std::min(part.n_tokens, room);
                for (int32_t i = 0; i < n; ++i) {
                    batch.add(part.tokens[i], part.start + i, part.seq_id, false);
                }
                part.tokens += n;
                part.start += n;
                part.n_tokens -= n;
                room -= n;
            }
            n_read += batch_size - room;
            total -= batch_size - room;
            if (llama.decode(context, batch.get()) != 0) {
                failed  = true;
                failure = library.api().last_error(id);
                return;
            }
        } while (total > 0 && !interrupted && std::chrono::steady_clock::now() < deadline);
        llama.synchronize(context);
    }

    Napi::Value result(Napi::Env env) override {
        Napi::Object object = Napi::Object::New(env);
        object.Set("tokens", armt_number(env, n_read));
        if (failed) {
            object.Set("failure", failure);
        }
        return object;
    }

private:
    uint64_t                  id;
    std::vector<ReadPart>     parts;
    Napi::ObjectReference     arrays; // keeps the tokens alive
    int32_t                   batch_size;
    std::chrono::milliseconds limit;
    std::atomic<bool>         interrupted{false};
    uint64_t                  n_read = 0;
    bool                      failed = false;
    std::string               failure;
};

// decode(id, sequenceId, tokens: Int32Array, start, allLogits): Promise<Float32Array>
Napi::Value decode(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        const Napi::Int32Array   array = int32_array(info[2]);
        std::vector<llama_token> tokens(array.Data(), array.Data() + array.ElementLength());
        return ArmtWorker::start(new DecodeWorker(info.Env(), armt_id(info[0]), armt_int32(info[1], "sequenceId"),
                                                  std::move(tokens), armt_int32(info[3], "start"),
                                                  info[4].ToBoolean().Value()));
    });
}

// read(id, parts: {sequenceId, start, tokens: Int32Array}[], batchSize, limitMs): Promise<{tokens, failure?}>
Napi::Value read(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        const Napi::Array     array = info[1].As<Napi::Array>();
        std::vector<ReadPart> parts;
        for (uint32_t i = 0; i < array.Length(); ++i) {
            const Napi::Object     part   = array.Get(i).As<Napi::Object>();
            const Napi::Int32Array tokens = int32_array(part.Get("tokens"));
            parts.push_back({armt_int32(part.Get("sequenceId"), "sequenceId"), armt_int32(part.Get("start"), "start"),
                             tokens.Data(), int32_t(tokens.ElementLength())});
        }
        return ArmtWorker::start(new ReadWorker(
            info.Env(), armt_id(info[0]), std::move(parts), Napi::Persistent(info[1].As<Napi::Object>()),
            armt_int32(info[2], "batchSize"), std::chrono::milliseconds(armt_int32(info[3], "limitMs"))));
    });
}

// interruptRead(id): ends the read of a context after its current batch
void interrupt_read(const Napi::CallbackInfo & info) {
    armt_call(info.Env(), [&] { ReadWorker::interrupt(armt_id(info[0])); });
}

} // namespace

void armt_register_decode(Napi::Env env, Napi::Object exports) {
    exports.Set("decode", Napi::Function::New(env, decode, "decode"));
    exports.Set("read", Napi::Function::New(env, read, "read"));
    exports.Set("interruptRead", Napi::Function::New(env, interrupt_read, "interruptRead"));
}
