// Products for Hopper (sm_90a) with what follows them: the SwiGLU of the result, so that gate and up meet in registers
// and never go through memory; for operands in e4m3 also the scales of their rows, and the addition of a residual.
//
// A block computes tiles of 128 rows. With SwiGLU they have 128 columns of the result, from 128 rows of the gate's
// weights and 128 of up's; else 256 columns. One thread copies (TMA) to a ring of STAGES stages in shared memory, and
// each of two groups of four warps multiplies 64 rows (wgmma). Two blocks form a cluster. They share the weights for
// two tiles of rows; for a single last tile of rows, they share its rows for two tiles of columns. Each fetches half of
// what they share, which reduces the traffic through the L2 cache. A block handles several tiles, so that copies
// overlap with the writing of results.

#include "armt-e4m3.cuh"
#include "armt-hopper.cuh"
#include "armt-kernels.cuh"

#ifdef ARMT_HOPPER

static constexpr int HALF   = 128; // columns from one half of a stage's weights
static constexpr int DEPTH  = 128; // bytes of a row in a stage
static constexpr int GROUPS = 2;
static constexpr int ROWS   = 64 * GROUPS;
static constexpr int STAGES = 4;

static constexpr int X_BYTES   = ROWS * DEPTH; // of a stage
static constexpr int W_BYTES   = 2 * HALF * DEPTH;
static constexpr int OUT_BYTES = 64 * HALF * 2; // of a group
static constexpr int BYTES = STAGES * (X_BYTES + W_BYTES) + GROUPS * OUT_BYTES + STAGES * 2 * 8 + 1024 /* to align */;

// The scales of e4m3 need registers, which whole groups of warps can give to each other.
template <typename T> static constexpr __host__ __device__ bool has_scales() {
    return std::is_same_v<T, __nv_fp8_e4m3>;
}
template <typename T> static constexpr __host__ __device__ int n_threads() {
    return 128 * GROUPS + (has_scales<T>() ? 128 : 32);
}

struct kernel_args {
    int n_cols; // of the result
    int n_rows;
    int n_batch_rows; // rows of the weights in a batch
    int n_steps;      // of DEPTH
    int second;       // row of the weights at which a tile's second half begins, from the first
    int n_row_tiles;
    int n_col_pairs; // two tiles of columns
    int n_all;       // pairs of tiles, of all batches

    const float * x_scales; // of e4m3
    const float * weight_scales;

    // of results in F32; residual can be nullptr
    float *       output;
    int64_t       output_row, output_batch;
    const float * residual;
    int64_t       residual_row, residual_batch;
};

// Columns of the result in a tile
static constexpr __host__ __device__ int tile_cols(armt_epilogue epilogue) {
    return epilogue == ARMT_EPILOGUE_SWIGLU ? HALF : 2 * HALF;
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// c = a*b, or c += a*b, 64 rows by 32 bytes; b: 256 rows. The last operands of 16-bit types say that neither is
// transposed.
#define ARMT_MULTIPLY(SHAPE, TYPE, ...)                                                                                \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"                                                         \
                 "wgmma.mma_async.sync.aligned.m64n256" SHAPE ".f32." TYPE "." TYPE " {" ARMT_D128                     \
                 "}, %128, %129, p, 1, 1" __VA_ARGS__ ";\n}\n"                                                         \
                 : ARMT_R32(c, 0), ARMT_R32(c, 8), ARMT_R32(c, 16), ARMT_R32(c, 24)                                    \
                 : "l"(a), "l"(b), "r"(add))

template <typename T>
static __device__ __forceinline__ void multiply(float (&c)[32][4], uint64_t a, uint64_t b, int add) {
    if constexpr (std::is_same_v<T, half>) {
        ARMT_MULTIPLY("k16", "f16", ", 0, 0");
    } else if constexpr (std::is_same_v<T, nv_bfloat16>) {
        ARMT_MULTIPLY("k16", "bf16", ", 0, 0");
    } else {
        ARMT_MULTIPLY("k32", "e4m3", "");
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

// T: of the operands; TO: of the result
template <typename T, typename TO, armt_epilogue EPILOGUE>
static __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(n_threads<T>(), 1)
    product_kernel(const __grid_constant__ CUtensorMap map_x, const __grid_constant__ CUtensorMap map_w,
                   const __grid_constant__ CUtensorMap map_out, const kernel_args args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ char memory[];

    constexpr bool HAS_SCALES = has_scales<T>();
    constexpr int  STEP       = DEPTH / sizeof(T); // elements
    constexpr int  COLS       = tile_cols(EPILOGUE);

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
        if constexpr (HAS_SCALES) {
            give_registers<40>();
        }
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
                        tma_load_both(to_x + rank * (X_BYTES / 2), &map_x, barrier, k * STEP, at.row + rank * 64,
                                      at.batch, 0);
                        tma_load(to_w, &map_w, barrier, k * STEP, at.col, at.batch, 0);
                        tma_load(to_w + W_BYTES / 2, &map_w, barrier, k * STEP, at.col + args.second, at.batch, 0);
                    } else {
                        tma_load(to_x, &map_x, barrier, k * STEP, at.row, at.batch, 0);
                        tma_load(to_x + X_BYTES / 2, &map_x, barrier, k * STEP, at.row + 64, at.batch, 0);
                        tma_load_both(to_w + rank * (W_BYTES / 2), &map_w, barrier, k * STEP,
                                      at.col + rank * args.second, at.batch, 0);
                    }
                    if (++stage == STAGES) {
                        stage = 0;
                        parity ^= 1;
                    }
                }
            }
        }
    } else {
        if constexpr (HAS_SCALES) {
            take_registers<232>();
        }
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
                const uint32_t x = stages + stage * (X_BYTES + W_BYTES) + group * (64 * DEPTH);
                const uint32_t w = stages + stage * (X_BYTES + W_BYTES) + X_BYTES;
                wgmma_begin();
#pragma unroll
                for (int s = 0; s < DEPTH / 32; ++s) {
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

            const place at  = place_of(i);
            const int   row = at.row + group * 64 + warp * 16 + lane / 4; // and row + 8
            if constexpr (HAS_SCALES) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const float scale =
                        row + h * 8 < args.n_rows ? args.x_scales[int64_t(at.batch) * args.n_rows + row + h * 8] : 0.0f;
#pragma unroll
                    for (int j = 0; j < 32; ++j) {
                        c[j][2 * h] *= scale;
                        c[j][2 * h + 1] *= scale;
                    }
                }
                const float * scales = args.weight_scales + int64_t(at.batch) * args.n_batch_rows;
#pragma unroll
                for (int j = 0; j < 32; ++j) {
                    const int col = at.col + j % 16 * 8 + lane % 4 * 2;
                    const int own = col + j / 16 * args.second;
                    // of columns beyond the result: any, because nothing is written there
                    const float2 scale = *(const float2 *) (scales + min(own, args.n_batch_rows - 2));
                    c[j][0] *= scale.x;
                    c[j][1] *= scale.y;
                    c[j][2] *= scale.x;
                    c[j][3] *= scale.y;
                }
            }
            if constexpr (std::is_same_v<TO, float>) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    if (row + h * 8 >= args.n_rows) {
                        continue;
                    }
                    float *       to = args.output + at.batch * args.output_batch + (row + h * 8) * args.output_row;
                    const float * from =
                        args.residual + at.batch * args.residual_batch + (row + h * 8) * args.residual_row;
#pragma unroll
                    for (int j = 0; j < 32; ++j) {
                        const int col = at.col + j * 8 + lane % 4 * 2;
                        if (col < args.n_cols) {
                            float2 two = make_float2(c[j][2 * h], c[j][2 * h + 1]);
                            if (args.residual != nullptr) {
                                const float2 other = *(const float2 *) (from + col);
                                two.x += other.x;
                                two.y += other.y;
                            }
                            *(float2 *) (to + col) = two;
                        }
                    }
                }
            } else {
                // 128 columns at a time
#pragma unroll
                for (int part = 0; part < COLS / HALF; ++part) {
                    if (threadIdx.x % 128 == 0) {
                        tma_store_wait();
                    }
                    group_sync(1 + group);
#pragma unroll
                    for (int j = 0; j < 16; ++j) {
#pragma unroll
                        for (int h = 0; h < 2; ++h) {
                            const int      to_row = warp * 16 + lane / 4 + h * 8;
                            const uint32_t to =
                                out + j / 8 * (64 * 128) + to_row * 128 + ((j % 8) ^ (to_row % 8)) * 16 + lane % 4 * 4;
                            uint32_t two;
                            if constexpr (EPILOGUE == ARMT_EPILOGUE_SWIGLU) {
                                two = pack(swiglu(c[j][2 * h], c[j + 16][2 * h]),
                                           swiglu(c[j][2 * h + 1], c[j + 16][2 * h + 1]), TO{});
                            } else {
                                two = pack(c[part * 16 + j][2 * h], c[part * 16 + j][2 * h + 1], TO{});
                            }
                            asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(two) : "memory");
                        }
                    }
                    tma_store_fence();
                    group_sync(1 + group);
                    if (threadIdx.x % 128 == 0) {
                        const int col = at.col + part * HALF;
                        tma_store(&map_out, out, col, at.row + group * 64, at.batch, 0);
                        tma_store(&map_out, out + 64 * 128, col + 64, at.row + group * 64, at.batch, 0);
                        tma_store_commit();
                    }
                }
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

static kernel_args make_args(const armt_product_args & args) {
    const bool  gated        = args.epilogue == ARMT_EPILOGUE_SWIGLU;
    const int   pair         = 2 * tile_cols(args.epilogue);
    const int   step         = DEPTH / (args.type == ARMT_TYPE_E4M3 ? 1 : 2);
    kernel_args kernel_args  = {};
    kernel_args.n_cols       = args.n_cols;
    kernel_args.n_rows       = args.n_rows;
    kernel_args.n_batch_rows = gated ? 2 * args.n_cols : args.n_cols;
    kernel_args.n_steps      = args.n / step;
    kernel_args.second       = gated ? args.n_cols : HALF;
    kernel_args.n_row_tiles  = (args.n_rows + ROWS - 1) / ROWS;
    kernel_args.n_col_pairs  = (args.n_cols + pair - 1) / pair;
    kernel_args.n_all        = kernel_args.n_row_tiles * kernel_args.n_col_pairs * args.n_batch;

    kernel_args.x_scales       = args.x_scales;
    kernel_args.weight_scales  = args.weight_scales;
    kernel_args.output         = (float *) args.output;
    kernel_args.output_row     = args.output_row;
    kernel_args.output_batch   = args.output_batch;
    kernel_args.residual       = args.residual;
    kernel_args.residual_row   = args.residual_row;
    kernel_args.residual_batch = args.residual_batch;
    return kernel_args;
}

// a cluster takes two multiprocessors
static int n_clusters_at_once() {
    return ggml_cuda_info().devices[ggml_cuda_get_device()].nsm / 2;
}

template <typename T, typename TO, armt_epilogue EPILOGUE>
static void launch(const armt_product_args & args, cudaStream_t stream) {
    const kernel_args kernel_args = make_args(args);
    const auto map = [&](const void * data, ggml_type type, int64_t n_cols, int64_t n_rows, int64_t row, int64_t batch,
                         int box_rows) {
        return armt_tensor_map(
            {data, type, n_cols, n_rows, row, args.n_batch, batch, 1, batch * args.n_batch, box_rows});
    };
    const CUtensorMap map_x = map(args.x, args.type, args.n, args.n_rows, args.n, int64_t(args.n_rows) * args.n, 64);
    const CUtensorMap map_w =
        map(args.weight, args.type, args.n, kernel_args.n_batch_rows, args.weight_row, args.weight_batch, HALF);
    CUtensorMap map_out = map_x; // not used for F32
    if constexpr (!std::is_same_v<TO, float>) {
        map_out = map(args.output, args.type_out, args.n_cols, args.n_rows, args.n_cols,
                      int64_t(args.n_rows) * args.n_cols, 64);
    }
    const int  n_clusters = std::min(n_clusters_at_once(), kernel_args.n_all);
    const auto kernel     = product_kernel<T, TO, EPILOGUE>;
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, BYTES));
    kernel<<<2 * n_clusters, n_threads<T>(), BYTES, stream>>>(map_x, map_w, map_out, kernel_args);
    CUDA_CHECK(cudaGetLastError());
}

bool armt_has_product(const armt_product_args & args) {
    const int multiple = args.type == ARMT_TYPE_E4M3 ? 16 : 8; // 16 bytes
    const int step     = DEPTH / (args.type == ARMT_TYPE_E4M3 ? 1 : 2);
    if (ggml_cuda_info().devices[ggml_cuda_get_device()].cc != 900 || args.n_rows < ROWS ||
        args.n_cols < tile_cols(args.epilogue) || args.n % step != 0 || args.n_cols % 8 != 0 ||
        args.weight_row % multiple != 0 || args.weight_batch % multiple != 0) {
        return false;
    }
    // Tiles are large. If clusters spend more than a tenth of the time waiting for the last ones, cuBLAS and a kernel
    // for SwiGLU may be faster: on an H100, this kernel had 0.85 to 1.14 × their speed then, and 1.06 to 1.37 ×
    // otherwise.
    const int n_all   = make_args(args).n_all;
    const int n_waves = (n_all + n_clusters_at_once() - 1) / n_clusters_at_once();
    return n_all * 10 >= n_waves * n_clusters_at_once() * 9;
}

void armt_product(const armt_product_args & args, cudaStream_t stream) {
    const bool is_bf16 = args.type_out == GGML_TYPE_BF16;
    if (args.epilogue == ARMT_EPILOGUE_SWIGLU) {
        switch (args.type) {
            case GGML_TYPE_BF16: launch<nv_bfloat16, nv_bfloat16, ARMT_EPILOGUE_SWIGLU>(args, stream); return;
            case GGML_TYPE_F16: launch<half, half, ARMT_EPILOGUE_SWIGLU>(args, stream); return;
            default: break;
        }
    }
    GGML_ASSERT(args.type == ARMT_TYPE_E4M3);
    const auto e4m3 = args.epilogue == ARMT_EPILOGUE_SWIGLU
                          ? is_bf16 ? launch<__nv_fp8_e4m3, nv_bfloat16, ARMT_EPILOGUE_SWIGLU>
                                    : launch<__nv_fp8_e4m3, half, ARMT_EPILOGUE_SWIGLU>
                      : args.type_out == GGML_TYPE_F32 ? launch<__nv_fp8_e4m3, float, ARMT_EPILOGUE_ADD>
                      : is_bf16                        ? launch<__nv_fp8_e4m3, nv_bfloat16, ARMT_EPILOGUE_ADD>
                                                       : launch<__nv_fp8_e4m3, half, ARMT_EPILOGUE_ADD>;
    e4m3(args, stream);
}

#else // not built for sm_90a

bool armt_has_product(const armt_product_args &) {
    return false;
}

void armt_product(const armt_product_args &, cudaStream_t) {
    GGML_ABORT("not built for sm_90a");
}

#endif
