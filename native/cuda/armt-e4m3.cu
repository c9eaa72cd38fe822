// Rounds rows to e4m3.

#include "armt-e4m3.cuh"
#include "armt-kernels.cuh"

static constexpr int THREADS = 256;

// What a thread of a row's block holds of it: V times eight elements
template <int V> struct part_of_row {
    float x[V][8];

    static __device__ __forceinline__ int at(int v) { return 8 * (v * THREADS + threadIdx.x); }

    __device__ __forceinline__ float largest() const {
        float most = 0.0f;
#pragma unroll
        for (int v = 0; v < V; ++v) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                most = fmaxf(most, fabsf(x[v][i]));
            }
        }
        return most;
    }

    __device__ __forceinline__ void store(uint8_t * to, int n, float unit) const {
        const float factor = 1.0f / unit;
#pragma unroll
        for (int v = 0; v < V; ++v) {
            if (at(v) < n) {
                const float * a         = x[v];
                *(uint2 *) (to + at(v)) = make_uint2(pack_e4m3(make_float4(a[0], a[1], a[2], a[3]), factor),
                                                     pack_e4m3(make_float4(a[4], a[5], a[6], a[7]), factor));
            }
        }
    }
};

template <typename T, int V> static __device__ __forceinline__ part_of_row<V> load_part(const T * from, int n) {
    part_of_row<V> part = {};
#pragma unroll
    for (int v = 0; v < V; ++v) {
        if (part.at(v) < n) {
            load8(from + part.at(v), part.x[v]);
        }
    }
    return part;
}

template <typename T, int V>
static __global__ void __launch_bounds__(THREADS) quantize_kernel(const armt_quantize_args args) {
    const int64_t        row  = blockIdx.x;
    const part_of_row<V> part = load_part<T, V>((const T *) args.x + row * args.x_row, args.n);
    uint8_t *            to   = (uint8_t *) args.output + row * args.n;
    if (args.most != nullptr) { // uniform in the grid
        const float unit = e4m3_unit(args.most[row / args.n_part]);
        part.store(to, args.n, unit);
        if (row % args.n_part == 0 && threadIdx.x == 0) {
            args.scales[row / args.n_part * ARMT_TENSOR_SCALE_STRIDE] = unit;
        }
        return;
    }
    const float unit = e4m3_unit(block_max<THREADS>(part.largest()));
    part.store(to, args.n, unit);
    if (threadIdx.x == 0) {
        args.scales[row] = unit;
    }
}

template <typename T, int V>
static __global__ void __launch_bounds__(THREADS) largest_kernel(const armt_quantize_args args, float * most) {
    const int64_t        row  = blockIdx.x;
    const part_of_row<V> part = load_part<T, V>((const T *) args.x + row * args.x_row, args.n);
    const float          x    = block_max<THREADS>(part.largest());
    if (threadIdx.x == 0) {
        // numbers that are not negative have the order of their bits
        atomicMax((unsigned int *) most + row / args.n_part, __float_as_uint(x));
    }
}

template <typename TI, int V>
static __global__ void __launch_bounds__(THREADS)
    swiglu_e4m3_kernel(const TI * input, uint8_t * output, float * scales, int n) {
    const int64_t        row  = blockIdx.x;
    part_of_row<V>       part = load_part<TI, V>(input + row * 2 * n, n);
    const part_of_row<V> up   = load_part<TI, V>(input + row * 2 * n + n, n);
#pragma unroll
    for (int v = 0; v < V; ++v) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const float x = part.x[v][i];
            part.x[v][i]  = x / (1.0f + __expf(-x)) * up.x[v][i];
        }
    }
    const float unit = e4m3_unit(block_max<THREADS>(part.largest()));
    part.store(output + row * n, n, unit);
    if (threadIdx.x == 0) {
        scales[row] = unit;
    }
}

//
// launches
//

// Calls fn with the type of the elements as a value, and with how many times eight of them a thread holds as a constant
template <typename F> static void for_row(ggml_type type, int n, F fn) {
    GGML_ASSERT(n <= ARMT_MAX_E4M3_COLS && n % 8 == 0);
    const auto with = [&](auto zero) {
        if (n <= 1 * 8 * THREADS) {
            fn(zero, std::integral_constant<int, 1>{});
        } else if (n <= 2 * 8 * THREADS) {
            fn(zero, std::integral_constant<int, 2>{});
        } else if (n <= 4 * 8 * THREADS) {
            fn(zero, std::integral_constant<int, 4>{});
        } else {
            fn(zero, std::integral_constant<int, 8>{});
        }
    };
    switch (type) {
        case GGML_TYPE_F16: with(half{}); break;
        case GGML_TYPE_BF16: with(nv_bfloat16{}); break;
        default: with(float{}); break;
    }
}

void armt_quantize(const armt_quantize_args & args, cudaStream_t stream) {
    for_row(args.type, args.n, [&](auto zero, auto v) {
        quantize_kernel<decltype(zero), decltype(v)::value><<<args.n_rows, THREADS, 0, stream>>>(args);
    });
    CUDA_CHECK(cudaGetLastError());
}

void armt_largest(const armt_quantize_args & args, float * most, cudaStream_t stream) {
    for_row(args.type, args.n, [&](auto zero, auto v) {
        largest_kernel<decltype(zero), decltype(v)::value><<<args.n_rows, THREADS, 0, stream>>>(args, most);
    });
    CUDA_CHECK(cudaGetLastError());
}

void armt_swiglu_e4m3(const void * input, ggml_type type_in, void * output, float * scales, int n, int64_t n_rows,
                      cudaStream_t stream) {
    for_row(type_in, n, [&](auto zero, auto v) {
        using T = decltype(zero);
        swiglu_e4m3_kernel<T, decltype(v)::value>
            <<<n_rows, THREADS, 0, stream>>>((const T *) input, (uint8_t *) output, scales, n);
    });
    CUDA_CHECK(cudaGetLastError());
}
