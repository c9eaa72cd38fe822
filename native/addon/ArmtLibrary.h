#pragma once

#include "armt-api.h"
#include "GgmlBackend.h"
#include "llama.h"

#include <napi.h>

#include <string>

// The libllama with the ARMT engine. It is loaded by its absolute path before node-llama-cpp's addon, so that the addon
// gets it when it asks for a library of that name (SONAME).
class ArmtLibrary {
public:
    // The functions of libllama that the addon calls. They are looked up in our library, so that the addon links to
    // none.
    struct Llama {
        decltype(&llama_decode)                 decode;
        decltype(&llama_get_logits_ith)         get_logits_ith;
        decltype(&llama_get_model)              get_model;
        decltype(&llama_model_get_vocab)        model_get_vocab;
        decltype(&llama_vocab_n_tokens)         vocab_n_tokens;
        decltype(&llama_n_batch)                n_batch;
        decltype(&llama_batch_init)             batch_init;
        decltype(&llama_batch_free)             batch_free;
        decltype(&llama_synchronize)            synchronize;
        decltype(&llama_get_memory)             get_memory;
        decltype(&llama_memory_seq_cp)          memory_seq_cp;
        decltype(&llama_state_seq_get_size_ext) state_seq_get_size;
        decltype(&llama_state_seq_get_data_ext) state_seq_get_data;
    };

    // The functions of ggml-base that the addon calls
    struct Ggml {
        decltype(&ggml_is_quantized)              is_quantized;
        decltype(&ggml_blck_size)                 blck_size;
        decltype(&ggml_row_size)                  row_size;
        decltype(&ggml_quantize_requires_imatrix) quantize_requires_imatrix;
        decltype(&ggml_quantize_chunk)            quantize_chunk;
        decltype(&ggml_validate_row_data)         validate_row_data;
        decltype(&ggml_get_type_traits)           get_type_traits;
    };

    // The library of this process. Throws std::runtime_error if it is not loaded.
    static const ArmtLibrary & get();

    // Loads the libraries by their absolute paths. A second call with the same library does nothing. Throws
    // std::runtime_error with a text for users.
    static void load(const std::string & ggml_base, const std::string & ggml, const std::string & llama,
                     const std::string & backends);

    // The path of the library that is loaded under our library's name. Throws std::runtime_error if that is another
    // library.
    std::string verify() const;

    const armt_api &    api() const { return *table; }
    const Llama &       llama() const { return functions; }
    const Ggml &        ggml() const { return ggml_functions; }
    const GgmlBackend & ggml_backend() const { return backend_functions; }

    // Throws std::runtime_error if the context is disposed
    llama_context * context(uint64_t id) const;

    // The engine's message about the last failure, or a general text
    std::string last_error(uint64_t context_id) const;

private:
    std::string      path;
    std::string      soname;
    const armt_api * table = nullptr;
    Llama            functions{};
    Ggml             ggml_functions{};
    GgmlBackend      backend_functions{};

    void open(const std::string & ggml_base, const std::string & ggml, const std::string & llama);
};

void armt_register_library(Napi::Env env, Napi::Object exports);
