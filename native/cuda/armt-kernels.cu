#include "armt-e4m3.cuh"
#include "armt-kernels.cuh"

#include <algorithm>

//
// norm
//

static constexpr int NORM_THREADS = 256;

template <typename T> static __global__ void __launch_bounds__(NORM_THREADS) norm_kernel(const armt_norm_args args) {
    extern __shared__ float row[]; // the row to be normalized
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
    if constexpr (std::is_same_v<T, __nv_fp8_e4m3>) {
        float most = 0.0f;
        for (int i = 4 * threadIdx.x; i < n; i += 4 * NORM_THREADS) { // the elements that this thread wrote
            float4 *     a = (float4 *) (row + i);
            const float4 w = *(const float4 *) (weight + i);
            *a   = make_float4(a->x * scale * w.x, a->y * scale * w.y, a->z * scale * w.z, a->w * scale * w.w);
            most = fmaxf(most, largest(*a));
        }
        const float unit = e4m3_unit(block_max<NORM_THREADS>(most));
        for (int i = 4 * threadIdx.x; i < n; i += 4 * NORM_THREADS) {
            *(uint32_t *) (normed + i) = pack_e4m3(*(const float4 *) (row + i), 1.0f / unit);
        }
        if (threadIdx.x == 0) {
            args.scales[ib * args.n_rows + ir] = unit;
        }
    } else {
        for (int i = 4 * threadIdx.x; i < n; i += 4 * NORM_THREADS) { // the elements that this thread wrote
            const float4 a = *(const float4 *) (row + i);
            const float4 w = *(const float4 *) (weight + i);
            store2(normed + i + 0, a.x * scale * w.x, a.y * scale * w.y);
            store2(normed + i + 2, a.z * scale * w.z, a.w * scale * w.w);
        }
    }
}

void armt_norm(const armt_norm_args & args, cudaStream_t stream) {
    const dim3   grid(args.n_rows, args.n_batch);
    const size_t shared = args.n * sizeof(float);
    switch (args.type) {
        case GGML_TYPE_BF16: norm_kernel<nv_bfloat16><<<grid, NORM_THREADS, shared, stream>>>(args); break;
        case GGML_TYPE_F16: norm_kernel<half><<<grid, NORM_THREADS, shared, stream>>>(args); break;
        case ARMT_TYPE_E4M3: norm_kernel<__nv_fp8_e4m3><<<grid, NORM_THREADS, shared, stream>>>(args); break;
        default: norm_kernel<float><<<grid, NORM_THREADS, shared, stream>>>(args); break;
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

template <typename TI, typename T>
static void swiglu(const void * input, void * output, int n, int64_t n_rows, cudaStream_t stream) {
    // rows are in y; if a grid cannot hold as many, the second half is in z
    int64_t nz = 1;
    while (n_rows / nz > 65535 || n_rows % nz != 0) {
        ++nz;
    }
    const dim3 grid((n / 8 + GLU_THREADS - 1) / GLU_THREADS, n_rows / nz, nz);
    swiglu_kernel<TI, T><<<grid, GLU_THREADS, 0, stream>>>((const TI *) input, (T *) output, n);
    CUDA_CHECK(cudaGetLastError());
}

void armt_swiglu(const void * input, ggml_type type_in, void * output, ggml_type type_out, int n, int64_t n_rows,
                 cudaStream_t stream) {
    const bool wide = type_in == GGML_TYPE_F32;
    GGML_ASSERT(wide || type_in == type_out);
    if (type_out == GGML_TYPE_BF16) {
        (wide ? swiglu<float, nv_bfloat16> : swiglu<nv_bfloat16, nv_bfloat16>) (input, output, n, n_rows, stream);
    } else {
        (wide ? swiglu<float, half> : swiglu<half, half>) (input, output, n, n_rows, stream);
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
        const float x     = input[iv * (n_roll / 2) + i];
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
// read of one row
//

static constexpr int ROW_READ_WARPS = 8;

static __device__ __forceinline__ float dot4(const float * a, const float * b, int n, int lane) {
    float sum = 0.0f;
    for (int i = 4 * lane; i < n; i += 4 * 32) {
        const float4 x = *(const float4 *) (a + i);
        const float4 y = *(const float4 *) (b + i);
        sum += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
    }
    return warp_reduce_sum(sum);
}

// Each warp computes a column of the memory. Each block computes the features and the denominator for itself.
static __global__ void __launch_bounds__(32 * ROW_READ_WARPS) row_read_kernel(const armt_row_read_args args) {
    extern __shared__ __align__(16) float row_features[]; // {n_roll, order}, then the query

    const int     lane   = threadIdx.x % 32;
    const int     n_key  = args.n_roll * args.order;
    const int     n_half = args.n_roll / 2;
    const float * az     = args.az + blockIdx.y * args.az_batch;
    float *       query  = row_features + n_key;
    for (int i = threadIdx.x; i < n_half; i += blockDim.x) {
        query[i] = args.query[blockIdx.y * n_half + i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n_key; i += blockDim.x) {
        const int at   = i % args.n_roll;
        int       from = at + i / args.n_roll - args.order; // rolls by order, .., 1
        from += from < 0 ? args.n_roll : 0;
        const float a   = at < n_half ? query[at] : -query[at - n_half];
        const float b   = from < n_half ? query[from] : -query[from - n_half];
        row_features[i] = fmaxf(a, 0.0f) * fmaxf(b, 0.0f);
    }
    __syncthreads();
    const float denom = dot4(az + args.n * args.az_row, row_features, n_key, lane) + args.eps;
    for (int j = blockIdx.x * ROW_READ_WARPS + threadIdx.x / 32; j < args.n; j += gridDim.x * ROW_READ_WARPS) {
        const float value = dot4(az + j * args.az_row, row_features, n_key, lane);
        if (lane == 0) {
            args.sum[blockIdx.y * args.sum_batch + j] = args.x[blockIdx.y * args.x_batch + j] + value / denom;
        }
    }
}

void armt_row_read(const armt_row_read_args & args, cudaStream_t stream) {
    const dim3   grid(std::min((args.n + ROW_READ_WARPS - 1) / ROW_READ_WARPS, 256), args.n_batch);
    const size_t shared = (size_t(args.n_roll) * args.order + args.n_roll / 2) * sizeof(float);
    row_read_kernel<<<grid, 32 * ROW_READ_WARPS, shared, stream>>>(args);
    CUDA_CHECK(cudaGetLastError());
}

//
// products with few columns, and their feature map
//

static constexpr int FEATURE_COLS    = 64;
static constexpr int FEATURE_STAGES  = 3;
static constexpr int FEATURE_WARPS   = 8;
static constexpr int FEATURE_THREADS = 32 * FEATURE_WARPS;

static __device__ __forceinline__ uint32_t pack2(float2 a, half) {
    const half2 h = __floats2half2_rn(a.x, a.y);
    return *(const uint32_t *) &h;
}
static __device__ __forceinline__ uint32_t pack2(float2 a, nv_bfloat16) {
    const nv_bfloat162 h = __floats2bfloat162_rn(a.x, a.y);
    return *(const uint32_t *) &h;
}
static __device__ __forceinline__ void mma16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, half) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, "
                 "%1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
static __device__ __forceinline__ void mma16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                             nv_bfloat16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// A block computes ROWS rows, a warp 16 of them, with 32 elements of each row in a tile. x goes through shared memory
// in F32 and is converted to 16 bits in registers.
template <int ROWS> struct feature_tile {
    static constexpr int GROUPS = FEATURE_WARPS / (ROWS / 16); // of warps with the same rows
    static constexpr int DEPTH  = 32 * GROUPS;                 // elements of a row
    static constexpr int X      = ROWS * DEPTH * int(sizeof(float));
    static constexpr int BYTES  = X + FEATURE_COLS * DEPTH * int(sizeof(half));
};

template <typename T, int ROWS>
static __global__ void __launch_bounds__(FEATURE_THREADS) features_kernel(const armt_features_args args) {
#if __CUDA_ARCH__ >= 800
    using tile_t            = feature_tile<ROWS>;
    constexpr int     DEPTH = tile_t::DEPTH;
    constexpr float   UNIT  = armt_narrow_unit(std::is_same_v<T, half> ? GGML_TYPE_F16 : GGML_TYPE_BF16);
    extern __shared__ __align__(128) char feature_tiles[];

    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int part = warp / (ROWS / 16);      // of a tile's depth
    const int rows = warp % (ROWS / 16) * 16; // in the block
    const int g    = lane / 4;
    const int t    = lane % 4;
    const int row0 = blockIdx.x * ROWS;
    const int ib   = blockIdx.y;

    const float *  x       = args.x + ib * args.x_batch;
    const T *      w       = (const T *) args.weight + ib * args.weight_batch;
    const int      n_tiles = args.n / DEPTH;
    const uint32_t shared  = uint32_t(__cvta_generic_to_shared(feature_tiles));

    // chunks of 16 bytes, permuted within a row to avoid bank conflicts
    constexpr int X_CHUNKS = ROWS * DEPTH / 4 / FEATURE_THREADS;
    constexpr int W_CHUNKS = FEATURE_COLS * DEPTH / 8 / FEATURE_THREADS;
    const float * from_x[X_CHUNKS];
    const T *     from_w[W_CHUNKS];
    uint32_t      to_x[X_CHUNKS];
    uint32_t      to_w[W_CHUNKS];
#pragma unroll
    for (int i = 0; i < X_CHUNKS; ++i) {
        const int r = (threadIdx.x + i * FEATURE_THREADS) / (DEPTH / 4);
        const int c = (threadIdx.x + i * FEATURE_THREADS) % (DEPTH / 4);
        from_x[i]   = x + min(row0 + r, args.n_rows - 1) * args.x_row + c * 4;
        to_x[i]     = (r * (DEPTH / 4) + (c ^ (r % 8 * 2))) * 16;
    }
#pragma unroll
    for (int i = 0; i < W_CHUNKS; ++i) {
        const int r = (threadIdx.x + i * FEATURE_THREADS) / (DEPTH / 8);
        const int c = (threadIdx.x + i * FEATURE_THREADS) % (DEPTH / 8);
        from_w[i]   = w + int64_t(min(r, args.n_cols - 1)) * args.n + c * 8;
        to_w[i]     = tile_t::X + (r * (DEPTH / 8) + (c ^ (r % 8))) * 16;
    }
    const auto fetch = [&](int tile) {
        if (tile < n_tiles) {
            const uint32_t to = shared + tile % FEATURE_STAGES * tile_t::BYTES;
#pragma unroll
            for (int i = 0; i < X_CHUNKS; ++i) {
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + to_x[i]),
                             "l"(from_x[i] + tile * DEPTH)
                             : "memory");
            }
#pragma unroll
            for (int i = 0; i < W_CHUNKS; ++i) {
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + to_w[i]),
                             "l"(from_w[i] + tile * DEPTH)
                             : "memory");
            }
        }
        asm volatile("cp.async.commit_group;" ::: "memory"); // may be empty, so that there is one group for each tile
    };
#pragma unroll
    for (int i = 0; i < FEATURE_STAGES - 1; ++i) {
        fetch(i);
    }
    float acc[FEATURE_COLS / 8][4] = {};
    for (int tile = 0; tile < n_tiles; ++tile) {
        asm volatile("cp.async.wait_group %0;" ::"n"(FEATURE_STAGES - 2) : "memory");
        __syncthreads();
        fetch(tile + FEATURE_STAGES - 1); // overwrites the tile before this one

        const char *   tile_x = feature_tiles + tile % FEATURE_STAGES * tile_t::BYTES;
        const uint32_t tile_w = shared + tile % FEATURE_STAGES * tile_t::BYTES + tile_t::X;
        uint32_t       a[2][4];
#pragma unroll
        for (int s = 0; s < 2; ++s) {
#pragma unroll
            for (int q = 0; q < 4; ++q) { // rows g, g + 8; columns 2t, 2t + 8
                const int    r = rows + g + q % 2 * 8;
                const int    c = part * 32 + s * 16 + 2 * t + q / 2 * 8;
                const float2 two =
                    *(const float2 *) (tile_x + (r * (DEPTH / 4) + ((c / 4) ^ (r % 8 * 2))) * 16 + c % 4 * 4);
                a[s][q] = pack2(make_float2(two.x / UNIT, two.y / UNIT), T{});
                if (args.narrow != nullptr && row0 + r < args.n_rows) {
                    *(uint32_t *) ((T *) args.narrow + (int64_t(ib) * args.n_rows + row0 + r) * args.n + tile * DEPTH +
                                   c) = a[s][q];
                }
            }
        }
#pragma unroll
        for (int j = 0; j < FEATURE_COLS / 8; ++j) {
            const int r = j * 8 + lane % 8;
            const int c = part * 4 + lane / 8;
            uint32_t  b[4];
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                         : "r"(tile_w + (r * (DEPTH / 8) + (c ^ (r % 8))) * 16)
                         : "memory");
            mma16(acc[j], a[0], b[0], b[1], T{});
            mma16(acc[j], a[1], b[2], b[3], T{});
        }
    }
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();

    constexpr int ROW    = FEATURE_COLS + 4;
    float *       result = (float *) feature_tiles; // [GROUPS][ROWS][ROW]
#pragma unroll
    for (int j = 0; j < FEATURE_COLS / 8; ++j) {
        *(float2 *) (result + (part * ROWS + rows + g) * ROW + j * 8 + 2 * t) =
            make_float2(acc[j][0] * UNIT, acc[j][1] * UNIT);
        *(float2 *) (result + (part * ROWS + rows + g + 8) * ROW + j * 8 + 2 * t) =
            make_float2(acc[j][2] * UNIT, acc[j][3] * UNIT);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < ROWS * FEATURE_COLS; i += FEATURE_THREADS) {
        const int at = i / FEATURE_COLS * ROW + i % FEATURE_COLS;
#pragma unroll
        for (int p = 1; p < tile_t::GROUPS; ++p) {
            result[at] += result[p * ROWS * ROW + at];
        }
    }
    __syncthreads();

    const int n_rows = min(ROWS, args.n_rows - row0);
    const int n_out  = 2 * args.n_cols * args.order;
    const int n_half = args.n_roll / 2;
    float *   to     = args.output + (int64_t(ib) * args.n_rows + row0) * n_out;
    for (int r = warp; r < n_rows; r += FEATURE_WARPS) {
        for (int i = lane; i < n_out; i += 32) {
            const int at   = i % args.n_roll;
            int       from = at + i / args.n_roll % args.order - args.order; // rolls by order, .., 1
            from += from < 0 ? args.n_roll : 0;
            const float * head         = result + r * ROW + i / (args.n_roll * args.order) * n_half;
            const float   a            = at < n_half ? head[at] : -head[at - n_half];
            const float   b            = from < n_half ? head[from] : -head[from - n_half];
            to[int64_t(r) * n_out + i] = fmaxf(a, 0.0f) * fmaxf(b, 0.0f);
        }
    }
#else
    GGML_UNUSED(args);
    NO_DEVICE_CODE;
#endif
}

template <typename T, int ROWS> static void features(const armt_features_args & args, cudaStream_t stream) {
    constexpr int shared = FEATURE_STAGES * feature_tile<ROWS>::BYTES;
    CUDA_CHECK(cudaFuncSetAttribute(features_kernel<T, ROWS>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
    features_kernel<T, ROWS>
        <<<dim3((args.n_rows + ROWS - 1) / ROWS, args.n_batch), FEATURE_THREADS, shared, stream>>>(args);
    CUDA_CHECK(cudaGetLastError());
}

size_t armt_features_shared() {
    return FEATURE_STAGES * std::max(feature_tile<16>::BYTES, feature_tile<64>::BYTES);
}

void armt_features(const armt_features_args & args, cudaStream_t stream) {
    // large blocks read the weights less often; with few rows, small ones use more of the device
    const bool many = int64_t(args.n_rows) * args.n_batch >= 128 * 64;
    if (args.type == GGML_TYPE_BF16) {
        (many ? features<nv_bfloat16, 64> : features<nv_bfloat16, 16>) (args, stream);
    } else {
        (many ? features<half, 64> : features<half, 16>) (args, stream);
    }
}

//
// the update that a write adds to the memory
//

static constexpr int UPDATE_THREADS = 256;

template <typename T>
static __global__ void __launch_bounds__(UPDATE_THREADS) update_kernel(const armt_update_args args) {
    __shared__ float sums[2][UPDATE_THREADS / 32];

    const int     ib     = blockIdx.y;
    const int64_t row    = int64_t(ib) * args.n_rows + blockIdx.x;
    const T *     x      = (const T *) args.x + row * args.n;
    const T *     beta   = (const T *) args.beta + ib * args.beta_batch;
    const float * key    = args.key + row * args.n_key;
    const float * value  = args.value + row * args.n;
    const float * recall = args.recall + row * args.recall_row;
    float *       output = args.output + row * args.output_row;

    float dot  = 0.0f;
    float norm = 0.0f;
    for (int i = 2 * threadIdx.x; i < args.n; i += 2 * UPDATE_THREADS) {
        const float2 a = load2(x + i);
        const float2 b = load2(beta + i);
        dot += a.x * b.x + a.y * b.y;
    }
    for (int i = threadIdx.x; i < args.n_key; i += UPDATE_THREADS) {
        norm += key[i] * key[i];
    }
    dot  = warp_reduce_sum(dot);
    norm = warp_reduce_sum(norm);
    if (threadIdx.x % 32 == 0) {
        sums[0][threadIdx.x / 32] = dot;
        sums[1][threadIdx.x / 32] = norm;
    }
    __syncthreads();
    dot  = args.beta_bias == nullptr ? 0.0f : args.beta_bias[ib * args.beta_bias_batch];
    norm = args.key_eps;
#pragma unroll
    for (int i = 0; i < UPDATE_THREADS / 32; ++i) {
        dot += sums[0][i] * armt_narrow_unit(args.type);
        norm += sums[1][i];
    }
    const float denom = recall[args.n] + args.recall_eps;
    const float much  = 1.0f / (1.0f + __expf(-dot));
    for (int i = 4 * threadIdx.x; i < args.n; i += 4 * UPDATE_THREADS) {
        const float4 v = *(const float4 *) (value + i);
        const float4 r = *(const float4 *) (recall + i);
        const float  f = 1.0f / denom;
        *(float4 *) (output + i) =
            make_float4(much * (v.x - r.x * f), much * (v.y - r.y * f), much * (v.z - r.z * f), much * (v.w - r.w * f));
    }
    if (threadIdx.x == 0) {
        float gamma = fminf(fmaxf(1.0f - denom / norm, 0.0f), 1.0f);
        if (args.not_first != nullptr) {
            const float not_first = args.not_first[ib * args.not_first_batch];
            gamma                 = gamma * not_first + (1.0f - not_first);
        }
        output[args.n] = gamma;
        for (int i = args.n + 1; i < args.output_row; ++i) {
            output[i] = 0.0f;
        }
    }
}

void armt_update(const armt_update_args & args, cudaStream_t stream) {
    const dim3 grid(args.n_rows, args.n_batch);
    if (args.type == GGML_TYPE_BF16) {
        update_kernel<nv_bfloat16><<<grid, UPDATE_THREADS, 0, stream>>>(args);
    } else {
        update_kernel<half><<<grid, UPDATE_THREADS, 0, stream>>>(args);
    }
    CUDA_CHECK(cudaGetLastError());
}

//
// RoPE and the K/V store
//

static constexpr int ROPE_THREADS = 256;

template <typename T, typename TO>
static __device__ void rotate(const T * from, TO * to, const float2 * angles, int n_heads, int n_half) {
    // two pairs at a time
    for (int i = 2 * threadIdx.x; i < n_heads * n_half; i += 2 * ROPE_THREADS) {
        const int    at = i / n_half * 2 * n_half + i % n_half;
        const float2 c0 = angles[i % n_half];
        const float2 c1 = angles[i % n_half + 1];
        const float2 a  = load2(from + at);
        const float2 b  = load2(from + at + n_half);
        store2(to + at, a.x * c0.x - b.x * c0.y, a.y * c1.x - b.y * c1.y);
        store2(to + at + n_half, a.x * c0.y + b.x * c0.x, a.y * c1.y + b.y * c1.x);
    }
}

template <typename T, typename TQ>
static __global__ void __launch_bounds__(ROPE_THREADS) rope_store_kernel(const armt_rope_args args) {
    extern __shared__ float2 angles[];

    const int64_t ir     = blockIdx.x;
    const int     n_half = args.n_dims / 2;
    for (int i = threadIdx.x; i < n_half; i += ROPE_THREADS) {
        // in ggml's order: first the power of the base, then the factor and the scale
        float theta = args.pos[ir] * powf(args.theta_scale, float(i)) * args.freq_scale;
        if (args.factors != nullptr) {
            theta /= args.factors[i];
        }
        // fast math is inaccurate for sine and cosine of large angles
        const float turns = theta * 0.159154943f;
        theta -= rintf(turns) * 6.28125f;
        theta -= rintf(turns) * 0.00193530717958f;
        angles[i] = make_float2(cosf(theta) * args.scale, sinf(theta) * args.scale);
    }
    __syncthreads();

    const int64_t row = args.idxs[ir];
    rotate((const T *) args.q + ir * args.row_stride, (TQ *) args.q_out + ir * args.n_head * args.n_dims, angles,
           args.n_head, n_half);
    rotate((const T *) args.k + ir * args.row_stride, args.k_out + row * args.k_row, angles, args.n_head_kv, n_half);

    const T * v  = (const T *) args.v + ir * args.row_stride;
    half *    to = args.v_out + row * args.v_row;
    for (int i = 2 * threadIdx.x; i < args.n_head_kv * args.n_dims; i += 2 * ROPE_THREADS) {
        const float2 a = load2(v + i);
        store2(to + i, a.x, a.y);
    }
}

template <typename T> static void rope_store(const armt_rope_args & args, cudaStream_t stream) {
    const size_t shared = args.n_dims / 2 * sizeof(float2);
    if (args.q_type == GGML_TYPE_F16) {
        rope_store_kernel<T, half><<<args.n_rows, ROPE_THREADS, shared, stream>>>(args);
    } else {
        rope_store_kernel<T, float><<<args.n_rows, ROPE_THREADS, shared, stream>>>(args);
    }
    CUDA_CHECK(cudaGetLastError());
}

void armt_rope_store(const armt_rope_args & args, cudaStream_t stream) {
    switch (args.type) {
        case GGML_TYPE_F16: rope_store<half>(args, stream); break;
        case GGML_TYPE_BF16: rope_store<nv_bfloat16>(args, stream); break;
        default: rope_store<float>(args, stream); break;
    }
}
