#pragma once

#include "common.cuh"

// Kernels that the fusions launch. Strides and lengths are in elements. Lengths of rows are multiples of 4, of 16-bit
// rows multiples of 8.

// Eight bits with four of exponent and three of mantissa, up to 448. ggml has no such type, so this one stands for it
// in these files. Rows of e4m3 have a scale each: x = scale * e4m3.
static constexpr ggml_type ARMT_TYPE_E4M3 = GGML_TYPE_I8;

// The most elements in a row of e4m3 that the kernels below write
static constexpr int64_t ARMT_MAX_E4M3_COLS = 16 * 1024;

// From one scale of a whole matrix to the next, in floats: cuBLASLt refuses pointers to scales that are less aligned
static constexpr int64_t ARMT_TENSOR_SCALE_STRIDE = 4;

// Rounds rows to e4m3
struct armt_quantize_args {
    const void *  x; // [n_rows][n], rows x_row apart
    int64_t       x_row;
    ggml_type     type;   // of it: F32, F16 or BF16
    const float * most;   // [n_rows/n_part]: the largest magnitudes, of armt_largest; or nullptr: of each row
    int64_t       n_part; // rows that share one of `most`
    void *        output; // [n_rows][n]
    float *       scales; // [n_rows], or with `most` [n_rows/n_part][ARMT_TENSOR_SCALE_STRIDE], the first of each
    int           n;
    int64_t       n_rows;
};
void armt_quantize(const armt_quantize_args & args, cudaStream_t stream);

// Raises most, [n_rows/n_part], to the largest magnitudes of each n_part rows; it starts at 0
void armt_largest(const armt_quantize_args & args, float * most, cudaStream_t stream);

struct armt_norm_args {
    const float * x;       // [n_batch][n_rows][n]
    int64_t       x_batch; // from one batch to the next
    const float * recall;  // [n_batch][n_rows][recall_row], n values and then their denominator; or nullptr
    int64_t       recall_row;
    float         recall_eps; // added to the denominator
    float *       sum;        // [n_batch][n_rows][n]: x + recall, if recall is given; can be x
    int64_t       sum_batch;
    const float * weight; // [n_batch][n]
    int64_t       weight_batch;
    void *        normed; // [n_batch][n_rows][n], or nullptr
    ggml_type     type;   // of it: F16, BF16, F32 or ARMT_TYPE_E4M3
    float *       scales; // [n_batch][n_rows], of e4m3
    float         eps;
    int           n;
    int           n_rows;
    int           n_batch;
};
void armt_norm(const armt_norm_args & args, cudaStream_t stream);

// silu(gate)*up; input: [n_rows][2*n], gate, then up, in F32 or the type of the output
void armt_swiglu(const void * input, ggml_type type_in, void * output, ggml_type type_out, int n, int64_t n_rows,
                 cudaStream_t stream);

// The same with rows of e4m3 as output. scales: [n_rows]; type_in: F32, F16 or BF16
void armt_swiglu_e4m3(const void * input, ggml_type type_in, void * output, float * scales, int n, int64_t n_rows,
                      cudaStream_t stream);

// [n_vectors][n_roll/2] -> [n_vectors][order][n_roll]
void armt_dpfp(const float * input, float * output, int n_roll, int order, int64_t n_vectors, cudaStream_t stream);

// x + what it recalls, for one row of each batch
struct armt_row_read_args {
    const float * x; // [n_batch][n]
    int64_t       x_batch;
    const float * query; // [n_batch][n_roll/2], before the feature map
    const float * az;    // [n_batch][n + 1][n_roll*order], rows az_row apart: values, and the denominator's
    int64_t       az_row;
    int64_t       az_batch;
    float         eps; // added to the denominator
    float *       sum; // [n_batch][n]; can be x
    int64_t       sum_batch;
    int           n;
    int           n_roll;
    int           order;
    int           n_batch;
};
void armt_row_read(const armt_row_read_args & args, cudaStream_t stream);

// A product with few columns, and its feature map
struct armt_features_args {
    const float * x; // [n_batch][n_rows][n], rows x_row apart
    int64_t       x_row;
    int64_t       x_batch;
    const void *  weight; // [n_batch][n_cols][n], 16 bits
    int64_t       weight_batch;
    ggml_type     type;   // of it
    float *       output; // [n_batch][n_rows][n_cols*2/n_roll][order][n_roll]
    void *        narrow; // [n_batch][n_rows][n]: x / armt_narrow_unit(type) in the weights' type; or nullptr
    int           n;      // a multiple of 256
    int           n_cols; // at most 64
    int           n_roll;
    int           order;
    int           n_rows;
    int           n_batch;
};
void armt_features(const armt_features_args & args, cudaStream_t stream);

// Hidden states that no norm bounds can exceed F16's range, so they are divided by this. What F16 loses at the other
// end is negligible compared with them.
static constexpr __host__ __device__ float armt_narrow_unit(ggml_type type) {
    return type == GGML_TYPE_F16 ? 16.0f : 1.0f;
}
// Bytes of shared memory that a block of armt_features may need
size_t armt_features_shared();

// What a write adds to the memory for each key: beta*(value - recalled) to A, gamma to z
struct armt_update_args {
    const void *  x;    // [n_batch][n_rows][n], 16 bits, in units of armt_narrow_unit(type)
    ggml_type     type; // of it, and of beta's weights
    const void *  beta; // [n_batch][n]
    int64_t       beta_batch;
    const float * beta_bias; // [n_batch]; or nullptr
    int64_t       beta_bias_batch;
    const float * value;  // [n_batch][n_rows][n]
    const float * recall; // [n_batch][n_rows][recall_row], n values and then their denominator
    int64_t       recall_row;
    float         recall_eps;
    const float * key; // [n_batch][n_rows][n_key]
    int           n_key;
    float         key_eps;   // added to |key|^2
    const float * not_first; // [n_batch]: 0 in the first segment, where gamma is 1; or nullptr
    int64_t       not_first_batch;
    float *       output; // [n_batch][n_rows][output_row]: n values, gamma, zeros
    int           output_row;
    int           n;
    int           n_rows;
    int           n_batch;
};
void armt_update(const armt_update_args & args, cudaStream_t stream);

struct armt_rope_args {
    const void *    q; // of the first row; rows are row_stride apart
    const void *    k;
    const void *    v;
    ggml_type       type; // of them: F32, F16 or BF16
    int64_t         row_stride;
    const int32_t * pos;
    const int64_t * idxs;    // rows of the caches
    const float *   factors; // or nullptr
    void *          q_out;   // [n_rows][n_head][n_dims], F32 or F16
    ggml_type       q_type;
    half *          k_out;
    half *          v_out;
    int64_t         k_row;
    int64_t         v_row;
    float           theta_scale;
    float           freq_scale;
    float           scale;  // of sine and cosine
    int             n_dims; // of a head, all rotated
    int             n_head;
    int             n_head_kv;
    int64_t         n_rows;
};
void armt_rope_store(const armt_rope_args & args, cudaStream_t stream);

struct armt_attention_args {
    const void * q; // [n_batch][n_rows][n_head][n_dims], F32 or F16
    ggml_type    q_type;
    const half * k; // [n_batch][n_rows][n_head_kv][n_dims], rows k_row apart
    const half * v;
    int64_t      k_row;
    int64_t      k_batch;
    int64_t      v_row;
    int64_t      v_batch;
    void *       output; // as q
    ggml_type    type;   // of it: F32, F16 or BF16
    float        scale;
    int          n_dims; // 64 or 128
    int          n_head;
    int          n_head_kv;
    int          n_rows;
    int          n_batch;
};
// Row r sees the rows 0 .. r. K/V rows are read up to the next multiple of 64.
void armt_attention(const armt_attention_args & args, cudaStream_t stream);

// The same on a Hopper card (compute capability 9.0). Does nothing and returns false unless this backend is built for
// sm_90a and runs on such a card.
bool armt_attention_hopper(const armt_attention_args & args, cudaStream_t stream);

// What follows a product
enum armt_epilogue {
    ARMT_EPILOGUE_SWIGLU, // silu(x*gate)*(x*up)
    ARMT_EPILOGUE_ADD,    // x*weight + residual, or x*weight
};

// A product on a Hopper card (compute capability 9.0). Sums are F32. 16-bit operands: SwiGLU alone, with the same type
// as result
struct armt_product_args {
    armt_epilogue epilogue;
    const void *  x;      // [n_batch][n_rows][n]
    const void *  weight; // [n_batch][n_cols][n], with SwiGLU [2*n_cols], gate and then up; rows weight_row apart
    int64_t       weight_row;
    int64_t       weight_batch;
    ggml_type     type;          // of both: F16, BF16 or ARMT_TYPE_E4M3
    const float * x_scales;      // of e4m3: [n_batch][n_rows]
    const float * weight_scales; // [n_batch][n_cols], with SwiGLU [2*n_cols]
    void *        output;        // [n_batch][n_rows][n_cols]
    ggml_type     type_out;      // F16 or BF16; without SwiGLU also F32
    // of F32
    int64_t       output_row;
    int64_t       output_batch;
    const float * residual; // or nullptr; can be the output
    int64_t       residual_row;
    int64_t       residual_batch;
    int           n;
    int           n_cols;
    int           n_rows;
    int           n_batch;
};
void armt_product(const armt_product_args & args, cudaStream_t stream);

// Whether this backend is built for sm_90a, and the kernel supports these lengths and strides
bool armt_has_product(const armt_product_args & args);
