#include "armt-devices.h"

#include "armt-hooks.h"
#include "armt-names.h"

#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "llama.h"

#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

using rpc_connect_t = ggml_backend_reg_t (*)(const char * endpoint, char * reason, size_t n_reason);
using rpc_serve_t   = void (*)(const char * endpoint, const char * cache, size_t n_threads, size_t n_devices,
                             ggml_backend_dev_t * devices);
using rpc_failure_t = const char * (*) (ggml_backend_t);

// What llama_model_params borrows while a model is loaded
struct placement {
    std::vector<ggml_backend_ptr>   connections;  // keep those to RPC servers until the model's buffers do
    std::vector<ggml_backend_dev_t> devices;      // ends with nullptr; empty: llama.cpp's own choice
    std::vector<float>              tensor_split; // llama_max_devices() of them; empty: by free memory
    int32_t                         n_gpu_layers = -1;
    int32_t                         split_mode   = -1;
    int32_t                         main_gpu     = 0;
};

static std::mutex                       placements_mutex;
static std::map<std::string, placement> placements;

template <typename F> static F rpc_function(const char * name) {
    const ggml_backend_reg_t reg = ggml_backend_reg_by_name(ARMT_NAME_RPC);
    const F function = reg == nullptr ? nullptr : reinterpret_cast<F>(ggml_backend_reg_get_proc_address(reg, name));
    if (function == nullptr) {
        throw std::runtime_error("the RPC backend is not loaded, or is not that of this package; run `npx armt build "
                                 "--force`");
    }
    return function;
}

void armt_load_rpc(const char * library) {
    if (ggml_backend_reg_by_name(ARMT_NAME_RPC) == nullptr && ggml_backend_load(library) == nullptr) {
        throw std::runtime_error(std::string("cannot load the RPC backend ") + library +
                                 "; run `npx armt build --force`");
    }
}

static ggml_backend_reg_t connect_rpc(const char * endpoint) {
    char                     reason[512] = "";
    const ggml_backend_reg_t reg = rpc_function<rpc_connect_t>(ARMT_NAME_RPC_CONNECT)(endpoint, reason, sizeof(reason));
    if (reg == nullptr) {
        throw std::runtime_error(reason);
    }
    return reg;
}

// This machine's devices besides its CPU, in llama.cpp's order: GPUs, or else integrated ones
static std::vector<ggml_backend_dev_t> local_devices() {
    std::vector<ggml_backend_dev_t> devices;
    for (const auto type : {GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU}) {
        for (size_t i = 0; i < ggml_backend_dev_count() && (devices.empty() || type == GGML_BACKEND_DEVICE_TYPE_GPU);
             ++i) {
            const ggml_backend_dev_t dev = ggml_backend_dev_get(i);
            const char *             reg = ggml_backend_reg_name(ggml_backend_dev_backend_reg(dev));
            if (ggml_backend_dev_type(dev) == type && strcmp(reg, ARMT_NAME_RPC) != 0) {
                devices.push_back(dev);
            }
        }
    }
    return devices;
}

[[noreturn]] void armt_serve_rpc(const char * endpoint, const char * cache, uint32_t n_threads) {
    std::vector<ggml_backend_dev_t> devices = local_devices();
    if (devices.empty()) {
        devices.push_back(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
    }
    if (devices[0] == nullptr) {
        throw std::runtime_error("this machine has no device that ggml can use");
    }
    rpc_function<rpc_serve_t>(ARMT_NAME_RPC_SERVE)(endpoint, cache, n_threads, devices.size(), devices.data());
    throw std::runtime_error(std::string("cannot listen on ") + endpoint);
}

void armt_set_placement(const armt_placement & wanted) {
    placement result;
    for (uint32_t i = 0; i < wanted.n_rpc; ++i) {
        const ggml_backend_reg_t reg = connect_rpc(wanted.rpc[i]);
        for (size_t j = 0; j < ggml_backend_reg_dev_count(reg); ++j) {
            const ggml_backend_dev_t dev = ggml_backend_reg_dev_get(reg, j);
            result.devices.push_back(dev);
            result.connections.emplace_back(ggml_backend_dev_init(dev, nullptr));
        }
    }
    const std::vector<ggml_backend_dev_t> local     = local_devices();
    const size_t                          n_devices = result.devices.size() + local.size();
    if (wanted.n_rpc > 0) {
        result.devices.insert(result.devices.end(), local.begin(), local.end());
        result.devices.push_back(nullptr);
    }
    if (n_devices > llama_max_devices()) {
        throw std::runtime_error("a model can be split over " + std::to_string(llama_max_devices()) +
                                 " devices at most, and there are " + std::to_string(n_devices));
    }
    if (wanted.n_tensor_split > n_devices) {
        throw std::runtime_error("tensorSplit has " + std::to_string(wanted.n_tensor_split) + " parts, and there are " +
                                 std::to_string(n_devices) + " devices");
    }
    if (wanted.main_gpu >= 0 && wanted.split_mode == LLAMA_SPLIT_MODE_NONE && size_t(wanted.main_gpu) >= n_devices) {
        throw std::runtime_error("mainGpu is " + std::to_string(wanted.main_gpu) + ", and there are " +
                                 std::to_string(n_devices) + " devices");
    }
    if (wanted.n_tensor_split > 0) {
        result.tensor_split.assign(wanted.tensor_split, wanted.tensor_split + wanted.n_tensor_split);
        result.tensor_split.resize(llama_max_devices(), 0.0f);
    }
    result.n_gpu_layers = wanted.n_gpu_layers;
    result.split_mode   = wanted.split_mode;
    result.main_gpu     = wanted.main_gpu;

    const std::lock_guard<std::mutex> lock(placements_mutex);
    placements[wanted.path] = std::move(result);
}

void armt_forget_placement(const char * path) {
    placement forgotten;
    {
        const std::lock_guard<std::mutex> lock(placements_mutex);
        const auto                        it = placements.find(path);
        if (it != placements.end()) {
            forgotten = std::move(it->second);
            placements.erase(it);
        }
    }
    for (const ggml_backend_ptr & connection : forgotten.connections) {
        if (const char * reason = rpc_function<rpc_failure_t>(ARMT_NAME_RPC_FAILURE)(connection.get())) {
            throw std::runtime_error(reason);
        }
    }
}

void armt_place_model(const std::string & path, llama_model_params & params) {
    const std::lock_guard<std::mutex> lock(placements_mutex);
    const auto                        it = placements.find(path);
    if (it == placements.end()) {
        return;
    }
    placement & chosen = it->second;
    if (!chosen.devices.empty()) {
        params.devices = chosen.devices.data();
    }
    if (!chosen.tensor_split.empty()) {
        params.tensor_split = chosen.tensor_split.data();
    }
    if (chosen.n_gpu_layers >= 0) {
        params.n_gpu_layers = chosen.n_gpu_layers;
    }
    if (chosen.split_mode >= 0) {
        params.split_mode = llama_split_mode(chosen.split_mode);
    }
    params.main_gpu = chosen.main_gpu;
}
