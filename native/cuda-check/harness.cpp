#include "harness.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <dlfcn.h>
#include <stdexcept>

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void check(bool ok, const std::string & what) {
    if (!ok) {
        throw std::runtime_error(what);
    }
}

model_ptr::model_ptr(const std::string & path, bool gpu) {
    llama_model_params params = llama_model_default_params();
    params.n_gpu_layers       = gpu ? 999 : 0;
    ggml_backend_dev_t none[] = {nullptr};
    if (!gpu) {
        params.devices = none;
    }
    model = llama_model_load_from_file(path.c_str(), params);
    check(model != nullptr, "cannot load " + path);
}

model_ptr::~model_ptr() {
    llama_model_free(model);
}

void set_variables(const settings & s) {
    setenv("ARMT_CUDA_FUSION", s.fusion, 1);
    setenv("ARMT_CUDA_FP8", s.fp8, 1);
}

context_ptr::context_ptr(const model_ptr & model, const settings & s) {
    set_variables(s);
    armt_context_options options = {};
    options.schedule             = s.schedule;
    options.segment_size         = s.n_segment;
    options.precision            = s.fp8_products != 0 ? ARMT_PRECISION_FP8 : ARMT_PRECISION_AUTO;
    options.fp8_products         = s.fp8_products;
    check(armt_get_api()->set_context_options(&options), armt_get_api()->last_error(0));

    llama_context_params params = llama_context_default_params();
    params.n_ctx                = s.n_ctx;
    params.n_batch              = s.n_batch;
    params.n_ubatch             = s.n_batch;
    params.n_seq_max            = s.n_seq;
    params.kv_unified           = false;
    params.flash_attn_type      = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.cb_eval              = s.cb_eval;
    params.cb_eval_user_data    = s.user_data;
    if (s.n_threads > 0) {
        params.n_threads = params.n_threads_batch = s.n_threads;
    }
    ctx = llama_init_from_model(model.model, params);
    check(ctx != nullptr, "cannot make a context");
    id = s.armt ? armt_get_api()->last_context_id() : 0;
}

context_ptr::~context_ptr() {
    llama_free(ctx);
}

double context_ptr::read(const std::vector<llama_token> & tokens, uint32_t n_batch, size_t from, bool separate_open) {
    const double start = now();
    const size_t end   = tokens.size() - (separate_open ? 1 : 0);
    llama_batch  batch = llama_batch_init(int32_t(n_batch), 0, 1);
    for (size_t at = from; at < end; at += n_batch) {
        batch.n_tokens = int32_t(std::min<size_t>(n_batch, end - at));
        for (int32_t i = 0; i < batch.n_tokens; ++i) {
            batch.token[i]     = tokens[at + i];
            batch.pos[i]       = llama_pos(at + i);
            batch.n_seq_id[i]  = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i]    = at + i + 1 == tokens.size();
        }
        check(llama_decode(ctx, batch) == 0, "the evaluation failed");
    }
    llama_batch_free(batch);
    if (separate_open) {
        llama_state_seq_get_size(ctx, 0); // completes the segments in flight, because a state holds none
        read(tokens, 1, end);
    }
    llama_synchronize(ctx);
    return now() - start;
}

void context_ptr::step(uint32_t n_seq, llama_pos pos, const std::vector<llama_token> & tokens) {
    llama_batch batch = llama_batch_init(int32_t(n_seq), 0, 1);
    batch.n_tokens    = int32_t(n_seq);
    for (uint32_t i = 0; i < n_seq; ++i) {
        batch.token[i]     = tokens[(pos * n_seq + i) % tokens.size()];
        batch.pos[i]       = pos;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = llama_seq_id(i);
        batch.logits[i]    = true;
    }
    check(llama_decode(ctx, batch) == 0, "the evaluation failed");
    llama_synchronize(ctx);
    llama_batch_free(batch);
}

std::vector<float> context_ptr::logits(uint32_t n_vocab) {
    const float * first = llama_get_logits_ith(ctx, -1);
    return std::vector<float>(first, first + n_vocab);
}

std::vector<float> context_ptr::memory(uint32_t il) {
    armt_context_info info = {};
    check(armt_get_api()->context_info(id, &info), "the context is gone");
    std::vector<float> a(size_t(info.n_head) * info.d_key * info.d_value);
    std::vector<float> z(size_t(info.n_head) * info.d_key);
    const bool         ok = armt_get_api()->read_memory(id, 0, il, a.data(), a.size(), z.data(), z.size());
    check(ok, armt_get_api()->last_error(id));
    a.insert(a.end(), z.begin(), z.end());
    return a;
}

armt_context_info context_ptr::info() {
    armt_context_info info = {};
    armt_get_api()->context_info(id, &info);
    return info;
}

void context_ptr::clear() {
    llama_memory_clear(llama_get_memory(ctx), true);
}

std::vector<llama_token> random_tokens(size_t n, uint32_t n_vocab) {
    std::vector<llama_token> tokens(n);
    uint32_t                 x = 12345;
    for (llama_token & token : tokens) {
        x     = x * 1664525u + 1013904223u;
        token = llama_token((x >> 8) % n_vocab);
    }
    return tokens;
}

double difference(const std::vector<float> & a, const std::vector<float> & b) {
    double d = 0.0;
    double n = 0.0;
    for (size_t i = 0; i < b.size(); ++i) {
        d += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
        n += double(b[i]) * b[i];
    }
    return std::sqrt(d / n); // NaN stays NaN
}

const std::vector<std::string> & all_fusions() {
    static const std::vector<std::string> names = {"norm",      "glu",      "gate",  "read",     "dpfp",   "rope",
                                                   "attention", "residual", "write", "quantize", "grouped"};
    return names;
}

double gpu_joules() {
    // NVML comes with the driver, so it is found at run time
    static void * const library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (library == nullptr) {
        return 0.0;
    }
    const auto init = reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"));
    const auto handle =
        reinterpret_cast<int (*)(unsigned int, void **)>(dlsym(library, "nvmlDeviceGetHandleByIndex_v2"));
    const auto energy =
        reinterpret_cast<int (*)(void *, unsigned long long *)>(dlsym(library, "nvmlDeviceGetTotalEnergyConsumption"));
    static const bool  ready      = init != nullptr && handle != nullptr && energy != nullptr && init() == 0;
    void *             device     = nullptr;
    unsigned long long millijoule = 0;
    return ready && handle(0, &device) == 0 && energy(device, &millijoule) == 0 ? double(millijoule) / 1000.0 : 0.0;
}
