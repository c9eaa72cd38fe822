#pragma once

// What the armt-fusion-*.cu files share: the state of a backend context, the matching of nodes, and products in 16
// bits.
//
// A result that only 16-bit products read is written in 16 bits, or in e4m3 if they are products in e4m3. Those are
// products with 16-bit weights, and with quantized weights, which are converted to F16 first. The 16-bit result takes
// the start of its tensor's memory, or a buffer of the context; `narrow` tells the nodes that read it, all of which are
// computed here too.

#include "armt-cuda.h"
#include "armt-kernels.cuh"

#include "ggml-impl.h"

#include <cublasLt.h>

#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace armt_fusion {

// Products with fewer rows are left to ggml, whose kernels for them are faster.
constexpr int64_t MIN_ROWS = 32;

// Elements in a row that armt_norm keeps in shared memory: 48 KiB of floats
constexpr int64_t MAX_NORM_COLS = 12 * 1024;

// CUDA's limit on the y and z dimensions of a grid
constexpr int64_t MAX_GRID_YZ = 65535;

// How many nodes after a result its readers are looked for
constexpr int WINDOW = 48;

// A fuse_ function leaves the node to ggml.
constexpr int NOT_FUSED = -1;

//
// state (armt-fusion.cu)
//

// Which fusions are on, see armt-cuda.h
struct fusions {
    bool norm, glu, gate, read, dpfp, rope, attention, residual, write, quantize, grouped;
    bool features; // of dpfp: the product before it too
};

struct narrow_data {
    void *    data;
    ggml_type type;
    float *   scales = nullptr; // of ARMT_TYPE_E4M3
};

struct buffer {
    void * data = nullptr;
    size_t size = 0;
};

// See armt-fusion-fp8.cu
struct fp8_mode {
    bool on;
    bool by_tensor; // one scale for each layer's weight and each cell's input, instead of one for each row
};

struct fp8_weight {
    void *  data   = nullptr; // [n_layers][n_rows][n]; nullptr: there was no memory
    float * scales = nullptr; // [n_layers][n_rows], by tensor [n_layers][ARMT_TENSOR_SCALE_STRIDE]
};

// A product of one layer by cuBLASLt; strides in elements
struct fp8_shape {
    int64_t   n, n_out, n_rows, out_row;
    int64_t   residual_row; // 0: no residual
    ggml_type type_out;
    bool      by_tensor;
    bool      scales_aligned; // those of each layer's input, to 16 bytes

    bool operator<(const fp8_shape & other) const { return key() < other.key(); }

    std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int, bool, bool> key() const {
        return {n, n_out, n_rows, out_row, residual_row, type_out, by_tensor, scales_aligned};
    }
};

struct fp8_plan {
    bool                   ok   = false; // cuBLASLt has computed such a product
    cublasLtMatmulDesc_t   desc = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr, d = nullptr;
    cublasLtMatmulAlgo_t   algo = {};
};

struct fp8_state {
    fp8_mode mode   = {};
    bool     warned = false;

    std::map<std::pair<const void *, bool>, fp8_weight> weights; // by the stack's data, and whether by tensor
    std::map<fp8_shape, fp8_plan>                       plans;

    buffer output; // of a product that cuBLASLt only has with a 16-bit result
    buffer input;  // of a product, in e4m3
    buffer most;   // largest magnitudes

    armt_fp8_counts                         counts;          // of all graphs so far
    std::map<const void *, armt_fp8_counts> of_graph;        // by its key: what each replay of it adds
    const void *                            graph = nullptr; // the one that is evaluated or captured
};

struct context_state {
    fusions on = {};
    // results of this graph that were written in 16 bits
    std::unordered_map<const ggml_tensor *, narrow_data> narrow;

    // Captured graphs hold these addresses, so nothing is freed before the context. None of the buffers grows in a
    // capture, because ggml evaluates the same graph before it captures it.
    buffer              scratch;           // a 16-bit result whose own tensor's memory is still read when it is written
    int                 scratch_last = -1; // the last node that reads scratch
    buffer              write;             // intermediate results of a write to the memory
    buffer              converted; // part of a quantized weight as F16; all products share it, being in one stream
    std::vector<void *> allocated;

    cublasLtHandle_t lt = nullptr;
    fp8_state        fp8;

    std::vector<std::pair<std::string, cudaEvent_t>>  marks; // of armt_cuda_profile
    std::map<std::string, std::pair<int64_t, double>> times; // count, microseconds
};

// The buffer's memory, after making it at least this large
void * reserve(context_state & state, buffer & buf, size_t size);

//
// matching (armt-fusion-match.cu)
//

// Reshapes, views and similar nodes, which compute nothing
bool is_noop(const ggml_tensor * t);

// Index of the next node after i that computes something, or cgraph->n_nodes
int next_node(const ggml_cgraph * cgraph, int i);

// The tensor that a reshaped tensor, or a view of all of it, was made from
const ggml_tensor * root_of(const ggml_tensor * t);

// t without any views and reshapes, of parts as well
const ggml_tensor * without_views(const ggml_tensor * t);

int32_t n_uses(const ggml_cgraph * cgraph, const ggml_tensor * t);

// Finds all nodes that read t (node i) or a view of it; last is the index of the last one. False if there are none, or
// if some are too far away.
bool find_readers(const ggml_cgraph * cgraph, int i, const ggml_tensor * t, std::vector<const ggml_tensor *> & readers,
                  int & last);

// Whether the one node that reads t (node i) is reader
bool is_read_by_one(const ggml_cgraph * cgraph, int i, const ggml_tensor * t, const ggml_tensor * reader);

bool overlap(const ggml_tensor * a, const void * data, size_t size);
bool overlap(const ggml_tensor * a, const ggml_tensor * b);

// F32 with contiguous rows in each batch; batches may be further apart
bool has_dense_rows(const ggml_tensor * t);

bool is_unary(const ggml_tensor * t, ggml_unary_op op);
bool is_swiglu(const ggml_tensor * t);
bool is_16_bit(ggml_type type);

// op_params[i] as a float
float float_param(const ggml_tensor * t, int i);

// The type that a weight is multiplied in, and so its input's; GGML_TYPE_COUNT: not in 16 bits
ggml_type product_type(const ggml_tensor * w);

// Whether armt-fusion-products.cu can compute this node, in 16 bits
bool is_product(const ggml_tensor * mm);

// The 16-bit type for a result (node i) that only such products and those in e4m3 read, or GGML_TYPE_COUNT. last: index
// of the last of them. to_e4m3: the caller can also write e4m3, which is the answer if all readers take it.
ggml_type narrow_type(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i,
                      const ggml_tensor * t, int & last, bool to_e4m3 = false);

// Whether only the nodes of fuse_rope read a product's result (node i). They take 16 bits too.
bool is_read_by_rope(const context_state & state, const ggml_cgraph * cgraph, int i);

//
// products (armt-fusion-products.cu)
//

// out = factor * w*x for the product mm; x: 16 bits
void multiply(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm, const void * x,
              void * out, ggml_type type_out, float factor = 1.0f);

// How much of a weight is multiplied at a time: some layers, or some rows of one layer
struct weight_part {
    int64_t n_layers;
    int64_t n_rows;
};

weight_part largest_part(const ggml_tensor * w);

// 16 bits, strides in elements
struct weights {
    const void * data;
    int64_t      row;
    int64_t      layer;
};

// The weights of a part of w, valid until the next call
weights get_weights(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * w, int64_t layer,
                    int64_t row, weight_part part);

// Whether add is the sum of mm and a residual, which can be computed in the product. size: bytes of the product's input
// at x
bool match_residual(const ggml_tensor * mm, const ggml_tensor * add, const void * x, size_t size,
                    const ggml_tensor *& residual);

//
// products in e4m3 (armt-fusion-fp8.cu)
//

// Before a graph: what the device and ARMT_CUDA_FP8 allow
void begin_fp8(context_state & state, const void * graph_key);
void free_plans(context_state & state);

// Whether fuse_fp8_product computes this node. Rounds its weight at the first call.
bool is_fp8_product(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm);

// Where the scales follow so many elements of e4m3, and the bytes of a result in e4m3 with its scales. A result in F32
// has room for them.
size_t e4m3_scales_at(int64_t n_elements);
size_t e4m3_size(const ggml_tensor * t);

//
// fusions: each computes node i and some that follow, and returns how many follow; or NOT_FUSED
//

using fuse_fn = int(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i);

// clang-format off
fuse_fn fuse_product;   // armt-fusion-products.cu: a product in 16 bits, with the SwiGLU or the residual after it
fuse_fn fuse_fp8_product; // armt-fusion-fp8.cu: the same in e4m3
fuse_fn fuse_swiglu;
fuse_fn fuse_norm;      // armt-fusion-norm.cu: norm and weight
fuse_fn fuse_read;      //   the memory's division and addition, and the norm after them
fuse_fn fuse_dpfp;      // armt-fusion-dpfp.cu: the feature map
fuse_fn fuse_features;  //   the product before it too
fuse_fn fuse_row_read;  //   feature map, product with the memory and read of one row of each sequence
fuse_fn fuse_write;     //   the memory's write
fuse_fn fuse_rope;      // armt-fusion-attention.cu: RoPE of Q and K, and the K/V store
fuse_fn fuse_attention; //   causal attention of whole segments
// clang-format on

//
// shared between norm + read and DPFP + write
//

struct read_nodes {
    const ggml_tensor * x;
    const ggml_tensor * values; // view of what was recalled; the denominators follow it
    const ggml_tensor * add;
    int                 i_div;
    int                 i_add;
    float               eps;
};

// From node i on: cont(denominators), scale and bias, values / that, x + that
bool match_read(const ggml_cgraph * cgraph, int i, read_nodes & nodes);

} // namespace armt_fusion
