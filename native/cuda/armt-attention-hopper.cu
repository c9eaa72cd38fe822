// The same attention as armt-attention.cu with Hopper's matrix instructions (wgmma, sm_90a), which read K and V from shared memory themselves. A block has two
// groups of four warps, 64 rows each; two blocks share a multiprocessor, so that the exponentials of one are computed beside the products of the other.

#include "armt-kernels.cuh"

static constexpr int GROUPS  = 2;
static constexpr int THREADS = 128 * GROUPS;
static constexpr int ROWS    = 64 * GROUPS;
static constexpr int TILE_KV = 64;
static constexpr int STAGES  = 3;
static constexpr int PART    = TILE_KV * 64; // numbers of K or V that are 64 columns wide: rows of 128 bytes, swizzled as wgmma reads them

#ifdef ARMT_HOPPER

static __device__ __forceinline__ void copy16_async(uint32_t to, const void * from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// 8 rows of 128 bytes are a pattern, 1024 bytes from one to the next
static __device__ __forceinline__ uint64_t descriptor(uint32_t address) {
    return uint64_t((address & 0x3ffff) >> 4) | uint64_t(1) << 16 | uint64_t(1024 >> 4) << 32 | uint64_t(1) << 62;
}

#define ARMT_ACCUMULATORS                                                                                                                         \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                                                     \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
#define ARMT_ROW(c, i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define ARMT_ROWS(c) ARMT_ROW(c, 0), ARMT_ROW(c, 1), ARMT_ROW(c, 2), ARMT_ROW(c, 3), ARMT_ROW(c, 4), ARMT_ROW(c, 5), ARMT_ROW(c, 6), ARMT_ROW(c, 7)

// c = a*b, or c += a*b, 64x16 by 16x64; a: 64 rows, b: 64 rows (K). Q stays in shared memory: as registers that live through the loop, ptxas 13.0 loses it.
static __device__ __forceinline__ void multiply_qk(float (&c)[8][4], uint64_t a, uint64_t b, int add) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " ARMT_ACCUMULATORS "%32, %33, p, 1, 1, 0, 0;\n"
                 "}\n"
                 : ARMT_ROWS(c)
                 : "l"(a), "l"(b), "r"(add));
#else
    GGML_UNUSED_VARS(c, a, b, add);
#endif
}

// c += a*b, 64x16 by 16x64; b: 16 rows (V)
static __device__ __forceinline__ void multiply_pv(float (&c)[8][4], const uint32_t (&a)[4], uint64_t b) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " ARMT_ACCUMULATORS "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
                 : ARMT_ROWS(c)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
#else
    GGML_UNUSED_VARS(c, a, b);
#endif
}

static __device__ __forceinline__ void begin_products() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

static __device__ __forceinline__ void end_products() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

static __device__ __forceinline__ void wait_for_products() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#endif
}

// Keeps the compiler from moving reads and writes of registers that products are still using across this place
static __device__ __forceinline__ void settle(float (&r)[8][4]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        asm volatile("" : "+f"(r[i][0]), "+f"(r[i][1]), "+f"(r[i][2]), "+f"(r[i][3])::"memory");
    }
}
template <int N> static __device__ __forceinline__ void settle(uint32_t (&r)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
        asm volatile("" : "+r"(r[i][0]), "+r"(r[i][1]), "+r"(r[i][2]), "+r"(r[i][3])::"memory");
    }
}

static __device__ __forceinline__ uint32_t pack(float a, float b) {
    const half2 h = __floats2half2_rn(a, b);
    return *(const uint32_t *) &h;
}

static __device__ __forceinline__ uint4 load8(const half * p) { return *(const uint4 *) p; }
static __device__ __forceinline__ uint4 load8(const float * p) {
    const float4 a = *(const float4 *) p;
    const float4 b = *(const float4 *) (p + 4);
    return make_uint4(pack(a.x, a.y), pack(a.z, a.w), pack(b.x, b.y), pack(b.z, b.w));
}

static __device__ __forceinline__ void store_pair(float * p, float a, float b) { *(float2 *) p = make_float2(a, b); }
static __device__ __forceinline__ void store_pair(half * p, float a, float b) { *(half2 *) p = __floats2half2_rn(a, b); }
static __device__ __forceinline__ void store_pair(nv_bfloat16 * p, float a, float b) { *(nv_bfloat162 *) p = __floats2bfloat162_rn(a, b); }

// D: numbers in a head
template <int D, typename TQ, typename TO>
static __global__ void __launch_bounds__(THREADS, D == 64 ? 2 : 1) attention_kernel(const armt_attention_args args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    constexpr int PARTS = D / 64;
    extern __shared__ __align__(1024) half tiles[]; // [STAGES][K, V][PARTS][TILE_KV][64], then Q

    const int lane  = threadIdx.x % 32;
    const int g     = lane / 4;
    const int t     = lane % 4;
    const int group = threadIdx.x / 128;
    const int head  = blockIdx.y;
    const int ib    = blockIdx.z;

    // the longest rows first
    const int row0      = (gridDim.x - 1 - blockIdx.x) * ROWS;
    const int group_row = row0 + group * 64;
    const int warp_row  = group_row + threadIdx.x % 128 / 32 * 16;
    const int n_tiles   = (min(row0 + ROWS, args.n_rows) + TILE_KV - 1) / TILE_KV;

    const half * k = args.k + ib * args.k_batch + head / (args.n_head / args.n_head_kv) * D;
    const half * v = args.v + ib * args.v_batch + head / (args.n_head / args.n_head_kv) * D;
    const uint32_t shared = uint32_t(__cvta_generic_to_shared(tiles));

    const auto fetch = [&](int tile) {
        if (tile < n_tiles) {
            const uint32_t to = shared + tile % STAGES * (2 * PARTS * PART * 2);
#pragma unroll
            for (int i = threadIdx.x; i < TILE_KV * D / 8; i += THREADS) {
                const int      r  = i / (D / 8);
                const int      c  = i % (D / 8); // of 16 bytes
                const uint32_t at = (c / 8 * PART + r * 64 + ((c % 8) ^ (r % 8)) * 8) * 2;
                const int64_t  kv = int64_t(tile) * TILE_KV + r;
                copy16_async(to + at, k + kv * args.k_row + c * 8);
                copy16_async(to + PARTS * PART * 2 + at, v + kv * args.v_row + c * 8);
            }
        }
        asm volatile("cp.async.commit_group;" ::: "memory"); // maybe of nothing, so that the number of groups is the number of tiles
    };
    fetch(0);
    fetch(1);

    const int64_t  q_stride = int64_t(args.n_head) * D;
    const uint32_t tile_q   = STAGES * 2 * PARTS * PART * 2; // bytes from the start; [GROUPS][PARTS][64][64]
    {
        const TQ * from = (const TQ *) args.q + (int64_t(ib) * args.n_rows * args.n_head + head) * D;
#pragma unroll
        for (int i = threadIdx.x; i < ROWS * D / 8; i += THREADS) {
            const int r = i / (D / 8);
            const int c = i % (D / 8);
            // rows beyond the last are computed from it, and not stored
            *(uint4 *) ((char *) tiles + tile_q + ((r / 64 * PARTS + c / 8) * PART + r % 64 * 64 + ((c % 8) ^ (r % 8)) * 8) * 2) =
                load8(from + min(row0 + r, args.n_rows - 1) * q_stride + c * 8);
        }
    }

    float out[PARTS][8][4] = {};
    float top[2] = {-1e30f, -1e30f}; // the greatest score so far, of rows g and g + 8
    float sum[2] = {};               // this lane's part
    const float scale = args.scale * 1.4426950408889634f; // powers of 2

    for (int tile = 0; tile < n_tiles; ++tile) {
        asm volatile("cp.async.wait_group 1;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads(); // the tile is there, and all have done with the one before it
        fetch(tile + 2);

        const int col0 = tile * TILE_KV;
        if (col0 > group_row + 63) { // none of it is seen by this group's rows
            continue;
        }
        const uint32_t tile_k = shared + tile % STAGES * (2 * PARTS * PART * 2);
        const uint32_t tile_v = tile_k + PARTS * PART * 2;

        float score[8][4] = {};
        settle(score);
        begin_products();
#pragma unroll
        for (int s = 0; s < D / 16; ++s) {
            const uint32_t at = s / 4 * PART * 2 + s % 4 * 32;
            multiply_qk(score, descriptor(shared + tile_q + group * PARTS * PART * 2 + at), descriptor(tile_k + at), s > 0);
        }
        end_products();
        wait_for_products();
        settle(score);

        const int r0 = warp_row + g;
        if (col0 + TILE_KV - 1 > warp_row) {
#pragma unroll
            for (int j = 0; j < 8; ++j) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    if (col0 + j * 8 + 2 * t + i % 2 > r0 + i / 2 * 8) {
                        score[j][i] = -1e30f;
                    }
                }
            }
        }
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float most = top[h];
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                most = fmaxf(most, fmaxf(score[j][2 * h], score[j][2 * h + 1]));
            }
            most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
            const float shrink = exp2f((top[h] - most) * scale);
            top[h] = most;
            sum[h] *= shrink;
#pragma unroll
            for (int p = 0; p < PARTS; ++p) {
#pragma unroll
                for (int j = 0; j < 8; ++j) {
                    out[p][j][2 * h]     *= shrink;
                    out[p][j][2 * h + 1] *= shrink;
                }
            }
            const float offset = most * scale;
#pragma unroll
            for (int j = 0; j < 8; ++j) {
#pragma unroll
                for (int i = 2 * h; i < 2 * h + 2; ++i) {
                    score[j][i] = exp2f(score[j][i] * scale - offset);
                    sum[h] += score[j][i];
                }
            }
        }
        uint32_t weights[TILE_KV / 16][4]; // of V's rows
#pragma unroll
        for (int s = 0; s < TILE_KV / 16; ++s) {
            weights[s][0] = pack(score[2 * s][0],     score[2 * s][1]);
            weights[s][1] = pack(score[2 * s][2],     score[2 * s][3]);
            weights[s][2] = pack(score[2 * s + 1][0], score[2 * s + 1][1]);
            weights[s][3] = pack(score[2 * s + 1][2], score[2 * s + 1][3]);
        }
        settle(weights);
#pragma unroll
        for (int p = 0; p < PARTS; ++p) {
            settle(out[p]);
        }
        begin_products();
#pragma unroll
        for (int p = 0; p < PARTS; ++p) {
#pragma unroll
            for (int s = 0; s < TILE_KV / 16; ++s) {
                multiply_pv(out[p], weights[s], descriptor(tile_v + p * PART * 2 + s * 16 * 128));
            }
        }
        end_products();
        wait_for_products();
#pragma unroll
        for (int p = 0; p < PARTS; ++p) {
            settle(out[p]);
        }
    }

    TO * to = (TO *) args.output + (int64_t(ib) * args.n_rows * args.n_head + head) * D;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        float all = sum[h];
        all += __shfl_xor_sync(0xffffffff, all, 1);
        all += __shfl_xor_sync(0xffffffff, all, 2);
        const float factor = 1.0f / all;
        const int   r      = warp_row + g + h * 8;
        if (r < args.n_rows) {
#pragma unroll
            for (int p = 0; p < PARTS; ++p) {
#pragma unroll
                for (int j = 0; j < 8; ++j) {
                    store_pair(to + r * q_stride + p * 64 + j * 8 + 2 * t, out[p][j][2 * h] * factor, out[p][j][2 * h + 1] * factor);
                }
            }
        }
    }
#else
    GGML_UNUSED(args);
    NO_DEVICE_CODE;
#endif
}

template <int D, typename TQ, typename TO> static void launch(const armt_attention_args & args, cudaStream_t stream) {
    constexpr size_t shared = (STAGES * 2 * TILE_KV + ROWS) * D * sizeof(half);
    CUDA_CHECK(cudaFuncSetAttribute(attention_kernel<D, TQ, TO>, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)));
    const dim3 grid((args.n_rows + ROWS - 1) / ROWS, args.n_head, args.n_batch);
    attention_kernel<D, TQ, TO><<<grid, THREADS, shared, stream>>>(args);
    CUDA_CHECK(cudaGetLastError());
}

template <int D, typename TQ> static void launch_to(const armt_attention_args & args, cudaStream_t stream) {
    switch (args.type) {
        case GGML_TYPE_F16:  launch<D, TQ, half>(args, stream);        break;
        case GGML_TYPE_BF16: launch<D, TQ, nv_bfloat16>(args, stream); break;
        default:             launch<D, TQ, float>(args, stream);       break;
    }
}

bool armt_attention_hopper(const armt_attention_args & args, cudaStream_t stream) {
    const bool narrow = args.q_type == GGML_TYPE_F16;
    if (args.n_dims == 64) {
        (narrow ? launch_to<64, half> : launch_to<64, float>)(args, stream);
    } else {
        (narrow ? launch_to<128, half> : launch_to<128, float>)(args, stream);
    }
    return true;
}

#else // not built for sm_90a

bool armt_attention_hopper(const armt_attention_args &, cudaStream_t) {
    return false;
}

#endif
