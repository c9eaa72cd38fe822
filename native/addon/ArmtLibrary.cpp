#include "ArmtLibrary.h"

#include "SharedLibrary.h"

#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace {

using get_api_t = decltype(&armt_get_api);

std::mutex                   library_mutex; // worker threads of Node share the process
std::unique_ptr<ArmtLibrary> library;

// libraries that libllama depends on: dlsym searches them with libllama, GetProcAddress does not
std::vector<void *> dependencies;

template <typename T> void find_symbol(void * handle, const char * name, T & symbol) {
    symbol = reinterpret_cast<T>(armt_find_symbol(handle, name));
    for (size_t i = 0; symbol == nullptr && i < dependencies.size(); ++i) {
        symbol = reinterpret_cast<T>(armt_find_symbol(dependencies[i], name));
    }
    if (symbol == nullptr) {
        throw std::runtime_error(std::string("libllama lacks the function ") + name);
    }
}

void load_backends(const std::string & ggml, const std::string & folder) {
    void (*load_all)(const char *) = nullptr;
    find_symbol(armt_open_library(ggml), "ggml_backend_load_all_from_path", load_all);
    load_all(folder.c_str());
}

} // namespace

const ArmtLibrary & ArmtLibrary::get() {
    const std::lock_guard<std::mutex> lock(library_mutex);
    if (library == nullptr) {
        throw std::runtime_error("the ARMT engine is not loaded; call getLlama() of node-llama-cpp-armt first");
    }
    return *library;
}

void ArmtLibrary::load(const std::string & ggml_base, const std::string & ggml, const std::string & llama,
                       const std::string & backends) {
    const std::lock_guard<std::mutex> lock(library_mutex);
    if (library != nullptr) {
        if (library->path != llama) {
            throw std::runtime_error("the ARMT engine was already loaded from " + library->path);
        }
        return;
    }
    auto candidate = std::make_unique<ArmtLibrary>();
    candidate->open(ggml_base, ggml, llama);
    if (!backends.empty()) {
        load_backends(ggml, backends);
    }
    library = std::move(candidate);
}

void ArmtLibrary::open(const std::string & ggml_base, const std::string & ggml, const std::string & llama) {
    path          = llama;
    soname        = armt_file_name(llama);
    void * handle = armt_loaded_library(soname);
    if (handle == nullptr) {
        dependencies = {armt_open_library(ggml_base), armt_open_library(ggml)};
        handle       = armt_open_library(llama);
    } else if (armt_path_of_library(handle) != llama) {
        throw std::runtime_error("the plain " + armt_path_of_library(handle) +
                                 " is already loaded in this process, so ARMT models cannot run; call getLlama() of "
                                 "node-llama-cpp-armt before any getLlama() of node-llama-cpp");
    }

    get_api_t get_api = reinterpret_cast<get_api_t>(armt_find_symbol(handle, "armt_get_api"));
    if (get_api == nullptr) {
        throw std::runtime_error(llama + " has no ARMT engine in it; run `npx armt build --force`");
    }
    table = get_api();
    if (table == nullptr || table->version != ARMT_API_VERSION || table->size != sizeof(armt_api)) {
        throw std::runtime_error(llama + " and the addon are of different versions; run `npx armt build --force`");
    }
    find_symbol(handle, "llama_decode", functions.decode);
    find_symbol(handle, "llama_get_logits_ith", functions.get_logits_ith);
    find_symbol(handle, "llama_get_model", functions.get_model);
    find_symbol(handle, "llama_model_get_vocab", functions.model_get_vocab);
    find_symbol(handle, "llama_vocab_n_tokens", functions.vocab_n_tokens);
    find_symbol(handle, "llama_n_batch", functions.n_batch);
    find_symbol(handle, "llama_batch_init", functions.batch_init);
    find_symbol(handle, "llama_batch_free", functions.batch_free);
    find_symbol(handle, "llama_synchronize", functions.synchronize);
    find_symbol(handle, "llama_get_memory", functions.get_memory);
    find_symbol(handle, "llama_memory_seq_cp", functions.memory_seq_cp);
    find_symbol(handle, "llama_state_seq_get_size_ext", functions.state_seq_get_size);
    find_symbol(handle, "llama_state_seq_get_data_ext", functions.state_seq_get_data);
    find_symbol(handle, "ggml_is_quantized", ggml_functions.is_quantized);
    find_symbol(handle, "ggml_blck_size", ggml_functions.blck_size);
    find_symbol(handle, "ggml_row_size", ggml_functions.row_size);
    find_symbol(handle, "ggml_quantize_requires_imatrix", ggml_functions.quantize_requires_imatrix);
    find_symbol(handle, "ggml_quantize_chunk", ggml_functions.quantize_chunk);
    find_symbol(handle, "ggml_validate_row_data", ggml_functions.validate_row_data);
    find_symbol(handle, "ggml_get_type_traits", ggml_functions.get_type_traits);
    find_symbol(handle, "ggml_init", backend_functions.init);
    find_symbol(handle, "ggml_free", backend_functions.free);
    find_symbol(handle, "ggml_tensor_overhead", backend_functions.tensor_overhead);
    find_symbol(handle, "ggml_graph_overhead", backend_functions.graph_overhead);
    find_symbol(handle, "ggml_new_tensor_3d", backend_functions.new_tensor_3d);
    find_symbol(handle, "ggml_mul_mat", backend_functions.mul_mat);
    find_symbol(handle, "ggml_new_graph", backend_functions.new_graph);
    find_symbol(handle, "ggml_build_forward_expand", backend_functions.build_forward_expand);
    find_symbol(handle, "ggml_nbytes", backend_functions.nbytes);
    find_symbol(handle, "ggml_backend_dev_by_type", backend_functions.dev_by_type);
    find_symbol(handle, "ggml_backend_dev_init", backend_functions.dev_init);
    find_symbol(handle, "ggml_backend_dev_description", backend_functions.dev_description);
    find_symbol(handle, "ggml_backend_dev_buffer_type", backend_functions.dev_buffer_type);
    find_symbol(handle, "ggml_backend_dev_backend_reg", backend_functions.dev_backend_reg);
    find_symbol(handle, "ggml_backend_dev_supports_op", backend_functions.dev_supports_op);
    find_symbol(handle, "ggml_backend_reg_get_proc_address", backend_functions.reg_get_proc_address);
    find_symbol(handle, "ggml_backend_buft_name", backend_functions.buft_name);
    find_symbol(handle, "ggml_backend_buft_alloc_buffer", backend_functions.buft_alloc_buffer);
    find_symbol(handle, "ggml_backend_alloc_ctx_tensors_from_buft", backend_functions.alloc_ctx_tensors_from_buft);
    find_symbol(handle, "ggml_backend_buffer_free", backend_functions.buffer_free);
    find_symbol(handle, "ggml_backend_tensor_set", backend_functions.tensor_set);
    find_symbol(handle, "ggml_backend_graph_compute", backend_functions.graph_compute);
    find_symbol(handle, "ggml_backend_synchronize", backend_functions.synchronize);
    find_symbol(handle, "ggml_backend_free", backend_functions.backend_free);
}

std::string ArmtLibrary::verify() const {
    void * handle = armt_loaded_library(soname);
    if (handle == nullptr) {
        throw std::runtime_error("no " + soname + " is loaded");
    }
    get_api_t get_api = reinterpret_cast<get_api_t>(armt_find_symbol(handle, "armt_get_api"));
    if (get_api == nullptr || get_api() != table) {
        throw std::runtime_error("node-llama-cpp uses " + armt_path_of_library(handle) + " instead of " + path +
                                 ", so ARMT models cannot run");
    }
    return armt_path_of_library(handle);
}

llama_context * ArmtLibrary::context(uint64_t id) const {
    llama_context * context = table->get_context(id);
    if (context == nullptr) {
        throw std::runtime_error("the context is disposed");
    }
    return context;
}

std::string ArmtLibrary::last_error(uint64_t context_id) const {
    const char * message = table->last_error(context_id);
    return message == nullptr || *message == '\0' ? "the engine gave no reason" : message;
}

// load({ggmlBase, ggml, llama, backends?})
static void load(const Napi::CallbackInfo & info) {
    const Napi::Object paths = info[0].As<Napi::Object>();
    const auto         path  = [&](const char * key) {
        return paths.Get(key).IsString() ? paths.Get(key).As<Napi::String>().Utf8Value() : std::string();
    };
    try {
        ArmtLibrary::load(path("ggmlBase"), path("ggml"), path("llama"), path("backends"));
    } catch (const std::exception & error) {
        throw Napi::Error::New(info.Env(), error.what());
    }
}

// verify(): path of the library in use
static Napi::Value verify(const Napi::CallbackInfo & info) {
    try {
        return Napi::String::New(info.Env(), ArmtLibrary::get().verify());
    } catch (const std::exception & error) {
        throw Napi::Error::New(info.Env(), error.what());
    }
}

void armt_register_library(Napi::Env env, Napi::Object exports) {
    exports.Set("load", Napi::Function::New(env, load, "load"));
    exports.Set("verify", Napi::Function::New(env, verify, "verify"));
    exports.Set("apiVersion", Napi::Number::New(env, ARMT_API_VERSION));
}
