// Dispatch: which fusion a node is offered to, and the state of the backend's contexts.

#include "armt-fusion.cuh"

#include "ggml-backend-impl.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <sstream>

using namespace armt_fusion;

static std::mutex                                                 states_mutex;
static std::map<const ggml_backend_cuda_context *, context_state> states;
static std::atomic<uint64_t>                                      n_replays{0};

static context_state & state_of(const ggml_backend_cuda_context & ctx) {
    const std::lock_guard<std::mutex> lock(states_mutex);
    return states[&ctx];
}

void * armt_fusion::reserve(context_state & state, buffer & buf, size_t size) {
    if (buf.size < size) {
        CUDA_CHECK(cudaMalloc(&buf.data, size));
        buf.size = size;
        state.allocated.push_back(buf.data);
    }
    return buf.data;
}

//
// ARMT_CUDA_FUSION
//

using fusion_flag = bool fusions::*;

struct named_fusion {
    const char * name;
    fusion_flag  on;
};

// clang-format off
static constexpr named_fusion FUSIONS[] = {
    {"norm",      &fusions::norm},
    {"glu",       &fusions::glu},
    {"gate",      &fusions::gate},
    {"read",      &fusions::read},
    {"dpfp",      &fusions::dpfp},
    {"rope",      &fusions::rope},
    {"write",     &fusions::write},
    {"attention", &fusions::attention},
    {"residual",  &fusions::residual},
    {"quantize",  &fusions::quantize},
    {"grouped",   &fusions::grouped},
};
// clang-format on

// Once for each name, because the variable is read for each graph
static void warn_unknown(const std::string & name) {
    static std::mutex                 mutex;
    static std::set<std::string>      warned;
    const std::lock_guard<std::mutex> lock(mutex);
    if (!warned.insert(name).second) {
        return;
    }
    std::string names = "all, none";
    for (const named_fusion & fusion : FUSIONS) {
        names += std::string(", ") + fusion.name;
    }
    GGML_LOG_WARN("ARMT_CUDA_FUSION: unknown fusion \"%s\"; known are %s\n", name.c_str(), names.c_str());
}

static fusions read_fusions() {
    const auto & device = ggml_cuda_info().devices[ggml_cuda_get_device()];
    // older cards have no asynchronous copies, and no bf16 in their tensor cores
    if (device.cc < GGML_CUDA_CC_AMPERE || !GGML_CUDA_CC_IS_NVIDIA(device.cc)) {
        return {};
    }
    const char *      value = getenv("ARMT_CUDA_FUSION");
    fusions           on    = {};
    std::stringstream names(value == nullptr ? "all" : value);
    for (std::string name; std::getline(names, name, ',');) {
        bool known = name.empty() || name == "none";
        for (const named_fusion & fusion : FUSIONS) {
            if (name == "all" || name == fusion.name) {
                on.*fusion.on = true;
                known         = true;
            }
        }
        if (!known) {
            warn_unknown(name);
        }
    }
    const bool has_shared_memory = device.smpbo >= armt_features_shared();
    on.features                  = on.dpfp && has_shared_memory;
    on.write                     = on.write && has_shared_memory;
    return on;
}

//
// hooks
//

void armt_cuda_begin(ggml_backend_cuda_context & ctx, const void * graph_key) {
    context_state & state = state_of(ctx);
    state.on              = read_fusions();
    state.scratch_last    = -1;
    state.narrow.clear();
    begin_fp8(state, graph_key);
}

// The first of several fusions that takes the node
static int fuse_any(std::initializer_list<fuse_fn *> fuse, ggml_backend_cuda_context & ctx, context_state & state,
                    const ggml_cgraph * cgraph, int i) {
    int n = NOT_FUSED;
    for (auto fn = fuse.begin(); n == NOT_FUSED && fn != fuse.end(); ++fn) {
        n = (*fn)(ctx, state, cgraph, i);
    }
    return n;
}

int armt_cuda_try_fuse(ggml_backend_cuda_context & ctx, const ggml_cgraph * cgraph, int i) {
    context_state & state = state_of(ctx);
    // clang-format off
    switch (cgraph->nodes[i]->op) {
        case GGML_OP_MUL_MAT:        return fuse_any({fuse_features, fuse_fp8_product, fuse_product}, ctx, state, cgraph, i);
        case GGML_OP_RMS_NORM:       return fuse_norm(ctx, state, cgraph, i);
        case GGML_OP_CONT:           return fuse_any({fuse_read, fuse_write}, ctx, state, cgraph, i);
        case GGML_OP_GLU:            return fuse_swiglu(ctx, state, cgraph, i);
        case GGML_OP_UNARY:          return fuse_any({fuse_row_read, fuse_dpfp}, ctx, state, cgraph, i);
        case GGML_OP_FLASH_ATTN_EXT: return fuse_attention(ctx, state, cgraph, i);
        case GGML_OP_ROPE:           return fuse_rope(ctx, state, cgraph, i);
        default:                     return NOT_FUSED;
    }
    // clang-format on
}

// Nodes of all layers share a label.
static std::string profile_label(const ggml_tensor * node) {
    std::string label = std::string(ggml_op_name(node->op)) + " " + node->name;
    label.erase(std::find_if(label.begin(), label.end(), [](char c) { return c == '-' || isdigit(c); }), label.end());
    if (node->op == GGML_OP_MUL_MAT) {
        label += " [" + std::to_string(node->src[0]->ne[0]) + " x " + std::to_string(node->src[0]->ne[1]) + "]";
    }
    return label;
}

static void add_times(context_state & state) {
    for (size_t i = 0; i + 1 < state.marks.size(); ++i) {
        float ms = 0.0f;
        CUDA_CHECK(cudaEventElapsedTime(&ms, state.marks[i].second, state.marks[i + 1].second));
        auto & [n, us] = state.times[state.marks[i].first];
        n++;
        us += ms * 1000.0;
    }
    for (const auto & mark : state.marks) {
        CUDA_CHECK(cudaEventDestroy(mark.second));
    }
    state.marks.clear();
}

void armt_cuda_profile(ggml_backend_cuda_context & ctx, const ggml_tensor * node) {
    static const bool on = getenv("ARMT_CUDA_PROFILE") != nullptr;
    if (!on) {
        return;
    }
    context_state & state = state_of(ctx);
    cudaEvent_t     event;
    CUDA_CHECK(cudaEventCreate(&event));
    CUDA_CHECK(cudaEventRecord(event, ctx.stream()));
    state.marks.emplace_back(node == nullptr ? "" : profile_label(node), event);
    if (node == nullptr) {
        CUDA_CHECK(cudaEventSynchronize(event));
        add_times(state);
    }
}

static void write_times(const context_state & state, const char * file) {
    if (FILE * out = fopen(file, "w")) {
        for (const auto & [label, time] : state.times) {
            fprintf(out, "%12.1f us %8lld times  %s\n", time.second, (long long) time.first, label.c_str());
        }
        fclose(out);
    }
}

void armt_cuda_release(ggml_backend_cuda_context & ctx) {
    const std::lock_guard<std::mutex> lock(states_mutex);
    context_state &                   state = states[&ctx];
    const char *                      file  = getenv("ARMT_CUDA_PROFILE");
    if (file != nullptr && !state.times.empty()) {
        write_times(state, file);
    }
    for (void * data : state.allocated) {
        CUDA_CHECK(cudaFree(data));
    }
    free_plans(state);
    if (state.lt != nullptr) {
        CUBLAS_CHECK(cublasLtDestroy(state.lt));
    }
    states.erase(&ctx);
}

void armt_cuda_count_replay(ggml_backend_cuda_context & ctx, const void * graph_key) {
    n_replays++;
    fp8_state & fp8 = state_of(ctx).fp8;
    const auto  it  = fp8.of_graph.find(graph_key);
    if (it != fp8.of_graph.end()) {
        fp8.counts.n_e4m3 += it->second.n_e4m3;
        fp8.counts.n_left += it->second.n_left;
    }
}

uint64_t armt_cuda_graph_replays() {
    return n_replays;
}

armt_fp8_counts armt_cuda_fp8_counts(ggml_backend_t backend) {
    return state_of(*(const ggml_backend_cuda_context *) backend->context).fp8.counts;
}
