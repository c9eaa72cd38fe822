// A product and the SwiGLU of its result for Hopper (sm_90a). Gate and up meet in registers, so they never go through
// memory.
//
// A block computes tiles of 128 rows by 128 columns of the result, from 128 rows of the gate's weights and 128 of up's.
// One thread copies (TMA) to a ring of STAGES stages in shared memory, and each of two groups of four warps multiplies
// 64 rows (wgmma). Two blocks form a cluster. They share the weights for two tiles of rows; for a single last tile of
// rows, they share its rows for two tiles of columns. Each fetches half of what they share, which reduces the traffic
// through the L2 cache. A block handles several tiles, so that copies overlap with the writing of results.

#include "armt-hopper.cuh"
#include "armt-kernels.cuh"

#ifdef ARMT_HOPPER

static constexpr int COLS   = 128; // of the result
static constexpr int DEPTH  = 64;  // 128 bytes
static constexpr int GROUPS = 2;
static constexpr int ROWS   = 64 * GROUPS;
static constexpr int STAGES = 4;

static constexpr int X_BYTES   = ROWS * DEPTH * 2; // of a stage
static constexpr int W_BYTES   = 2 * COLS * DEPTH * 2;
static constexpr int OUT_BYTES = 64 * COLS * 2; // of a group
static constexpr int BYTES   = STAGES * (X_BYTES + W_BYTES) + GROUPS * OUT_BYTES + STAGES * 2 * 8 + 1024 /* to align */;
static constexpr int THREADS = 128 * GROUPS + 32;

struct swiglu_args {
    int n_cols;
    int n_steps; // of DEPTH
    int n_row_tiles;
    int n_col_pairs; // two tiles of columns
    int n_all;       // pairs of tiles, of all batches
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// c = a*b, or c += a*b, 64x16 by 16x256; a: 64 rows, b: 256 rows
#define ARMT_MULTIPLY(TYPE)                                                                                            \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"                                                         \
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32." TYPE "." TYPE " {" ARMT_D128                           \
                 "}, %128, %129, p, 1, 1, 0, 0;\n}\n"                                                                  \
                 : ARMT_R32(c, 0), ARMT_R32(c, 8), ARMT_R32(c, 16), ARMT_R32(c, 24)                                    \
                 : "l"(a), "l"(b), "r"(add))

template <typename T>
static __device__ __forceinline__ void multiply(float (&c)[32][4], uint64_t a, uint64_t b, int add) {
    if constexpr (std::is_same_v<T, half>) {
        ARMT_MULTIPLY("f16");
    } else {
        ARMT_MULTIPLY("bf16");
    }
}

static __device__ __forceinline__ float swiglu(float gate, float up) {
    return __fdividef(gate, 1.0f + __expf(-gate)) * up;
}

static __device__ __forceinline__ uint32_t pack(float a, float b, half) {
    const half2 h = __floats2half2_rn(a, b);
    return *(const uint32_t *) &h;
}
static __device__ __forceinline__ uint32_t pack(float a, float b, nv_bfloat16) {
    const nv_bfloat162 h = __floats2bfloat162_rn(a, b);
    return *(const uint32_t *) &h;
}

#endif

template <typename T>
static __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(THREADS, 1)
    swiglu_kernel(const __grid_constant__ CUtensorMap map_x, const __grid_constant__ CUtensorMap map_w,
                  const __grid_constant__ CUtensorMap map_out, const swiglu_args args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ char memory[];

    const uint32_t stages = (shared_address(memory) + 1023) / 1024 * 1024; // [STAGES][X, W]
    const uint32_t outs   = stages + STAGES * (X_BYTES + W_BYTES);         // [GROUPS]
    const uint32_t full   = outs + GROUPS * OUT_BYTES;                     // [STAGES] barriers
    const uint32_t empty  = full + STAGES * 8;
    const int      group  = threadIdx.x / 128;
    const int      rank   = cluster_rank();

    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; ++i) {
            barrier_init(full + i * 8, 1);
            barrier_init(empty + i * 8, 2 * GROUPS);
        }
        barrier_init_fence();
    }
    cluster_sync();

    // Two tiles of columns at a time with all their rows, so that weights are read from device memory once
    struct place {
        int  row, col, batch;
        bool alone; // a single last tile of rows
    };
    const auto place_of = [&](int i) {
        const int  n     = args.n_row_tiles;
        const int  at    = i % n;
        const int  pair  = i / n % args.n_col_pairs;
        const bool alone = at == n / 2 * 2;
        const int  row   = alone ? at : 2 * (at % (n / 2)) + rank;
        const int  col   = 2 * pair + (alone ? rank : at / (n / 2));
        return place{row * ROWS, col * COLS, i / n / args.n_col_pairs, alone};
    };
    const int first = blockIdx.x / 2;
    const int step  = gridDim.x / 2;

    if (group == GROUPS) {
        if (threadIdx.x == GROUPS * 128) {
            int      stage  = 0;
            uint32_t parity = 1;
            for (int i = first; i < args.n_all; i += step) {
                const place at = place_of(i);
                for (int k = 0; k < args.n_steps; ++k) {
                    barrier_wait(empty + stage * 8, parity);
                    const uint32_t barrier = full + stage * 8;
                    const uint32_t to_x    = stages + stage * (X_BYTES + W_BYTES);
                    const uint32_t to_w    = to_x + X_BYTES;
                    barrier_expect(barrier, X_BYTES + W_BYTES);
                    if (at.alone) {
                        tma_load_both(to_x + rank * (X_BYTES / 2), &map_x, barrier, k * DEPTH, at.row + rank * 64,
                                      at.batch, 0);
                        tma_load(to_w, &map_w, barrier, k * DEPTH, at.col, at.batch, 0);
                        tma_load(to_w + W_BYTES / 2, &map_w, barrier, k * DEPTH, at.col + args.n_cols, at.batch, 0);
                    } else {
                        tma_load(to_x, &map_x, barrier, k * DEPTH, at.row, at.batch, 0);
                        tma_load(to_x + X_BYTES / 2, &map_x, barrier, k * DEPTH, at.row + 64, at.batch, 0);
                        tma_load_both(to_w + rank * (W_BYTES / 2), &map_w, barrier, k * DEPTH,
                                      at.col + rank * args.n_cols, at.batch, 0);
                    }
                    if (++stage == STAGES) {
                        stage = 0;
                        parity ^= 1;
                    }
                }
            }
        }
    } else {
        const int      lane    = threadIdx.x % 32;
        const int      warp    = threadIdx.x % 128 / 32;
        const uint32_t out     = outs + group * OUT_BYTES;
        const auto     release = [&](int stage) {
            if (threadIdx.x % 128 < 2) {
                barrier_arrive(empty + stage * 8, threadIdx.x % 128);
            }
        };
        int      stage  = 0;
        uint32_t parity = 0;
        float    c[32][4]; // 16 times 8 columns of the gate, then of up
        for (int i = first; i < args.n_all; i += step) {
            int before = -1;
            settle(c);
            for (int k = 0; k < args.n_steps; ++k) {
                barrier_wait(full + stage * 8, parity);
                const uint32_t x = stages + stage * (X_BYTES + W_BYTES) + group * (64 * DEPTH * 2);
                const uint32_t w = stages + stage * (X_BYTES + W_BYTES) + X_BYTES;
                wgmma_begin();
#pragma unroll
                for (int s = 0; s < DEPTH / 16; ++s) {
                    multiply<T>(c, wgmma_descriptor(x + s * 32), wgmma_descriptor(w + s * 32), k > 0 || s > 0);
                }
                wgmma_commit();
                wgmma_wait<1>(); // for the stage before
                if (before >= 0) {
                    release(before);
                }
                before = stage;
                if (++stage == STAGES) {
                    stage = 0;
                    parity ^= 1;
                }
            }
            wgmma_wait<0>();
            settle(c);
            release(before);

            if (threadIdx.x % 128 == 0) {
                tma_store_wait();
            }
            group_sync(1 + group);
#pragma unroll
            for (int j = 0; j < 16; ++j) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const int      row = warp * 16 + lane / 4 + h * 8;
                    const uint32_t at =
                        out + j / 8 * (64 * 128) + row * 128 + ((j % 8) ^ (row % 8)) * 16 + lane % 4 * 4;
                    const uint32_t two =
                        pack(swiglu(c[j][2 * h], c[j + 16][2 * h]), swiglu(c[j][2 * h + 1], c[j + 16][2 * h + 1]), T{});
                    asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(two) : "memory");
                }
            }
            tma_store_fence();
            group_sync(1 + group);
            if (threadIdx.x % 128 == 0) {
                const place at = place_of(i);
                tma_store(&map_out, out, at.col, at.row + group * 64, at.batch, 0);
                tma_store(&map_out, out + 64 * 128, at.col + 64, at.row + group * 64, at.batch, 0);
                tma_store_commit();
            }
        }
        if (threadIdx.x % 128 == 0) {
            tma_store_wait();
        }
    }
    __syncwarp();
    cluster_sync(); // the other block may still write to this one's memory
#else
    GGML_UNUSED_VARS(map_x, map_w, map_out, args);
    NO_DEVICE_CODE;
#endif
}

static swiglu_args make_args(const armt_swiglu_product_args & args) {
    swiglu_args kernel_args = {};
    kernel_args.n_cols      = args.n_cols;
    kernel_args.n_steps     = args.n / DEPTH;
    kernel_args.n_row_tiles = (args.n_rows + ROWS - 1) / ROWS;
    kernel_args.n_col_pairs = (args.n_cols + 2 * COLS - 1) / (2 * COLS);
    kernel_args.n_all       = kernel_args.n_row_tiles * kernel_args.n_col_pairs * args.n_batch;
    return kernel_args;
}

// a cluster takes two multiprocessors
static int n_clusters_at_once() {
    return ggml_cuda_info().devices[ggml_cuda_get_device()].nsm / 2;
}

template <typename T> static void launch(const armt_swiglu_product_args & args, cudaStream_t stream) {
    const auto map = [&](const void * data, int64_t n_cols, int64_t n_rows, int64_t row, int64_t batch, int box_rows) {
        return armt_tensor_map(
            {data, args.type, n_cols, n_rows, row, args.n_batch, batch, 1, batch * args.n_batch, box_rows});
    };
    const CUtensorMap map_x = map(args.x, args.n, args.n_rows, args.n, int64_t(args.n_rows) * args.n, 64);
    const CUtensorMap map_w = map(args.weight, args.n, 2 * args.n_cols, args.weight_row, args.weight_batch, COLS);
    const CUtensorMap map_out =
        map(args.output, args.n_cols, args.n_rows, args.n_cols, int64_t(args.n_rows) * args.n_cols, 64);

    const swiglu_args kernel_args = make_args(args);
    const int         n_clusters  = std::min(n_clusters_at_once(), kernel_args.n_all);
    CUDA_CHECK(cudaFuncSetAttribute(swiglu_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, BYTES));
    swiglu_kernel<T><<<2 * n_clusters, THREADS, BYTES, stream>>>(map_x, map_w, map_out, kernel_args);
    CUDA_CHECK(cudaGetLastError());
}

bool armt_has_swiglu_product(const armt_swiglu_product_args & args) {
    if (ggml_cuda_info().devices[ggml_cuda_get_device()].cc != 900 || args.n_rows < ROWS || args.n_cols < COLS ||
        args.n % DEPTH != 0 || args.n_cols % 8 != 0 || args.weight_row % 8 != 0 || args.weight_batch % 8 != 0) {
        return false;
    }
    // Tiles are large. If clusters spend more than a tenth of the time waiting for the last ones, cuBLAS and a kernel
    // for SwiGLU may be faster: on an H100, this kernel had 0.85 to 1.14 × their speed then, and 1.06 to 1.37 ×
    // otherwise.
    const int n_all   = make_args(args).n_all;
    const int n_waves = (n_all + n_clusters_at_once() - 1) / n_clusters_at_once();
    return n_all * 10 >= n_waves * n_clusters_at_once() * 9;
}

void armt_swiglu_product(const armt_swiglu_product_args & args, cudaStream_t stream) {
    if (args.type == GGML_TYPE_BF16) {
        launch<nv_bfloat16>(args, stream);
    } else {
        launch<half>(args, stream);
    }
}

#else // not built for sm_90a

bool armt_has_swiglu_product(const armt_swiglu_product_args &) {
    return false;
}

void armt_swiglu_product(const armt_swiglu_product_args &, cudaStream_t) {
    GGML_ABORT("not built for sm_90a");
}

#endif
