#include "armt-kernels.cuh"

static __device__ __forceinline__ void store2(half * p, float a, float b) { *(half2 *) p = __floats2half2_rn(a, b); }
static __device__ __forceinline__ void store2(nv_bfloat16 * p, float a, float b) { *(nv_bfloat162 *) p = __floats2bfloat162_rn(a, b); }

static __device__ __forceinline__ float2 load2(const float * p) { return *(const float2 *) p; }
static __device__ __forceinline__ float2 load2(const half * p) { return __half22float2(*(const half2 *) p); }
static __device__ __forceinline__ float2 load2(const nv_bfloat16 * p) { return __bfloat1622float2(*(const nv_bfloat162 *) p); }

//
// norm
//

static constexpr int NORM_THREADS = 256;

template <typename T>
static __global__ void __launch_bounds__(NORM_THREADS) norm_kernel(const armt_norm_args args) {
    extern __shared__ float row[]; // the row that is normed
    __shared__ float        sums[NORM_THREADS / 32];

    const int     n  = args.n;
    const int64_t ib = blockIdx.y;
    const int64_t ir = blockIdx.x;
    const float * x  = args.x + ib * args.x_batch + ir * n;
    const int64_t to = (ib * args.n_rows + ir) * n;

    const float * recall = nullptr;
    float         factor = 0.0f;
    if (args.recall != nullptr) {
        recall = args.recall + (ib * args.n_rows + ir) * args.recall_row;
        factor = 1.0f / (recall[n] + args.recall_eps);
    }
    float sum = 0.0f;
    for (int i = 4 * threadIdx.x; i < n; i += 4 * NORM_THREADS) {
        float4 a = *(const float4 *) (x + i);
        if (recall != nullptr) {
            const float4 b = *(const float4 *) (recall + i);
            a.x += b.x * factor;
            a.y += b.y * factor;
            a.z += b.z * factor;
            a.w += b.w * factor;
            *(float4 *) (args.sum + ib * args.sum_batch + ir * n + i) = a;
        }
        *(float4 *) (row + i) = a;
        sum += a.x * a.x + a.y * a.y + a.z * a.z + a.w * a.w;
    }
    if (args.normed == nullptr) {
        return;
    }
    sum = warp_reduce_sum(sum);
    if (threadIdx.x % 32 == 0) {
        sums[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    sum = 0.0f;
#pragma unroll
    for (int i = 0; i < NORM_THREADS / 32; ++i) {
        sum += sums[i];
    }
    const float   scale  = rsqrtf(sum / n + args.eps);
    const float * weight = args.weight + ib * args.weight_batch;
    T *           normed = (T *) args.normed + to;
    for (int i = 4 * threadIdx.x; i < n; i += 4 * NORM_THREADS) { // what this thread wrote
        const float4 a = *(const float4 *) (row + i);
        const float4 w = *(const float4 *) (weight + i);
        store2(normed + i + 0, a.x * scale * w.x, a.y * scale * w.y);
        store2(normed + i + 2, a.z * scale * w.z, a.w * scale * w.w);
    }
}

void armt_norm(const armt_norm_args & args, cudaStream_t stream) {
    const dim3   grid(args.n_rows, args.n_batch);
    const size_t shared = args.n * sizeof(float);
    if (args.type == GGML_TYPE_BF16) {
        norm_kernel<nv_bfloat16><<<grid, NORM_THREADS, shared, stream>>>(args);
    } else {
        norm_kernel<half><<<grid, NORM_THREADS, shared, stream>>>(args);
    }
    CUDA_CHECK(cudaGetLastError());
}

//
// SwiGLU
//

static constexpr int GLU_THREADS = 256;

template <typename TI, typename T>
static __global__ void __launch_bounds__(GLU_THREADS) swiglu_kernel(const TI * input, T * output, int n) {
    const int     i  = 8 * (blockIdx.x * GLU_THREADS + threadIdx.x);
    const int64_t ir = blockIdx.y + int64_t(gridDim.y) * blockIdx.z;
    if (i >= n) {
        return;
    }
    const TI * gate = input + ir * 2 * n + i;
    const TI * up   = gate + n;

    alignas(16) TI g[8];
    alignas(16) TI u[8];
#pragma unroll
    for (int j = 0; j < int(8 * sizeof(TI) / 16); ++j) {
        ((uint4 *) g)[j] = ((const uint4 *) gate)[j];
        ((uint4 *) u)[j] = ((const uint4 *) up)[j];
    }
    alignas(16) T out[8];
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        const float2 a = load2(g + j);
        const float2 b = load2(u + j);
        store2(out + j, a.x / (1.0f + __expf(-a.x)) * b.x, a.y / (1.0f + __expf(-a.y)) * b.y);
    }
    *(uint4 *) (output + ir * n + i) = *(const uint4 *) out;
}

template <typename TI, typename T> static void swiglu(const void * input, void * output, int n, int64_t n_rows, cudaStream_t stream) {
    // rows in y, the second half of which are in z where they are more than a grid can hold
    int64_t nz = 1;
    while (n_rows / nz > 65535 || n_rows % nz != 0) {
        ++nz;
    }
    const dim3 grid((n / 8 + GLU_THREADS - 1) / GLU_THREADS, n_rows / nz, nz);
    swiglu_kernel<TI, T><<<grid, GLU_THREADS, 0, stream>>>((const TI *) input, (T *) output, n);
    CUDA_CHECK(cudaGetLastError());
}

void armt_swiglu(const void * input, ggml_type type_in, void * output, ggml_type type_out, int n, int64_t n_rows, cudaStream_t stream) {
    const bool wide = type_in == GGML_TYPE_F32;
    GGML_ASSERT(wide || type_in == type_out);
    if (type_out == GGML_TYPE_BF16) {
        (wide ? swiglu<float, nv_bfloat16> : swiglu<nv_bfloat16, nv_bfloat16>)(input, output, n, n_rows, stream);
    } else {
        (wide ? swiglu<float, half> : swiglu<half, half>)(input, output, n, n_rows, stream);
    }
}

//
// DPFP
//

static __global__ void dpfp_kernel(const float * input, float * output, int n_roll, int order) {
    extern __shared__ float y[]; // relu(x), relu(-x)

    const int     i  = threadIdx.x;
    const int64_t iv = blockIdx.x;
    if (i < n_roll / 2) {
        const float x = input[iv * (n_roll / 2) + i];
        y[i]              = fmaxf(x, 0.0f);
        y[i + n_roll / 2] = fmaxf(-x, 0.0f);
    }
    __syncthreads();
    for (int o = 0; o < order; ++o) { // the roll by order - o
        int from = i + o - order;
        from += from < 0 ? n_roll : 0;
        output[(iv * order + o) * n_roll + i] = y[i] * y[from];
    }
}

void armt_dpfp(const float * input, float * output, int n_roll, int order, int64_t n_vectors, cudaStream_t stream) {
    dpfp_kernel<<<n_vectors, n_roll, n_roll * sizeof(float), stream>>>(input, output, n_roll, order);
    CUDA_CHECK(cudaGetLastError());
}

//
// RoPE and the K/V store
//

static constexpr int ROPE_THREADS = 256;

static __device__ __forceinline__ void store1(float * p, float a) { *p = a; }
static __device__ __forceinline__ void store1(half * p, float a) { *p = __float2half(a); }

template <typename T>
static __device__ void rotate(const float * from, T * to, const float2 * angles, int n_heads, int n_half) {
    for (int i = threadIdx.x; i < n_heads * n_half; i += ROPE_THREADS) {
        const int    at = i / n_half * 2 * n_half + i % n_half;
        const float2 cs = angles[i % n_half];
        const float  a  = from[at];
        const float  b  = from[at + n_half];
        store1(to + at,          a * cs.x - b * cs.y);
        store1(to + at + n_half, a * cs.y + b * cs.x);
    }
}

template <typename TQ>
static __global__ void __launch_bounds__(ROPE_THREADS) rope_store_kernel(const armt_rope_args args) {
    extern __shared__ float2 angles[];

    const int64_t ir     = blockIdx.x;
    const int     n_half = args.n_dims / 2;
    for (int i = threadIdx.x; i < n_half; i += ROPE_THREADS) {
        // as ggml: the base to the power first, then the factor and the scale
        float theta = args.pos[ir] * powf(args.theta_scale, float(i)) * args.freq_scale;
        if (args.factors != nullptr) {
            theta /= args.factors[i];
        }
        // with fast math, sine and cosine of large angles are of little use
        const float turns = theta * 0.159154943f;
        theta -= rintf(turns) * 6.28125f;
        theta -= rintf(turns) * 0.00193530717958f;
        angles[i] = make_float2(cosf(theta) * args.scale, sinf(theta) * args.scale);
    }
    __syncthreads();

    const int64_t row = args.idxs[ir];
    rotate(args.q + ir * args.row_stride, (TQ *) args.q_out + ir * args.n_head * args.n_dims, angles, args.n_head, n_half);
    rotate(args.k + ir * args.row_stride, args.k_out + row * args.k_row, angles, args.n_head_kv, n_half);

    const float * v  = args.v + ir * args.row_stride;
    half *        to = args.v_out + row * args.v_row;
    for (int i = 2 * threadIdx.x; i < args.n_head_kv * args.n_dims; i += 2 * ROPE_THREADS) {
        const float2 a = load2(v + i);
        store2(to + i, a.x, a.y);
    }
}

void armt_rope_store(const armt_rope_args & args, cudaStream_t stream) {
    const size_t shared = args.n_dims / 2 * sizeof(float2);
    if (args.q_type == GGML_TYPE_F16) {
        rope_store_kernel<half><<<args.n_rows, ROPE_THREADS, shared, stream>>>(args);
    } else {
        rope_store_kernel<float><<<args.n_rows, ROPE_THREADS, shared, stream>>>(args);
    }
    CUDA_CHECK(cudaGetLastError());
}
