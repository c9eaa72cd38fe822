// Finds nodes that can be computed at once (see armt-cuda.h), and computes them.
//
// A result that only products in 16 bits read is written in 16 bits: those with 16-bit weights, and with quantized ones, which are converted to F16. It takes the
// start of its tensor's memory then, or a buffer of this file's own; `narrow` says so to the nodes that read it, all of which are computed here as well.

#include "armt-cuda.h"
#include "armt-kernels.cuh"
#include "armt-limits.h"

#include "convert.cuh"
#include "ggml-impl.h"

#include <cublasLt.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

// Products with fewer rows are ggml's, whose kernels for them are faster
static constexpr int64_t MIN_ROWS = 32;

// What armt_features can do
static constexpr int64_t FEATURE_MULTIPLE  = 256;
static constexpr int64_t FEATURE_MOST_COLS = 64;

// How many nodes after a result those that read it are looked for in
static constexpr int WINDOW = 48;

namespace {

struct narrow_data {
    void *    data;
    ggml_type type;
};

struct fusions {
    bool norm, glu, gate, read, dpfp, rope, attention, residual, write;
    bool features; // of dpfp: the product too
};

using fusion_flag = bool fusions::*;

struct named_fusion {
    const char * name;
    fusion_flag  on;
};

constexpr named_fusion FUSIONS[] = {
    {"norm", &fusions::norm}, {"glu", &fusions::glu},   {"gate", &fusions::gate},           {"read", &fusions::read},         {"dpfp", &fusions::dpfp},
    {"rope", &fusions::rope}, {"write", &fusions::write}, {"attention", &fusions::attention}, {"residual", &fusions::residual},
};

struct buffer {
    void * data = nullptr;
    size_t size = 0;
};

// What is kept for a context of the backend
struct context_state {
    fusions on = {};
    std::unordered_map<const ggml_tensor *, narrow_data> narrow;

    // Captured graphs know the addresses, so nothing is freed before the context. None grows in a capture: ggml evaluates the same graph before.
    buffer              scratch;           // for a result whose own memory is still read when it is written
    int                 scratch_last = -1; // the last node that reads it
    buffer              write;             // what a write to the memory needs
    buffer              converted;         // the part of a weight that is multiplied next; all products are in one stream, so they share it
    std::vector<void *> allocated;

    cublasLtHandle_t lt = nullptr;

    std::vector<std::pair<std::string, cudaEvent_t>>  marks;
    std::map<std::string, std::pair<int64_t, double>> times; // how often, microseconds
};

std::mutex                                                      states_mutex;
std::map<const ggml_backend_cuda_context *, context_state>      states;
std::atomic<uint64_t>                                           n_replays{0};

context_state & state_of(const ggml_backend_cuda_context & ctx) {
    const std::lock_guard<std::mutex> lock(states_mutex);
    return states[&ctx];
}

// once for each name, since the variable is read for each graph
void warn_unknown(const std::string & name) {
    static std::mutex            mutex;
    static std::set<std::string> warned;
    const std::lock_guard<std::mutex> lock(mutex);
    if (!warned.insert(name).second) {
        return;
    }
    std::string names = "all, none";
    for (const named_fusion & fusion : FUSIONS) {
        names += std::string(", ") + fusion.name;
    }
    GGML_LOG_WARN("ARMT_CUDA_FUSION: there is no fusion \"%s\"; there are %s\n", name.c_str(), names.c_str());
}

fusions read_fusions() {
    const auto & device = ggml_cuda_info().devices[ggml_cuda_get_device()];
    if (device.cc < GGML_CUDA_CC_AMPERE || !GGML_CUDA_CC_IS_NVIDIA(device.cc)) { // no asynchronous copies, no bf16 in tensor cores
        return {};
    }
    const char * value = getenv("ARMT_CUDA_FUSION");
    fusions on = {};
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
    on.features = on.dpfp && device.smpbo >= armt_features_shared();
    on.write    = on.write && device.smpbo >= armt_features_shared();
    return on;
}

// where the numbers of a reshaped tensor come from
const ggml_tensor * root_of(const ggml_tensor * t) {
    while ((t->op == GGML_OP_RESHAPE || t->op == GGML_OP_VIEW || t->op == GGML_OP_PERMUTE) && t->src[0]->op != GGML_OP_NONE &&
           ggml_nelements(t) == ggml_nelements(t->src[0]) && t->data == t->src[0]->data) {
        t = t->src[0];
    }
    return t;
}

bool is_noop(const ggml_tensor * t) {
    return t->op == GGML_OP_NONE || t->op == GGML_OP_RESHAPE || t->op == GGML_OP_VIEW || t->op == GGML_OP_PERMUTE || t->op == GGML_OP_TRANSPOSE;
}

int32_t n_uses(const ggml_cgraph * cgraph, const ggml_tensor * t) {
    const size_t at = ggml_hash_find(&cgraph->visited_hash_set, t);
    return at != GGML_HASHSET_FULL && ggml_bitset_get(cgraph->visited_hash_set.used, at) ? cgraph->use_counts[at] : 0;
}

// The nodes that read t or a view of it, all of them: false where some are beyond the window. last: index of the last.
bool find_readers(const ggml_cgraph * cgraph, int i, const ggml_tensor * t, std::vector<const ggml_tensor *> & readers, int & last) {
    if (t->view_src != nullptr || (t->flags & GGML_TENSOR_FLAG_OUTPUT) != 0) {
        return false;
    }
    std::vector<const ggml_tensor *> names = {t};
    int64_t n_left = n_uses(cgraph, t);
    for (int j = i + 1; j < cgraph->n_nodes && j <= i + WINDOW && n_left > 0; ++j) {
        const ggml_tensor * node = cgraph->nodes[j];
        bool reads = false;
        for (const ggml_tensor * src : node->src) {
            if (src != nullptr && std::find(names.begin(), names.end(), src) != names.end()) {
                n_left--;
                reads = true;
            }
        }
        if (reads && is_noop(node)) {
            names.push_back(node);
            n_left += n_uses(cgraph, node);
        } else if (reads) {
            readers.push_back(node);
            last = j;
        }
    }
    return n_left == 0 && !readers.empty();
}

bool is_16_bit(ggml_type type) {
    return type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

// The type that a weight is multiplied in, which its input needs too; GGML_TYPE_COUNT: none
ggml_type product_type(const ggml_tensor * w) {
    if (is_16_bit(w->type)) {
        return w->type;
    }
    return ggml_is_quantized(w->type) && ggml_is_contiguous(w) && ggml_get_to_fp16_cuda(w->type) != nullptr ? GGML_TYPE_F16 : GGML_TYPE_COUNT;
}

// A product in 16 bits that this file can compute
bool is_product(const ggml_tensor * mm) {
    if (mm->op != GGML_OP_MUL_MAT) {
        return false;
    }
    const ggml_tensor * w = mm->src[0];
    const ggml_tensor * x = mm->src[1];
    if (product_type(w) == GGML_TYPE_COUNT) {
        return false;
    }
    // Products that ask for F32 have inputs that no norm bounds. With quantized weights those are ggml's: its kernels scale the input by blocks, where F16 would
    // overflow. With F16 weights fuse_write computes them, in units in which they fit.
    const bool fits = ggml_is_quantized(w->type) ? x->ne[1] >= ARMT_CONVERTED_MIN_ROWS && mm->op_params[0] != GGML_PREC_F32
                                                 : x->ne[1] >= MIN_ROWS && w->nb[0] == 2 && w->nb[1] % 16 == 0;
    return fits && w->ne[0] % 8 == 0 && w->ne[1] % 8 == 0 && w->ne[3] == 1 && x->ne[3] == 1 && w->ne[2] == x->ne[2] && x->type == GGML_TYPE_F32 &&
           mm->type == GGML_TYPE_F32 && ggml_is_contiguous(x) && ggml_is_contiguous(mm);
}

// The type that a result can have where all that reads it are such products; GGML_TYPE_COUNT: none
ggml_type narrow_type(const ggml_cgraph * cgraph, int i, const ggml_tensor * t, int & last) {
    std::vector<const ggml_tensor *> readers;
    if (!ggml_is_contiguous(t) || !find_readers(cgraph, i, t, readers, last)) {
        return GGML_TYPE_COUNT;
    }
    for (const ggml_tensor * mm : readers) {
        if (!is_product(mm) || root_of(mm->src[1]) != t || root_of(mm->src[0]) == t || product_type(mm->src[0]) != product_type(readers[0]->src[0])) {
            return GGML_TYPE_COUNT;
        }
    }
    return product_type(readers[0]->src[0]);
}

bool is_swiglu(const ggml_tensor * t) {
    return t->op == GGML_OP_GLU && ggml_get_glu_op(t) == GGML_GLU_OP_SWIGLU && t->src[1] == nullptr && t->op_params[1] == 0 && ggml_is_contiguous(t->src[0]) &&
           t->src[0]->type == GGML_TYPE_F32 && t->ne[0] % 8 == 0;
}

bool overlap(const ggml_tensor * a, const void * data, size_t size) {
    const char * a0 = (const char *) a->data;
    const char * b0 = (const char *) data;
    return a0 < b0 + size && b0 < a0 + ggml_nbytes(a);
}

bool overlap(const ggml_tensor * a, const ggml_tensor * b) {
    return overlap(a, b->data, ggml_nbytes(b));
}

int next_node(const ggml_cgraph * cgraph, int i) {
    do {
        ++i;
    } while (i < cgraph->n_nodes && is_noop(cgraph->nodes[i]));
    return i;
}

cudaDataType_t cuda_type(ggml_type type) {
    return type == GGML_TYPE_F32 ? CUDA_R_32F : type == GGML_TYPE_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

void * allocate(context_state & state, size_t size) {
    void * data = nullptr;
    CUDA_CHECK(cudaMalloc(&data, size));
    state.allocated.push_back(data);
    return data;
}

void * reserve(context_state & state, buffer & buf, size_t size) {
    if (buf.size < size) {
        buf.data = allocate(state, size);
        buf.size = size;
    }
    return buf.data;
}

//
// products
//

// How much of a weight is multiplied at a time: layers, or else rows of one layer
struct share {
    int64_t n_layers;
    int64_t n_rows;
};

share at_once(const ggml_tensor * w) {
    if (is_16_bit(w->type)) {
        return {w->ne[2], w->ne[1]};
    }
    const int64_t n_most = int64_t(ARMT_CONVERTED_BYTES / sizeof(half)) / w->ne[0]; // rows
    if (w->ne[1] > n_most) {
        return {1, std::max<int64_t>(n_most / 128, 1) * 128};
    }
    int64_t n_layers = std::min(n_most / w->ne[1], w->ne[2]);
    while (w->ne[2] % n_layers != 0) {
        --n_layers;
    }
    return {n_layers, w->ne[1]};
}

// 16 bits, strides in elements
struct weights {
    const void * data;
    int64_t      row;
    int64_t      layer;
};

// Those of a part of w, valid until the next call.
// Where ggml leaves quantized weights to cuBLAS (ggml_cuda_mul_mat_cublas), it converts them and the input with the same functions, but adds in F16. On cards with int8
// tensor cores it does not: it multiplies them itself, by inputs rounded to 8 bits (ggml_cuda_should_use_mmq), which is less exact than F16 and slower with many rows.
weights get_weights(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * w, int64_t layer, int64_t row, share part) {
    const char * data = (const char *) w->data + layer * w->nb[2] + row * w->nb[1];
    if (is_16_bit(w->type)) {
        return {data, int64_t(w->nb[1]) / 2, int64_t(w->nb[2]) / 2};
    }
    const int64_t n    = part.n_layers * part.n_rows * w->ne[0];
    const size_t  need = n * sizeof(half);
    size_t        size = ARMT_CONVERTED_BYTES; // or a small part of it: buffers that were too small stay
    while (size / 16 >= need) {
        size /= 16;
    }
    half * converted = (half *) reserve(state, state.converted, std::max(size, need));
    ggml_get_to_fp16_cuda(w->type)(data, converted, n, ctx.stream());
    return {converted, w->ne[0], w->ne[0] * part.n_rows};
}

void multiply(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm, const void * x, void * out, ggml_type type_out, float factor = 1.0f) {
    const ggml_tensor *  w     = mm->src[0];
    const float          zero  = 0.0f;
    const cudaDataType_t type  = cuda_type(product_type(w));
    const share          most  = at_once(w);
    const int64_t        n_x   = w->ne[0] * mm->ne[1]; // of a layer
    const int64_t        n_out = mm->ne[0] * mm->ne[1];
    for (int64_t layer = 0; layer < w->ne[2]; layer += most.n_layers) {
        for (int64_t row = 0; row < w->ne[1]; row += most.n_rows) {
            const share   part = {most.n_layers, std::min(most.n_rows, w->ne[1] - row)};
            const weights a    = get_weights(ctx, state, w, layer, row, part);
            const char *  b    = (const char *) x + layer * n_x * 2;
            char *        c    = (char *) out + (layer * n_out + row) * ggml_type_size(type_out);
            CUBLAS_CHECK(cublasGemmStridedBatchedEx(ctx.cublas_handle(), CUBLAS_OP_T, CUBLAS_OP_N, part.n_rows, mm->ne[1], w->ne[0], &factor, a.data, type, a.row,
                                                    a.layer, b, type, w->ne[0], n_x, &zero, c, cuda_type(type_out), mm->ne[0], n_out, part.n_layers,
                                                    CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT_TENSOR_OP));
        }
    }
}

// sum = w*x + residual. False, with nothing done, where cuBLASLt has no way to do it, or one layer is too large.
bool multiply_add(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm, const void * x, const ggml_tensor * residual,
                  const ggml_tensor * sum) {
    const ggml_tensor * w    = mm->src[0];
    const share         part = at_once(w);
    if (part.n_rows < w->ne[1]) {
        return false;
    }
    if (state.lt == nullptr) {
        CUBLAS_CHECK(cublasLtCreate(&state.lt));
    }
    const int32_t  n_batch = part.n_layers;
    const int64_t  n       = w->ne[0];
    const int64_t  n_x     = n * mm->ne[1]; // of a layer
    const bool     narrow  = is_16_bit(w->type);
    const auto     make    = [&](cudaDataType_t type, uint64_t rows, uint64_t cols, int64_t ld, int64_t stride) {
        cublasLtMatrixLayout_t layout;
        CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&layout, type, rows, cols, ld));
        CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &n_batch, sizeof(n_batch)));
        CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof(stride)));
        return layout;
    };
    const cudaDataType_t   type = cuda_type(product_type(w));
    cublasLtMatmulDesc_t   desc;
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
    cublasLtMatrixLayout_t a = make(type, n, w->ne[1], narrow ? w->nb[1] / 2 : n, narrow ? w->nb[2] / 2 : n * w->ne[1]);
    cublasLtMatrixLayout_t b = make(type, n, mm->ne[1], n, n_x);
    cublasLtMatrixLayout_t c = make(CUDA_R_32F, mm->ne[0], mm->ne[1], residual->nb[1] / 4, residual->nb[2] / 4);
    cublasLtMatrixLayout_t d = make(CUDA_R_32F, mm->ne[0], mm->ne[1], sum->nb[1] / 4, sum->nb[2] / 4);

    ctx.cublas_handle(); // makes the workspace
    void *       workspace      = ctx.cublas_workspaces[ctx.device][ctx.curr_stream_no];
    const size_t workspace_size = workspace == nullptr ? 0 : ctx.cublas_workspace_sizes[ctx.device];

    cublasLtMatmulPreference_t preference;
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_size, sizeof(workspace_size)));
    if (part.n_layers < w->ne[2]) { // the later layers' inputs and results begin where their strides put them
        const auto set_alignment = [&](cublasLtMatmulPreferenceAttributes_t attribute, const void * data, size_t layer) {
            const size_t   bits      = size_t(data) | part.n_layers * layer | 256;
            const uint32_t alignment = bits & (~bits + 1);
            CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof(alignment)));
        };
        set_alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, x, n_x * 2);
        set_alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, residual->data, residual->nb[2]);
        set_alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, sum->data, sum->nb[2]);
    }
    cublasLtMatmulHeuristicResult_t result = {};
    int  n_results = 0;
    bool done = cublasLtMatmulAlgoGetHeuristic(state.lt, desc, a, b, c, d, preference, 1, &result, &n_results) == CUBLAS_STATUS_SUCCESS && n_results > 0;
    for (int64_t layer = 0; done && layer < w->ne[2]; layer += part.n_layers) {
        const float  one = 1.0f;
        const void * pa  = get_weights(ctx, state, w, layer, 0, part).data;
        const char * pb  = (const char *) x + layer * n_x * 2;
        const char * pc  = (const char *) residual->data + layer * residual->nb[2];
        char *       pd  = (char *) sum->data + layer * sum->nb[2];
        CUBLAS_CHECK(cublasLtMatmul(state.lt, desc, &one, pa, a, pb, b, &one, pc, c, pd, d, &result.algo, workspace, workspace_size, ctx.stream()));
    }
    cublasLtMatmulPreferenceDestroy(preference);
    for (cublasLtMatrixLayout_t layout : {a, b, c, d}) {
        cublasLtMatrixLayoutDestroy(layout);
    }
    cublasLtMatmulDescDestroy(desc);
    return done;
}

// out = silu(gate)*up, where w*x is both. False, with nothing done, where there is no kernel for it, or one layer is too large.
bool multiply_swiglu(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm, const void * x, void * out) {
    const ggml_tensor * w      = mm->src[0];
    const share         part   = at_once(w);
    const bool          narrow = is_16_bit(w->type);
    armt_swiglu_product_args args = {};
    args.type         = product_type(w);
    args.weight_row   = narrow ? w->nb[1] / 2 : w->ne[0];
    args.weight_batch = narrow ? w->nb[2] / 2 : w->ne[0] * w->ne[1];
    args.n            = w->ne[0];
    args.n_cols       = w->ne[1] / 2;
    args.n_rows       = mm->ne[1];
    args.n_batch      = part.n_layers;
    if (part.n_rows < w->ne[1] || !armt_has_swiglu_product(args)) {
        return false;
    }
    for (int64_t layer = 0; layer < w->ne[2]; layer += part.n_layers) {
        args.x      = (const char *) x + layer * args.n_rows * args.n * 2;
        args.weight = get_weights(ctx, state, w, layer, 0, part).data;
        args.output = (char *) out + layer * args.n_rows * args.n_cols * 2;
        armt_swiglu_product(args, ctx.stream());
    }
    return true;
}

// rows that lie one behind the other, batches maybe further apart
bool has_dense_rows(const ggml_tensor * t) {
    return t->type == GGML_TYPE_F32 && t->nb[0] == 4 && t->nb[1] == t->ne[0] * t->nb[0] && t->nb[2] % 16 == 0 && t->ne[3] == 1;
}

bool is_read_by_rope(const context_state & state, const ggml_cgraph * cgraph, int i);

int fuse_product(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * mm = cgraph->nodes[i];
    if (!is_product(mm)) {
        return -1;
    }
    const auto x = state.narrow.find(root_of(mm->src[1]));
    if (x == state.narrow.end()) {
        return -1;
    }
    std::vector<const ggml_tensor *> readers;
    int last = i;
    if (find_readers(cgraph, i, mm, readers, last) && readers.size() == 1) {
        const ggml_tensor * reader = readers[0];
        const int           j      = next_node(cgraph, i);
        const bool is_gated = is_swiglu(reader) && root_of(reader->src[0]) == mm && narrow_type(cgraph, last, reader, last) == x->second.type;
        if (state.on.gate && is_gated && j < cgraph->n_nodes && reader == cgraph->nodes[j] && !overlap(reader, x->second.data, ggml_nelements(mm->src[1]) * 2) &&
            multiply_swiglu(ctx, state, mm, x->second.data, reader->data)) {
            state.narrow[reader] = {reader->data, x->second.type};
            return j - i;
        }
        if (state.on.glu && is_gated) {
            multiply(ctx, state, mm, x->second.data, mm->data, x->second.type);
            state.narrow[mm] = {mm->data, x->second.type};
            return 0;
        }
        if (state.on.residual && j < cgraph->n_nodes && reader == cgraph->nodes[j] && reader->op == GGML_OP_ADD) {
            const bool          first    = root_of(reader->src[0]) == mm;
            const ggml_tensor * own      = reader->src[first ? 0 : 1];
            const ggml_tensor * residual = reader->src[first ? 1 : 0];
            if (ggml_are_same_shape(own, residual) && ggml_are_same_shape(own, reader) && ggml_are_same_shape(own, mm) && has_dense_rows(residual) &&
                has_dense_rows(reader) && (residual->data == reader->data || !overlap(residual, reader)) && !overlap(reader, x->second.data, ggml_nelements(mm->src[1]) * 2) &&
                multiply_add(ctx, state, mm, x->second.data, residual, reader)) {
                return j - i;
            }
        }
    }
    if (is_read_by_rope(state, cgraph, i)) {
        multiply(ctx, state, mm, x->second.data, mm->data, x->second.type);
        state.narrow[mm] = {mm->data, x->second.type};
        return 0;
    }
    multiply(ctx, state, mm, x->second.data, mm->data, GGML_TYPE_F32);
    return 0;
}

//
// norm, and the memory's read before it
//

// norm (with its weight, at node i) of x or of x and what is recalled
bool match_norm(context_state & state, const ggml_cgraph * cgraph, int i, armt_norm_args & args, int & mul_at, int & last) {
    const ggml_tensor * norm = cgraph->nodes[i];
    mul_at = next_node(cgraph, i);
    if (norm->op != GGML_OP_RMS_NORM || mul_at >= cgraph->n_nodes || n_uses(cgraph, norm) != 1) {
        return false;
    }
    const ggml_tensor * mul = cgraph->nodes[mul_at];
    if (mul->op != GGML_OP_MUL || mul->src[0] != norm) {
        return false;
    }
    const ggml_tensor * x = norm->src[0];
    const ggml_tensor * w = mul->src[1];
    ggml_type type = narrow_type(cgraph, mul_at, mul, last);
    if (type == GGML_TYPE_COUNT && x->ne[1] * x->ne[2] < MIN_ROWS && ggml_is_contiguous(mul) && ggml_is_contiguous(x) &&
        (mul->data == x->data || !overlap(mul, x))) {
        type = GGML_TYPE_F32; // the products are ggml's
    }
    if (type == GGML_TYPE_COUNT || !has_dense_rows(x) || w->type != GGML_TYPE_F32 || w->nb[0] != 4 || w->ne[0] != x->ne[0] || w->ne[1] != 1 || w->ne[3] != 1 ||
        (w->ne[2] != 1 && w->ne[2] != x->ne[2]) || x->ne[0] % 8 != 0 || x->ne[0] > 12 * 1024 || w->nb[2] % 16 != 0 || state.scratch_last > i) {
        return false;
    }
    args.x            = (const float *) x->data;
    args.x_batch      = x->nb[2] / 4;
    args.weight       = (const float *) w->data;
    args.weight_batch = w->ne[2] == 1 ? 0 : w->nb[2] / 4;
    args.type         = type;
    args.n            = x->ne[0];
    args.n_rows       = x->ne[1];
    args.n_batch      = x->ne[2];
    memcpy(&args.eps, norm->op_params, sizeof(float));
    return args.n_batch <= 65535;
}

void run_norm(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, armt_norm_args & args, int mul_at, int last) {
    const ggml_tensor * mul = cgraph->nodes[mul_at];
    if (args.type == GGML_TYPE_F32) {
        args.normed = mul->data;
        armt_norm(args, ctx.stream());
        return;
    }
    args.normed = reserve(state, state.scratch, ggml_nelements(mul) * 2);
    armt_norm(args, ctx.stream());
    state.narrow[mul]  = {args.normed, args.type};
    state.scratch_last = last;
}

int fuse_norm(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    armt_norm_args args = {};
    int mul_at = i;
    int last   = i;
    if (!state.on.norm || !match_norm(state, cgraph, i, args, mul_at, last)) {
        return -1;
    }
    run_norm(ctx, state, cgraph, args, mul_at, last);
    return mul_at - i;
}

struct read_nodes {
    const ggml_tensor * x;
    const ggml_tensor * values; // view of what was recalled, denominators behind them
    const ggml_tensor * add;
    int                 i_div;
    int                 i_add;
    float               eps;
};

// From node i on: cont(denominators), scale and bias, values / that, x + that
bool match_read(const ggml_cgraph * cgraph, int i, read_nodes & nodes) {
    const int i_scale = next_node(cgraph, i);
    const int i_div   = next_node(cgraph, i_scale);
    const int i_add   = next_node(cgraph, i_div);
    if (i_add >= cgraph->n_nodes) {
        return false;
    }
    const ggml_tensor * cont  = cgraph->nodes[i];
    const ggml_tensor * scale = cgraph->nodes[i_scale];
    const ggml_tensor * div   = cgraph->nodes[i_div];
    const ggml_tensor * add   = cgraph->nodes[i_add];
    if (cont->op != GGML_OP_CONT || scale->op != GGML_OP_SCALE || scale->src[0] != cont || div->op != GGML_OP_DIV || div->src[1] != scale ||
        add->op != GGML_OP_ADD || root_of(add->src[1]) != div || n_uses(cgraph, cont) != 1 || n_uses(cgraph, scale) != 1) {
        return false;
    }
    std::vector<const ggml_tensor *> readers;
    int last = i_div;
    if (!find_readers(cgraph, i_div, div, readers, last) || readers.size() != 1 || readers[0] != add) {
        return false;
    }
    const ggml_tensor * values = div->src[0];
    const ggml_tensor * sums   = cont->src[0];
    const ggml_tensor * x      = add->src[0];
    const int64_t       n      = x->ne[0];
    float factor;
    float bias;
    memcpy(&factor, (const float *) scale->op_params + 0, sizeof(float));
    memcpy(&bias, (const float *) scale->op_params + 1, sizeof(float));
    nodes = {x, values, add, i_div, i_add, bias};
    return values->op == GGML_OP_VIEW && sums->op == GGML_OP_VIEW && values->src[0] == sums->src[0] && values->ne[0] == n && sums->ne[0] == 1 &&
           values->ne[1] == x->ne[1] && values->ne[2] == 1 && values->ne[3] == x->ne[2] && values->nb[0] == 4 && values->nb[1] % 16 == 0 &&
           values->nb[3] == values->ne[1] * values->nb[1] && (const char *) sums->data == (const char *) values->data + n * 4 &&
           sums->nb[1] == values->nb[1] && factor == 1.0f && ggml_are_same_shape(x, add) && has_dense_rows(x) && has_dense_rows(add) && n % 8 == 0 &&
           n <= 12 * 1024 && x->ne[2] <= 65535 && ((add->data == x->data && add->nb[2] == x->nb[2]) || !overlap(add, x));
}

// that, and the norm of it
int fuse_read(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    read_nodes read = {};
    if (!state.on.read || !match_read(cgraph, i, read) || overlap(read.add, read.values->src[0])) {
        return -1;
    }
    const ggml_tensor * x      = read.x;
    const ggml_tensor * values = read.values;
    const ggml_tensor * add    = read.add;
    armt_norm_args args = {};
    args.type = GGML_TYPE_BF16;
    int end    = read.i_add;
    int last   = read.i_div;
    int mul_at = 0;
    const int  i_norm = next_node(cgraph, read.i_add);
    const bool normed = state.on.norm && i_norm < cgraph->n_nodes && cgraph->nodes[i_norm]->src[0] == add && match_norm(state, cgraph, i_norm, args, mul_at, last) &&
                        (args.type != GGML_TYPE_F32 || (!overlap(cgraph->nodes[mul_at], values->src[0]) && !overlap(cgraph->nodes[mul_at], add) &&
                                                        !overlap(cgraph->nodes[mul_at], x)));
    args.x          = (const float *) x->data;
    args.x_batch    = x->nb[2] / 4;
    args.recall     = (const float *) values->data;
    args.recall_row = values->nb[1] / 4;
    args.recall_eps = read.eps;
    args.sum        = (float *) add->data;
    args.sum_batch  = add->nb[2] / 4;
    args.n          = x->ne[0];
    args.n_rows     = x->ne[1];
    args.n_batch    = x->ne[2];
    if (normed) {
        run_norm(ctx, state, cgraph, args, mul_at, last);
        end = mul_at;
    } else {
        armt_norm(args, ctx.stream());
    }
    return end - i;
}

//
// SwiGLU
//

int fuse_swiglu(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * glu = cgraph->nodes[i];
    int last = i;
    if (!state.on.glu || !is_swiglu(glu)) {
        return -1;
    }
    const ggml_type type = narrow_type(cgraph, i, glu, last);
    if (type == GGML_TYPE_COUNT) {
        return -1;
    }
    const auto x = state.narrow.find(root_of(glu->src[0]));
    if (x == state.narrow.end() && overlap(glu, glu->src[0])) {
        return -1;
    }
    armt_swiglu(x == state.narrow.end() ? glu->src[0]->data : x->second.data, x == state.narrow.end() ? GGML_TYPE_F32 : type, glu->data, type, glu->ne[0],
                ggml_nrows(glu), ctx.stream());
    state.narrow[glu] = {glu->data, type};
    return 0;
}

//
// DPFP
//

struct dpfp_nodes {
    const ggml_tensor * x;
    const ggml_tensor * mul; // the features, {n_roll, order, n}
    int                 last;
    int64_t             n_roll;
    int64_t             order;
};

// From node i on: relu(x), -x, relu(-x), both one behind the other, their end put before them, windows of that times them
bool match_dpfp(const ggml_cgraph * cgraph, int i, dpfp_nodes & nodes) {
    const ggml_tensor * node[6];
    int at = i;
    for (const ggml_tensor *& n : node) {
        if (at >= cgraph->n_nodes) {
            return false;
        }
        n  = cgraph->nodes[at];
        at = next_node(cgraph, at);
    }
    const auto is_unary = [](const ggml_tensor * t, ggml_unary_op op) { return t->op == GGML_OP_UNARY && ggml_get_unary_op(t) == op; };
    // relu, neg, relu, concat, concat, mul
    const ggml_tensor * x      = node[0]->src[0];
    const ggml_tensor * y      = node[3];
    const ggml_tensor * cyclic = node[4];
    const ggml_tensor * mul    = node[5];
    if (!is_unary(node[0], GGML_UNARY_OP_RELU) || !is_unary(node[1], GGML_UNARY_OP_NEG) || node[1]->src[0] != x ||
        !is_unary(node[2], GGML_UNARY_OP_RELU) || node[2]->src[0] != node[1] || y->op != GGML_OP_CONCAT || y->src[0] != node[0] || y->src[1] != node[2] ||
        y->op_params[0] != 0 || cyclic->op != GGML_OP_CONCAT || cyclic->src[1] != y || cyclic->op_params[0] != 0 || mul->op != GGML_OP_MUL) {
        return false;
    }
    const ggml_tensor * end     = cyclic->src[0];
    const ggml_tensor * windows = mul->src[0];
    const int64_t       n_roll  = y->ne[0];
    const int64_t       order   = mul->ne[1];
    int  last_mul = i;
    for (int j = i; j < cgraph->n_nodes && cgraph->nodes[j] != mul; ++j) {
        last_mul = j + 1;
    }
    const bool fits = end->op == GGML_OP_VIEW && end->src[0] == y && end->ne[0] == order && end->view_offs == size_t(n_roll - order) * 4 &&
                      windows->op == GGML_OP_VIEW && windows->src[0] == cyclic && windows->nb[1] == 4 && windows->nb[2] == cyclic->nb[1] &&
                      windows->ne[0] == n_roll && windows->view_offs == 0 && root_of(mul->src[1]) == y && mul->src[1]->ne[0] == n_roll && mul->ne[0] == n_roll &&
                      y->ne[1] == mul->ne[2] && n_roll <= 1024 && n_roll % 2 == 0 && ggml_is_contiguous(x) && x->type == GGML_TYPE_F32 && ggml_is_contiguous(mul);
    std::vector<const ggml_tensor *> readers;
    int last = i;
    if (!fits || !find_readers(cgraph, i, cyclic, readers, last) || readers.size() != 1 || n_uses(cgraph, y) != 3) {
        return false;
    }
    nodes = {x, mul, last_mul, n_roll, order};
    return true;
}

int fuse_dpfp(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    dpfp_nodes nodes = {};
    if (!state.on.dpfp || !match_dpfp(cgraph, i, nodes)) {
        return -1;
    }
    const float *                input = (const float *) nodes.x->data;
    ggml_cuda_pool_alloc<float>  copy(ctx.pool());
    if (overlap(nodes.x, nodes.mul)) {
        copy.alloc(ggml_nelements(nodes.x));
        CUDA_CHECK(cudaMemcpyAsync(copy.get(), input, ggml_nbytes(nodes.x), cudaMemcpyDeviceToDevice, ctx.stream()));
        input = copy.get();
    }
    armt_dpfp(input, (float *) nodes.mul->data, nodes.n_roll, nodes.order, nodes.mul->ne[2], ctx.stream());
    return nodes.last - i;
}

// The product before it too, where it has few columns. x: its input, {n, n_rows, n_batch}, rows maybe apart.
bool match_features(const ggml_cgraph * cgraph, int i, const ggml_tensor * x, armt_features_args & args, dpfp_nodes & nodes) {
    const ggml_tensor * mm = cgraph->nodes[i];
    const ggml_tensor * w  = mm->src[0];
    if (mm->op != GGML_OP_MUL_MAT || !is_16_bit(w->type) || w->nb[0] != 2 || w->nb[1] != size_t(w->ne[0]) * 2 || w->nb[2] % 16 != 0 || w->ne[3] != 1 ||
        w->ne[0] % FEATURE_MULTIPLE != 0 || w->ne[1] > FEATURE_MOST_COLS || x->type != GGML_TYPE_F32 || x->nb[0] != 4 || x->nb[1] % 16 != 0 || x->nb[2] % 16 != 0 ||
        x->ne[3] != 1 || x->ne[2] > 65535 || x->ne[0] != w->ne[0] || (w->ne[2] != 1 && w->ne[2] != x->ne[2]) || n_uses(cgraph, mm) != 1 || !match_dpfp(cgraph, next_node(cgraph, i), nodes) || root_of(nodes.x) != mm) {
        return false;
    }
    args.x            = (const float *) x->data;
    args.x_row        = x->nb[1] / 4;
    args.x_batch      = x->nb[2] / 4;
    args.weight       = w->data;
    args.weight_batch = w->ne[2] == 1 ? 0 : w->nb[2] / 2;
    args.type         = w->type;
    args.output       = (float *) nodes.mul->data;
    args.narrow       = nullptr;
    args.n            = w->ne[0];
    args.n_cols       = w->ne[1];
    args.n_roll       = nodes.n_roll;
    args.order        = nodes.order;
    args.n_rows       = x->ne[1];
    args.n_batch      = x->ne[2];
    return true;
}

int fuse_features(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    armt_features_args  args  = {};
    dpfp_nodes          nodes = {};
    const ggml_tensor * x     = cgraph->nodes[i]->src[1];
    if (!state.on.features || state.narrow.count(root_of(x)) > 0 || !match_features(cgraph, i, x, args, nodes) || x->ne[1] < MIN_ROWS || overlap(x, nodes.mul)) {
        return -1;
    }
    armt_features(args, ctx.stream());
    return nodes.last - i;
}

// The feature map, the product with the memory and the read of one row of each sequence, as a token's step has them
int fuse_row_read(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    dpfp_nodes dpfp = {};
    read_nodes read = {};
    if (!state.on.read || !state.on.dpfp || !match_dpfp(cgraph, i, dpfp)) {
        return -1;
    }
    const int i_mm = next_node(cgraph, dpfp.last);
    if (i_mm >= cgraph->n_nodes || cgraph->nodes[i_mm]->op != GGML_OP_MUL_MAT || !match_read(cgraph, next_node(cgraph, i_mm), read)) {
        return -1;
    }
    const ggml_tensor * mm    = cgraph->nodes[i_mm];
    const ggml_tensor * az    = mm->src[0]; // {n_key, n + 1 and more, 1, n_batch}
    const int64_t       n     = read.x->ne[0];
    const int64_t       n_key = dpfp.n_roll * dpfp.order;
    std::vector<const ggml_tensor *> of_features;
    std::vector<const ggml_tensor *> of_recall;
    int last = i;
    const bool fits = read.x->ne[1] == 1 && read.values->src[0] == mm && read.values->view_offs == 0 && root_of(mm->src[1]) == dpfp.mul &&
                      find_readers(cgraph, dpfp.last, dpfp.mul, of_features, last) && of_features.size() == 1 &&
                      find_readers(cgraph, i_mm, mm, of_recall, last) && of_recall.size() == 2 && last <= read.i_add && az->type == GGML_TYPE_F32 &&
                      az->nb[0] == 4 && az->ne[0] == n_key && az->ne[1] > n && az->ne[2] == 1 && az->ne[3] == read.x->ne[2] && az->nb[1] % 16 == 0 &&
                      az->nb[3] % 16 == 0 && dpfp.mul->ne[2] == read.x->ne[2] && n_key % 4 == 0 && n_key <= 4096 && !overlap(read.add, az) &&
                      !overlap(read.add, dpfp.x);
    if (!fits) {
        return -1;
    }
    armt_row_read_args args = {};
    args.x         = (const float *) read.x->data;
    args.x_batch   = read.x->nb[2] / 4;
    args.query     = (const float *) dpfp.x->data;
    args.az        = (const float *) az->data;
    args.az_row    = az->nb[1] / 4;
    args.az_batch  = az->nb[3] / 4;
    args.eps       = read.eps;
    args.sum       = (float *) read.add->data;
    args.sum_batch = read.add->nb[2] / 4;
    args.n         = n;
    args.n_roll    = dpfp.n_roll;
    args.order     = dpfp.order;
    args.n_batch   = read.x->ne[2];
    armt_row_read(args, ctx.stream());
    return read.i_add - i;
}

//
// the memory's write
//

const ggml_tensor * without_views(const ggml_tensor * t) {
    while (is_noop(t) && t->op != GGML_OP_NONE) {
        t = t->src[0];
    }
    return t;
}

float param(const ggml_tensor * t, int i) {
    float value;
    memcpy(&value, (const float *) t->op_params + i, sizeof(float));
    return value;
}

// From the copy of the memory tokens' rows to the addition to the memory, for one head and models with the denominator and its correction
int fuse_write(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * rows = cgraph->nodes[i];
    const ggml_tensor * x    = rows->src[0]; // {n, n_rows, n_batch}
    if (!state.on.write || x->ne[3] != 1 || state.narrow.count(without_views(x)) > 0) {
        return -1;
    }
    const int i_k = next_node(cgraph, i);
    armt_features_args features = {};
    dpfp_nodes         dpfp     = {};
    if (i_k >= cgraph->n_nodes || cgraph->nodes[i_k]->src[1] == nullptr || root_of(cgraph->nodes[i_k]->src[1]) != rows ||
        !match_features(cgraph, i_k, x, features, dpfp)) {
        return -1;
    }
    int last = dpfp.last;
    const auto is_delta = [&](const ggml_tensor * t) {
        return t->op == GGML_OP_ADD && t->src[1]->op == GGML_OP_MUL_MAT && t->src[1]->src[0]->op == GGML_OP_CONT && without_views(t->src[1]->src[0]->src[0]) == dpfp.mul;
    };
    while (last < cgraph->n_nodes && last <= i + 2 * WINDOW && !is_delta(cgraph->nodes[last])) {
        ++last;
    }
    if (last >= cgraph->n_nodes || !is_delta(cgraph->nodes[last])) {
        return -1;
    }
    // backwards from there
    const ggml_tensor * sum      = cgraph->nodes[last];
    const ggml_tensor * az       = sum->src[0];
    const ggml_tensor * delta    = sum->src[1];
    const ggml_tensor * keys_t   = delta->src[0];
    const ggml_tensor * update_t = delta->src[1];
    std::vector<const ggml_tensor *> found = {rows, cgraph->nodes[i_k], sum, delta, keys_t, update_t};
    for (int j = i_k; j <= dpfp.last; ++j) {
        found.push_back(cgraph->nodes[j]);
    }
    // t without its views, where it is of that kind
    const auto follow = [&](const ggml_tensor * t, ggml_op op) -> const ggml_tensor * {
        t = t == nullptr ? nullptr : without_views(t);
        if (t == nullptr || t->op != op) {
            return nullptr;
        }
        found.push_back(t);
        return t;
    };
    const auto src = [](const ggml_tensor * t, int k) { return t == nullptr ? nullptr : t->src[k]; };

    const ggml_tensor * both    = update_t->op == GGML_OP_CONT ? follow(update_t->src[0], GGML_OP_CONCAT) : nullptr;
    const ggml_tensor * scaled  = follow(src(both, 0), GGML_OP_MUL);
    const ggml_tensor * news    = follow(src(scaled, 0), GGML_OP_SUB);
    const ggml_tensor * sigmoid = follow(src(scaled, 1), GGML_OP_UNARY);
    const ggml_tensor * biased  = follow(src(sigmoid, 0), GGML_OP_ADD);
    const ggml_tensor * beta    = follow(src(biased, 0), GGML_OP_MUL_MAT);
    const ggml_tensor * value   = follow(src(news, 0), GGML_OP_MUL_MAT);
    const ggml_tensor * divided = follow(src(news, 1), GGML_OP_DIV);
    const ggml_tensor * recall  = follow(src(divided, 0), GGML_OP_MUL_MAT);
    const ggml_tensor * denom   = follow(src(divided, 1), GGML_OP_SCALE);
    const ggml_tensor * sums    = follow(src(denom, 0), GGML_OP_CONT);

    const ggml_tensor * novelty = both == nullptr ? nullptr : without_views(both->src[1]);
    const ggml_tensor * later   = nullptr;
    if (novelty != nullptr && novelty->op == GGML_OP_ADD) {
        found.push_back(novelty);
        const ggml_tensor * some = follow(novelty->src[0], GGML_OP_MUL);
        const ggml_tensor * rest = follow(novelty->src[1], GGML_OP_SCALE);
        if (some == nullptr || rest == nullptr || rest->src[0] != some->src[1] || param(rest, 0) != -1.0f || param(rest, 1) != 1.0f) {
            return -1;
        }
        later   = some->src[1];
        novelty = some->src[0];
    }
    const ggml_tensor * clamp = follow(novelty, GGML_OP_CLAMP);
    const ggml_tensor * minus = follow(src(clamp, 0), GGML_OP_SCALE);
    const ggml_tensor * ratio = follow(src(minus, 0), GGML_OP_DIV);
    const ggml_tensor * norm  = follow(src(ratio, 1), GGML_OP_SCALE);
    const ggml_tensor * ones  = follow(src(norm, 0), GGML_OP_SUM_ROWS);
    const ggml_tensor * sqr   = follow(src(ones, 0), GGML_OP_SQR);
    if (sums == nullptr || beta == nullptr || value == nullptr || recall == nullptr || sqr == nullptr || ratio->src[0] != denom) {
        return -1;
    }
    for (int j = i; j <= last; ++j) {
        if (!is_noop(cgraph->nodes[j]) && std::find(found.begin(), found.end(), cgraph->nodes[j]) == found.end()) {
            return -1;
        }
    }
    const int64_t n       = x->ne[0];
    const int64_t n_rows  = x->ne[1];
    const int64_t n_batch = x->ne[2];
    const int64_t n_key   = dpfp.n_roll * dpfp.order;
    const ggml_tensor * w = beta->src[0];
    const ggml_tensor * b = biased->src[1];
    const bool fits =
        sum->data == az->data && ggml_get_unary_op(sigmoid) == GGML_UNARY_OP_SIGMOID && without_views(beta->src[1]) == rows && without_views(value->src[1]) == rows &&
        without_views(recall->src[1]) == dpfp.mul && without_views(sqr->src[0]) == dpfp.mul && is_product(value) && value->src[0]->type == features.type &&
        value->src[0]->ne[1] == n && w->type == features.type && w->ne[1] == 1 && w->nb[0] == 2 && w->nb[2] % 4 == 0 && (w->ne[2] == 1 || w->ne[2] == n_batch) &&
        b->type == GGML_TYPE_F32 && b->ne[0] == 1 && b->ne[1] == 1 && (b->ne[2] == 1 || b->ne[2] == n_batch) && features.n_cols * 2 == dpfp.n_roll &&
        divided->src[0]->op == GGML_OP_VIEW && divided->src[0]->src[0] == recall && divided->src[0]->view_offs == 0 && sums->src[0]->op == GGML_OP_VIEW &&
        sums->src[0]->src[0] == recall && sums->src[0]->view_offs == size_t(n) * 4 && param(denom, 0) == 1.0f && param(minus, 0) == -1.0f && param(minus, 1) == 1.0f &&
        param(norm, 0) == 1.0f && param(clamp, 0) == 0.0f && param(clamp, 1) == 1.0f && ggml_is_contiguous(recall) && recall->ne[0] >= n + 1 && recall->ne[0] % 4 == 0 &&
        recall->ne[1] == n_rows && recall->ne[2] == 1 && recall->ne[3] == n_batch && az->type == GGML_TYPE_F32 && az->ne[0] == n_key && az->ne[1] == n + 1 &&
        az->ne[2] == 1 && az->ne[3] == n_batch && recall->src[0]->data == az->data && recall->src[0]->nb[1] == az->nb[1] && recall->src[0]->nb[3] == az->nb[3] &&
        az->nb[1] % 16 == 0 && n % 8 == 0 && (later == nullptr || (later->type == GGML_TYPE_F32 && later->ne[0] == 1 && ggml_nelements(later) == n_batch));
    if (!fits) {
        return -1;
    }

    const int64_t n_out     = recall->ne[0];
    const size_t  x_size    = GGML_PAD(size_t(n_batch) * n_rows * n * 2, 256);
    const size_t  key_size  = GGML_PAD(size_t(n_batch) * n_rows * n_key * 4, 256);
    char *        scratch   = (char *) reserve(state, state.write, x_size + key_size + size_t(n_batch) * n_rows * n_out * 4);
    float *       keys      = (float *) (scratch + x_size);
    float *       update    = (float *) (scratch + x_size + key_size);
    cublasHandle_t handle   = ctx.cublas_handle();
    const float   one       = 1.0f;
    const float   zero      = 0.0f;

    features.output = keys;
    features.narrow = scratch;
    armt_features(features, ctx.stream());
    multiply(ctx, state, value, scratch, value->data, GGML_TYPE_F32, armt_narrow_unit(features.type));
    CUBLAS_CHECK(cublasSgemmStridedBatched(handle, CUBLAS_OP_T, CUBLAS_OP_N, n_out, n_rows, n_key, &one, (const float *) az->data, az->nb[1] / 4, az->nb[3] / 4, keys,
                                           n_key, n_key * n_rows, &zero, (float *) recall->data, n_out, n_out * n_rows, n_batch));
    armt_update_args args = {};
    args.x               = scratch;
    args.type            = features.type;
    args.beta            = w->data;
    args.beta_batch      = w->ne[2] == 1 ? 0 : w->nb[2] / 2;
    args.beta_bias       = (const float *) b->data;
    args.beta_bias_batch = b->ne[2] == 1 ? 0 : b->nb[2] / 4;
    args.value           = (const float *) value->data;
    args.recall          = (const float *) recall->data;
    args.recall_row      = n_out;
    args.recall_eps      = param(denom, 1);
    args.key             = keys;
    args.n_key           = n_key;
    args.key_eps         = param(norm, 1);
    args.later           = later == nullptr ? nullptr : (const float *) later->data;
    args.later_batch     = later == nullptr ? 0 : later->nb[3] / 4;
    args.output          = update;
    args.output_row      = n_out;
    args.n               = n;
    args.n_rows          = n_rows;
    args.n_batch         = n_batch;
    armt_update(args, ctx.stream());
    // the rows of zeros behind z stay zero
    CUBLAS_CHECK(cublasSgemmStridedBatched(handle, CUBLAS_OP_N, CUBLAS_OP_T, n_key, n_out, n_rows, &one, keys, n_key, n_key * n_rows, update, n_out, n_out * n_rows,
                                           &one, (float *) az->data, az->nb[1] / 4, az->nb[3] / 4, n_batch));
    return last - i;
}

//
// attention
//

bool is_attention(const ggml_tensor * t) {
    if (t->op != GGML_OP_FLASH_ATTN_EXT || t->src[3] == nullptr || t->src[4] != nullptr || strcmp(t->src[3]->name, "armt_causal_mask") != 0) {
        return false;
    }
    const ggml_tensor * q = t->src[0]; // {n_dims, n_rows, n_head, n_batch}
    const ggml_tensor * k = t->src[1];
    const ggml_tensor * v = t->src[2];
    float max_bias;
    float softcap;
    memcpy(&max_bias, (const float *) t->op_params + 1, sizeof(float));
    memcpy(&softcap, (const float *) t->op_params + 2, sizeof(float));
    const auto is_cache = [&](const ggml_tensor * kv) {
        return kv->type == GGML_TYPE_F16 && kv->ne[0] == q->ne[0] && kv->nb[0] == 2 && kv->nb[2] == size_t(kv->ne[0]) * 2 && kv->nb[1] % 16 == 0 &&
               kv->nb[3] % 16 == 0 && kv->ne[3] == q->ne[3] && kv->ne[1] >= GGML_PAD(q->ne[1], 64);
    };
    return (q->ne[0] == 64 || q->ne[0] == 128) && q->type == GGML_TYPE_F32 && q->nb[0] == 4 && q->nb[2] == size_t(q->ne[0]) * 4 &&
           q->nb[1] == size_t(q->ne[2]) * q->nb[2] && q->nb[3] == size_t(q->ne[1]) * q->nb[1] && is_cache(k) && is_cache(v) && q->ne[2] % k->ne[2] == 0 &&
           k->ne[2] == v->ne[2] && max_bias == 0.0f && softcap == 0.0f && ggml_is_contiguous(t) && q->ne[2] <= 65535 && q->ne[3] <= 65535;
}

int fuse_attention(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * fa = cgraph->nodes[i];
    if (!state.on.attention || !is_attention(fa)) {
        return -1;
    }
    const ggml_tensor * q  = fa->src[0];
    const ggml_tensor * k  = fa->src[1];
    const ggml_tensor * v  = fa->src[2];
    const auto narrow_q    = state.narrow.find(root_of(q));
    const bool is_narrow_q = narrow_q != state.narrow.end();
    int last = i;
    ggml_type type = narrow_type(cgraph, i, fa, last);
    if (type == GGML_TYPE_COUNT) {
        type = GGML_TYPE_F32;
    }
    armt_attention_args args = {};
    args.q         = is_narrow_q ? narrow_q->second.data : q->data;
    args.q_type    = is_narrow_q ? GGML_TYPE_F16 : GGML_TYPE_F32;
    args.k         = (const half *) k->data;
    args.v         = (const half *) v->data;
    args.k_row     = k->nb[1] / 2;
    args.k_batch   = k->nb[3] / 2;
    args.v_row     = v->nb[1] / 2;
    args.v_batch   = v->nb[3] / 2;
    args.output    = fa->data;
    args.type      = type;
    args.n_dims    = q->ne[0];
    args.n_head    = q->ne[2];
    args.n_head_kv = k->ne[2];
    args.n_rows    = q->ne[1];
    args.n_batch   = q->ne[3];
    memcpy(&args.scale, fa->op_params, sizeof(float));
    armt_attention(args, ctx.stream());
    if (type != GGML_TYPE_F32) {
        state.narrow[fa] = {fa->data, type};
    }
    return 0;
}

//
// RoPE and the K/V store
//

// From node i on: RoPE of K into the cache, V into the cache, RoPE of Q
bool match_rope(const context_state & state, const ggml_cgraph * cgraph, int i, armt_rope_args & args, int & i_q) {
    const int i_k = next_node(cgraph, i);
    const int i_v = next_node(cgraph, i_k);
    i_q = next_node(cgraph, i_v);
    if (!state.on.rope || i_q >= cgraph->n_nodes) {
        return false;
    }
    const ggml_tensor * rope_k  = cgraph->nodes[i];
    const ggml_tensor * store_k = cgraph->nodes[i_k];
    const ggml_tensor * store_v = cgraph->nodes[i_v];
    const ggml_tensor * rope_q  = cgraph->nodes[i_q];
    if (rope_k->op != GGML_OP_ROPE || store_k->op != GGML_OP_SET_ROWS || store_v->op != GGML_OP_SET_ROWS || rope_q->op != GGML_OP_ROPE ||
        root_of(store_k->src[0]) != rope_k || n_uses(cgraph, rope_k) != 1 || memcmp(rope_k->op_params, rope_q->op_params, sizeof(rope_k->op_params)) != 0 ||
        rope_k->src[1] != rope_q->src[1] || rope_k->src[2] != rope_q->src[2] || store_k->src[1] != store_v->src[1]) {
        return false;
    }
    const ggml_tensor * q = rope_q->src[0]; // {n_dims, n_head, n_rows}
    const ggml_tensor * k = rope_k->src[0];
    const ggml_tensor * v = store_v->src[0]; // {n_embd_v, n_rows}
    const int32_t * ints   = (const int32_t *) rope_k->op_params;
    const float *   floats = (const float *) rope_k->op_params;
    const int       n_dims = ints[1];
    const float     freq_base = floats[5], freq_scale = floats[6], ext_factor = floats[7], attn_factor = floats[8];
    const auto is_heads = [&](const ggml_tensor * t) {
        return t->type == GGML_TYPE_F32 && t->ne[0] == n_dims && t->nb[0] == 4 && t->nb[1] == size_t(n_dims) * 4 && t->ne[3] == 1;
    };
    const auto is_store = [&](const ggml_tensor * t) { return t->type == GGML_TYPE_F16 && t->nb[0] == 2 && t->nb[1] % 4 == 0 && t->src[1]->type == GGML_TYPE_I64; };
    const bool fits = ints[2] == GGML_ROPE_TYPE_NEOX && ext_factor == 0.0f && n_dims % 4 == 0 && n_dims <= 512 && is_heads(q) && is_heads(k) &&
                      q->nb[2] == k->nb[2] && v->nb[1] == k->nb[2] && v->nb[0] == 4 && v->type == GGML_TYPE_F32 && v->ne[0] == k->ne[1] * n_dims &&
                      v->ne[1] == k->ne[2] && is_store(store_k) && is_store(store_v) && ggml_is_contiguous(rope_q) && ggml_is_contiguous(rope_k) &&
                      (uintptr_t) v->data % 8 == 0 && (uintptr_t) k->data % 8 == 0 && (uintptr_t) q->data % 8 == 0 && k->nb[2] % 8 == 0 && !overlap(rope_q, q) &&
                      !overlap(rope_q, k) && !overlap(rope_q, v);
    if (!fits) {
        return false;
    }
    std::vector<const ggml_tensor *> readers;
    int  last     = i_q;
    bool narrow_q = state.on.attention && find_readers(cgraph, i_q, rope_q, readers, last) && readers.size() == 1 && is_attention(readers[0]) &&
                    root_of(readers[0]->src[0]) == rope_q;

    args.q           = q->data;
    args.k           = k->data;
    args.v           = v->data;
    args.type        = GGML_TYPE_F32;
    args.row_stride  = k->nb[2] / 4;
    args.pos         = (const int32_t *) rope_k->src[1]->data;
    args.idxs        = (const int64_t *) store_k->src[1]->data;
    args.factors     = rope_k->src[2] != nullptr ? (const float *) rope_k->src[2]->data : nullptr;
    args.q_out       = rope_q->data;
    args.q_type      = narrow_q ? GGML_TYPE_F16 : GGML_TYPE_F32;
    args.k_out       = (half *) store_k->data;
    args.v_out       = (half *) store_v->data;
    args.k_row       = store_k->nb[1] / 2;
    args.v_row       = store_v->nb[1] / 2;
    args.theta_scale = powf(freq_base, -2.0f / n_dims);
    args.freq_scale  = freq_scale;
    args.scale       = attn_factor;
    args.n_dims      = n_dims;
    args.n_head      = q->ne[1];
    args.n_head_kv   = k->ne[1];
    args.n_rows      = q->ne[2];
    return true;
}

// Whether a product's result is read by what match_rope finds alone, which takes 16 bits too
bool is_read_by_rope(const context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * mm = cgraph->nodes[i];
    if (mm->view_src != nullptr || (mm->flags & GGML_TENSOR_FLAG_OUTPUT) != 0) {
        return false;
    }
    const int      i_rope = next_node(cgraph, i);
    armt_rope_args args   = {};
    int            last   = i_rope;
    if (i_rope >= cgraph->n_nodes || !match_rope(state, cgraph, i_rope, args, last)) {
        return false;
    }
    std::vector<const ggml_tensor *> readers;
    int read_last = i;
    return find_readers(cgraph, i, mm, readers, read_last) && read_last <= last &&
           cgraph->nodes[last]->src[0]->view_src == mm; // q; k and v come from the same rows
}

int fuse_rope(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    armt_rope_args args = {};
    int            i_q  = i;
    if (!match_rope(state, cgraph, i, args, i_q)) {
        return -1;
    }
    const ggml_tensor * rope_q = cgraph->nodes[i_q];
    const ggml_tensor * rows   = rope_q->src[0]->view_src;
    const auto          narrow = state.narrow.find(rows);
    if (rows != nullptr && narrow != state.narrow.end()) {
        const auto half_way = [&](const void * p) { return (const char *) narrow->second.data + ((const char *) p - (const char *) rows->data) / 2; };
        args.q    = half_way(args.q);
        args.k    = half_way(args.k);
        args.v    = half_way(args.v);
        args.type = narrow->second.type;
    }
    armt_rope_store(args, ctx.stream());
    if (args.q_type == GGML_TYPE_F16) {
        state.narrow[rope_q] = {rope_q->data, GGML_TYPE_F16};
    }
    return i_q - i;
}

} // namespace

void armt_cuda_begin(ggml_backend_cuda_context & ctx) {
    context_state & state = state_of(ctx);
    state.on           = read_fusions();
    state.scratch_last = -1;
    state.narrow.clear();
}

int armt_cuda_try_fuse(ggml_backend_cuda_context & ctx, const ggml_cgraph * cgraph, int i) {
    context_state & state = state_of(ctx);
    switch (cgraph->nodes[i]->op) {
        case GGML_OP_MUL_MAT: {
            const int n = fuse_features(ctx, state, cgraph, i);
            return n >= 0 ? n : fuse_product(ctx, state, cgraph, i);
        }
        case GGML_OP_RMS_NORM:       return fuse_norm(ctx, state, cgraph, i);
        case GGML_OP_CONT: {
            const int n = fuse_read(ctx, state, cgraph, i);
            return n >= 0 ? n : fuse_write(ctx, state, cgraph, i);
        }
        case GGML_OP_GLU:            return fuse_swiglu(ctx, state, cgraph, i);
        case GGML_OP_UNARY: {
            const int n = fuse_row_read(ctx, state, cgraph, i);
            return n >= 0 ? n : fuse_dpfp(ctx, state, cgraph, i);
        }
        case GGML_OP_FLASH_ATTN_EXT: return fuse_attention(ctx, state, cgraph, i);
        case GGML_OP_ROPE:           return fuse_rope(ctx, state, cgraph, i);
        default:                     return -1;
    }
}

void armt_cuda_profile(ggml_backend_cuda_context & ctx, const ggml_tensor * node) {
    static const bool on = getenv("ARMT_CUDA_PROFILE") != nullptr;
    if (!on) {
        return;
    }
    context_state & state = state_of(ctx);
    std::string label;
    if (node != nullptr) {
        label = std::string(ggml_op_name(node->op)) + " " + node->name;
        label.erase(std::find_if(label.begin(), label.end(), [](char c) { return c == '-' || isdigit(c); }), label.end()); // layers together
        if (node->op == GGML_OP_MUL_MAT) {
            label += " [" + std::to_string(node->src[0]->ne[0]) + " x " + std::to_string(node->src[0]->ne[1]) + "]";
        }
    }
    cudaEvent_t event;
    CUDA_CHECK(cudaEventCreate(&event));
    CUDA_CHECK(cudaEventRecord(event, ctx.stream()));
    state.marks.emplace_back(label, event);
    if (node != nullptr) {
        return;
    }
    CUDA_CHECK(cudaEventSynchronize(event));
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

void armt_cuda_forget(ggml_backend_cuda_context & ctx) {
    const std::lock_guard<std::mutex> lock(states_mutex);
    context_state & state = states[&ctx];
    const char *    file  = getenv("ARMT_CUDA_PROFILE");
    if (file != nullptr && !state.times.empty()) {
        if (FILE * out = fopen(file, "w")) {
            for (const auto & [label, time] : state.times) {
                fprintf(out, "%12.1f us %8lld times  %s\n", time.second, (long long) time.first, label.c_str());
            }
            fclose(out);
        }
    }
    for (void * data : state.allocated) {
        CUDA_CHECK(cudaFree(data));
    }
    if (state.lt != nullptr) {
        CUBLAS_CHECK(cublasLtDestroy(state.lt));
    }
    states.erase(&ctx);
}

void armt_cuda_count_replay() {
    n_replays++;
}

uint64_t armt_cuda_graph_replays() {
    return n_replays;
}
