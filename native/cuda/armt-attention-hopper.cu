// The attention of armt-attention.cu with Hopper's matrix instructions (wgmma, sm_90a), which read K and V from shared
// memory, in the order of FlashAttention-3 (arXiv 2407.08608, sec. 3.2): the scores of the next tile of K are computed
// at the same time as the exponentials of this one.
//
// One thread copies (TMA) Q and tiles of K and V to a ring of STAGES stages in shared memory. Each of two groups of
// four warps computes 64 rows. A block handles several pieces of work, so that copies for the next one overlap with the
// writing of results.

#include "armt-hopper.cuh"
#include "armt-kernels.cuh"

#ifdef ARMT_HOPPER

static constexpr int TILE_KV = 128;
static constexpr int STAGES  = 2;
static constexpr int GROUPS  = 2;
static constexpr int ROWS    = 64 * GROUPS;
static constexpr int THREADS = 128 * (GROUPS + 1);

template <int D> struct attention_tile {
    static constexpr int PARTS   = D / 64;      // 64 columns wide
    static constexpr int PART_Q  = 64 * 64 * 2; // bytes
    static constexpr int PART_KV = TILE_KV * 64 * 2;
    static constexpr int Q       = GROUPS * PARTS * PART_Q;
    static constexpr int KV      = PARTS * PART_KV;
    static constexpr int BYTES   = Q + STAGES * 2 * KV + (2 + STAGES * 4) * 8 + 1024 /* to align */;
};

struct attention_work {
    float scale; // of the scores, for powers of 2
    int   n_rows;
    int   n_head;
    int   n_queries; // heads of Q for each head of K and V
    int   n_tiles;   // of rows
    int   n_all;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// c = a*b, or c += a*b, 64x16 by 16x128; a: 64 rows, b: 128 rows (K)
static __device__ __forceinline__ void multiply_qk(float (&c)[16][4], uint64_t a, uint64_t b, int add) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" ARMT_D64
        "}, %64, %65, p, 1, 1, 0, 0;\n}\n"
        : ARMT_R32(c, 0), ARMT_R32(c, 8)
        : "l"(a), "l"(b), "r"(add));
}

// c = a*b, or c += a*b, 64x16 by 16x64; b: 16 rows (V)
static __device__ __forceinline__ void multiply_pv(float (&c)[8][4], const uint32_t (&a)[4], uint64_t b, int add) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" ARMT_D32
        "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}\n"
        : ARMT_R32(c, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ uint32_t pack(float a, float b) {
    const half2 h = __floats2half2_rn(a, b);
    return *(const uint32_t *) &h;
}

#endif

static __device__ __forceinline__ void store_pair(float * p, float a, float b) {
    *(float2 *) p = make_float2(a, b);
}
static __device__ __forceinline__ void store_pair(half * p, float a, float b) {
    *(half2 *) p = __floats2half2_rn(a, b);
}
static __device__ __forceinline__ void store_pair(nv_bfloat16 * p, float a, float b) {
    *(nv_bfloat162 *) p = __floats2bfloat162_rn(a, b);
}

// D: size of a head
template <int D, typename TO>
static __global__ void __launch_bounds__(THREADS, 1)
    attention_kernel(const __grid_constant__ CUtensorMap map_q, const __grid_constant__ CUtensorMap map_k,
                     const __grid_constant__ CUtensorMap map_v, TO * output, const attention_work work) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using tile_t                 = attention_tile<D>;
    constexpr int          PARTS = tile_t::PARTS;
    extern __shared__ char memory[];

    const uint32_t tile_q  = (shared_address(memory) + 1023) / 1024 * 1024; // [GROUPS][PARTS][64][64]
    const uint32_t tile_k  = tile_q + tile_t::Q;                            // [STAGES][PARTS][TILE_KV][64]
    const uint32_t tile_v  = tile_k + STAGES * tile_t::KV;
    const uint32_t full_q  = tile_v + STAGES * tile_t::KV; // barriers
    const uint32_t empty_q = full_q + 8;
    const uint32_t full_k  = empty_q + 8; // [STAGES]
    const uint32_t empty_k = full_k + STAGES * 8;
    const uint32_t full_v  = empty_k + STAGES * 8;
    const uint32_t empty_v = full_v + STAGES * 8;
    const int      group   = threadIdx.x / 128;

    if (threadIdx.x == 0) {
        barrier_init(full_q, 1);
        barrier_init(empty_q, GROUPS);
        for (int i = 0; i < STAGES; ++i) {
            barrier_init(full_k + i * 8, 1);
            barrier_init(full_v + i * 8, 1);
            barrier_init(empty_k + i * 8, GROUPS);
            barrier_init(empty_v + i * 8, GROUPS);
        }
        barrier_init_fence();
    }
    __syncthreads();

    // one batch after the other, in each the rows with the most columns first
    struct place {
        int row, head, batch;
        int n_tiles; // of K and V
    };
    const auto place_of = [&](int i) {
        const int batch = i / (work.n_tiles * work.n_head);
        const int rest  = i % (work.n_tiles * work.n_head);
        const int row   = (work.n_tiles - 1 - rest / work.n_head) * ROWS;
        return place{row, rest % work.n_head, batch, (min(row + ROWS, work.n_rows) + TILE_KV - 1) / TILE_KV};
    };

    if (group == GROUPS) {
        give_registers<24>();
        if (threadIdx.x == GROUPS * 128) {
            int stage = 0, parity = 1, parity_q = 1;
            for (int i = blockIdx.x; i < work.n_all; i += gridDim.x) {
                const place at      = place_of(i);
                const int   kv_head = at.head / work.n_queries;
                barrier_wait(empty_q, parity_q);
                barrier_expect(full_q, tile_t::Q);
                for (int g = 0; g < GROUPS; ++g) {
                    for (int p = 0; p < PARTS; ++p) {
                        tma_load(tile_q + (g * PARTS + p) * tile_t::PART_Q, &map_q, full_q, p * 64, at.row + g * 64,
                                 at.head, at.batch);
                    }
                }
                parity_q ^= 1;
                for (int tile = 0; tile < at.n_tiles; ++tile) {
                    barrier_wait(empty_k + stage * 8, parity);
                    barrier_expect(full_k + stage * 8, tile_t::KV);
                    for (int p = 0; p < PARTS; ++p) {
                        tma_load(tile_k + stage * tile_t::KV + p * tile_t::PART_KV, &map_k, full_k + stage * 8, p * 64,
                                 tile * TILE_KV, kv_head, at.batch);
                    }
                    barrier_wait(empty_v + stage * 8, parity);
                    barrier_expect(full_v + stage * 8, tile_t::KV);
                    for (int p = 0; p < PARTS; ++p) {
                        tma_load(tile_v + stage * tile_t::KV + p * tile_t::PART_KV, &map_v, full_v + stage * 8, p * 64,
                                 tile * TILE_KV, kv_head, at.batch);
                    }
                    if (++stage == STAGES) {
                        stage = 0;
                        parity ^= 1;
                    }
                }
            }
        }
        return;
    }
    take_registers<240>();

    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;

    // the next stages of K and of V
    int        stage_k = 0, parity_k = 0, stage_v = 0, parity_v = 0, parity_q = 0;
    const auto release = [&](uint32_t barrier) {
        if (threadIdx.x % 128 == 0) {
            barrier_arrive(barrier);
        }
    };
    const auto next_stage = [](int & stage, int & parity) {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    };

    for (int i = blockIdx.x; i < work.n_all; i += gridDim.x, parity_q ^= 1) {
        const place at        = place_of(i);
        const int   group_row = at.row + group * 64;
        const int   warp_row  = group_row + threadIdx.x % 128 / 32 * 16;
        const int   n_tiles   = group_row < work.n_rows ? group_row / TILE_KV + 1 : 0; // that this group sees

        float    score[16][4];
        uint32_t weights[TILE_KV / 16][4]; // of V's rows
        float    out[PARTS][8][4];
        float    top[2] = {-1e30f, -1e30f}; // the largest score so far, of rows g and g + 8
        float    sum[2] = {};               // this lane's part

        const auto begin_scores = [&] {
            barrier_wait(full_k + stage_k * 8, parity_k);
            settle(score);
            wgmma_begin();
#pragma unroll
            for (int s = 0; s < D / 16; ++s) {
                multiply_qk(score, wgmma_descriptor(tile_q + (group * PARTS + s / 4) * tile_t::PART_Q + s % 4 * 32),
                            wgmma_descriptor(tile_k + stage_k * tile_t::KV + s / 4 * tile_t::PART_KV + s % 4 * 32),
                            s > 0);
            }
            wgmma_commit();
        };
        const auto begin_values = [&](int add) {
            barrier_wait(full_v + stage_v * 8, parity_v);
            settle(weights);
#pragma unroll
            for (int p = 0; p < PARTS; ++p) {
                settle(out[p]);
            }
            wgmma_begin();
#pragma unroll
            for (int p = 0; p < PARTS; ++p) {
#pragma unroll
                for (int s = 0; s < TILE_KV / 16; ++s) {
                    multiply_pv(out[p], weights[s],
                                wgmma_descriptor(tile_v + stage_v * tile_t::KV + p * tile_t::PART_KV + s * 16 * 128),
                                add || s > 0);
                }
            }
            wgmma_commit();
        };
        // turns scores into weights, not packed yet; shrink: factor of the sums before
        const auto weigh = [&](int tile, float(&shrink)[2]) {
            if (tile == n_tiles - 1) {
                const int r0 = warp_row + g - tile * TILE_KV;
#pragma unroll
                for (int j = 0; j < 16; ++j) {
#pragma unroll
                    for (int k = 0; k < 4; ++k) {
                        if (j * 8 + 2 * t + k % 2 > r0 + k / 2 * 8) {
                            score[j][k] = -1e30f;
                        }
                    }
                }
            }
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                float most = top[h];
#pragma unroll
                for (int j = 0; j < 16; ++j) {
                    most = fmaxf(most, fmaxf(score[j][2 * h], score[j][2 * h + 1]));
                }
                most      = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
                most      = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
                shrink[h] = exp2f((top[h] - most) * work.scale);
                top[h]    = most;
                sum[h] *= shrink[h];
                const float offset = most * work.scale;
#pragma unroll
                for (int j = 0; j < 16; ++j) {
#pragma unroll
                    for (int k = 2 * h; k < 2 * h + 2; ++k) {
                        score[j][k] = exp2f(score[j][k] * work.scale - offset);
                        sum[h] += score[j][k];
                    }
                }
            }
        };
        const auto pack_weights = [&] {
#pragma unroll
            for (int s = 0; s < TILE_KV / 16; ++s) {
                weights[s][0] = pack(score[2 * s][0], score[2 * s][1]);
                weights[s][1] = pack(score[2 * s][2], score[2 * s][3]);
                weights[s][2] = pack(score[2 * s + 1][0], score[2 * s + 1][1]);
                weights[s][3] = pack(score[2 * s + 1][2], score[2 * s + 1][3]);
            }
        };

        barrier_wait(full_q, parity_q);
        if (n_tiles > 0) {
            float shrink[2];
            begin_scores();
            wgmma_wait<0>();
            settle(score);
            release(empty_k + stage_k * 8);
            next_stage(stage_k, parity_k);
            weigh(0, shrink);
            pack_weights();
            for (int tile = 1; tile < n_tiles; ++tile) {
                begin_scores();
                begin_values(tile > 1);
                wgmma_wait<1>();
                settle(score);
                release(empty_k + stage_k * 8);
                next_stage(stage_k, parity_k);
                weigh(tile, shrink);
                wgmma_wait<0>();
                settle(weights);
#pragma unroll
                for (int p = 0; p < PARTS; ++p) {
                    settle(out[p]);
#pragma unroll
                    for (int j = 0; j < 8; ++j) {
                        out[p][j][0] *= shrink[0];
                        out[p][j][1] *= shrink[0];
                        out[p][j][2] *= shrink[1];
                        out[p][j][3] *= shrink[1];
                    }
                }
                release(empty_v + stage_v * 8);
                next_stage(stage_v, parity_v);
                pack_weights();
            }
            release(empty_q);
            begin_values(n_tiles > 1);
            wgmma_wait<0>();
#pragma unroll
            for (int p = 0; p < PARTS; ++p) {
                settle(out[p]);
            }
            release(empty_v + stage_v * 8);
            next_stage(stage_v, parity_v);
        } else {
            group_sync(1 + group); // all warps must have seen this phase before the next one starts
            release(empty_q);
        }
        for (int tile = n_tiles; tile < at.n_tiles; ++tile) { // tiles that only the other group uses
            barrier_wait(full_k + stage_k * 8, parity_k);
            barrier_wait(full_v + stage_v * 8, parity_v);
            group_sync(1 + group);
            release(empty_k + stage_k * 8);
            release(empty_v + stage_v * 8);
            next_stage(stage_k, parity_k);
            next_stage(stage_v, parity_v);
        }

        const int64_t stride = int64_t(work.n_head) * D;
        TO *          to     = output + (int64_t(at.batch) * work.n_rows * work.n_head + at.head) * D;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float all = sum[h];
            all += __shfl_xor_sync(0xffffffff, all, 1);
            all += __shfl_xor_sync(0xffffffff, all, 2);
            const float factor = 1.0f / all;
            const int   r      = warp_row + g + h * 8;
            if (r < work.n_rows) {
#pragma unroll
                for (int p = 0; p < PARTS; ++p) {
#pragma unroll
                    for (int j = 0; j < 8; ++j) {
                        store_pair(to + r * stride + p * 64 + j * 8 + 2 * t, out[p][j][2 * h] * factor,
                                   out[p][j][2 * h + 1] * factor);
                    }
                }
            }
        }
    }
#else
    GGML_UNUSED_VARS(map_q, map_k, map_v, output, work);
    NO_DEVICE_CODE;
#endif
}

template <int D, typename TO> static void launch(const armt_attention_args & args, cudaStream_t stream) {
    using tile_t        = attention_tile<D>;
    const int64_t q_row = int64_t(args.n_head) * D;
    // rows of the caches beyond n_rows are read as zeros
    const CUtensorMap map_q = armt_tensor_map(
        {args.q, GGML_TYPE_F16, D, args.n_rows, q_row, args.n_head, D, args.n_batch, q_row * args.n_rows, 64});
    const CUtensorMap map_k = armt_tensor_map(
        {args.k, GGML_TYPE_F16, D, args.n_rows, args.k_row, args.n_head_kv, D, args.n_batch, args.k_batch, TILE_KV});
    const CUtensorMap map_v = armt_tensor_map(
        {args.v, GGML_TYPE_F16, D, args.n_rows, args.v_row, args.n_head_kv, D, args.n_batch, args.v_batch, TILE_KV});

    attention_work work = {};
    work.scale          = args.scale * 1.4426950408889634f;
    work.n_rows         = args.n_rows;
    work.n_head         = args.n_head;
    work.n_queries      = args.n_head / args.n_head_kv;
    work.n_tiles        = (args.n_rows + ROWS - 1) / ROWS;
    work.n_all          = work.n_tiles * args.n_head * args.n_batch;

    const auto kernel = attention_kernel<D, TO>;
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, tile_t::BYTES));
    const int n_blocks = std::min(ggml_cuda_info().devices[ggml_cuda_get_device()].nsm, work.n_all);
    kernel<<<n_blocks, THREADS, tile_t::BYTES, stream>>>(map_q, map_k, map_v, (TO *) args.output, work);
    CUDA_CHECK(cudaGetLastError());
}

template <typename TO> static void launch_to(const armt_attention_args & args, cudaStream_t stream) {
    if (args.n_dims == 64) {
        launch<64, TO>(args, stream);
    } else {
        launch<128, TO>(args, stream);
    }
}

bool armt_attention_hopper(const armt_attention_args & args, cudaStream_t stream) {
    const auto is_aligned = [](const void * data, int64_t row, int64_t batch) {
        return (uintptr_t) data % 16 == 0 && row % 8 == 0 && batch % 8 == 0;
    };
    if (args.q_type != GGML_TYPE_F16 || !is_aligned(args.q, 0, 0) || !is_aligned(args.k, args.k_row, args.k_batch) ||
        !is_aligned(args.v, args.v_row, args.v_batch)) {
        return false;
    }
    switch (args.type) {
        case GGML_TYPE_F16: launch_to<half>(args, stream); break;
        case GGML_TYPE_BF16: launch_to<nv_bfloat16>(args, stream); break;
        default: launch_to<float>(args, stream); break;
    }
    return true;
}

#else // not built for sm_90a

bool armt_attention_hopper(const armt_attention_args &, cudaStream_t) {
    return false;
}

#endif
