// Model files. An input is the header of a GGUF file: weights follow it that are finite in every type.

#include "gguf-mutator.h"
#include "harness.h"

// More than the weights of a small model take. Unit: bytes
static constexpr size_t N_WEIGHTS = 128 * 1024;

// 1.06 as f16, 0.0115 as f32 and as bf16
static constexpr uint8_t WEIGHT = 0x3c;

extern "C" int LLVMFuzzerInitialize(int *, char ***) {
    fuzz_begin();
    return 0;
}

static std::string write_model(const uint8_t * data, size_t size) {
    std::vector<uint8_t> bytes(data, data + size);
    bytes.resize(size + N_WEIGHTS, WEIGHT);
    return fuzz_memory_file(bytes);
}

// What a program does with the vocabulary of a file
static void use_vocabulary(const llama_model * model) {
    const llama_vocab * vocab = llama_model_get_vocab(model);
    if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {
        return;
    }
    const std::string        text = "The lamp, 1984!\n";
    std::vector<llama_token> tokens(4 * text.size());
    const int32_t            n =
        llama_tokenize(vocab, text.data(), int32_t(text.size()), tokens.data(), int32_t(tokens.size()), true, true);
    char piece[256];
    for (int32_t i = 0; i < n; ++i) {
        llama_token_to_piece(vocab, tokens[i], piece, sizeof(piece), 0, true);
    }
}

static void use_model(llama_model * model) {
    use_vocabulary(model);
    llama_context * context = fuzz_create_context(model, 2);
    if (context == nullptr) {
        return;
    }
    if (llama_vocab_n_tokens(llama_model_get_vocab(model)) > 0) {
        // several segments of a small model, and a token of the open one
        if (fuzz_decode(context, 0, fuzz_tokens(model, 20, 1)) == 0 &&
            fuzz_decode(context, 0, fuzz_tokens(model, 1, 2)) == 0) {
            llama_memory_seq_cp(llama_get_memory(context), 0, 1, -1, -1);
            fuzz_save(context, 1);
        }
    }
    llama_free(context);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    llama_model * model = fuzz_load_model(write_model(data, size), size % 2 == 0);
    if (model != nullptr) {
        use_model(model);
        llama_model_free(model);
    }
    return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t * data, size_t size, size_t max_size, unsigned int seed) {
    return gguf_mutate(data, size, max_size, seed);
}
