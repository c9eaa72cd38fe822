// Causal attention of whole segments, after FlashAttention-2 (arXiv 2307.08691). A block computes some rows of one
// head, each of its warps 16*MT of them. It goes through tiles of K and V, and copies the next tile to shared memory
// while it computes on one.

#include "armt-kernels.cuh"

static constexpr int WARPS   = 4;
static constexpr int THREADS = 32 * WARPS;
static constexpr int TILE_KV = 64;

static __device__ __forceinline__ uint32_t shared_address(const void * p) {
    return uint32_t(__cvta_generic_to_shared(p));
}

static __device__ __forceinline__ void copy16_async(uint32_t to, const void * from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

static __device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}

static __device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], uint32_t from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}

// c += a*b; a: 16x16, b: 16x8
static __device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, "
                 "%1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ uint32_t pack(float a, float b) {
    const half2 h = __floats2half2_rn(a, b);
    return *(const uint32_t *) &h;
}

static __device__ __forceinline__ uint32_t load_pair(const half * p) {
    return *(const uint32_t *) p;
}
static __device__ __forceinline__ uint32_t load_pair(const float * p) {
    const float2 a = *(const float2 *) p;
    return pack(a.x, a.y);
}

static __device__ __forceinline__ void store_pair(float * p, float a, float b) {
    *(float2 *) p = make_float2(a, b);
}
static __device__ __forceinline__ void store_pair(half * p, float a, float b) {
    *(half2 *) p = __floats2half2_rn(a, b);
}
static __device__ __forceinline__ void store_pair(nv_bfloat16 * p, float a, float b) {
    *(nv_bfloat162 *) p = __floats2bfloat162_rn(a, b);
}

// D: size of a head; MT: tiles of 16 rows of a warp
template <int D, int MT, typename TQ, typename TO>
static __global__ void __launch_bounds__(THREADS) attention_kernel(const armt_attention_args args) {
#if __CUDA_ARCH__ >= 800
    constexpr int ROWS   = WARPS * MT * 16;
    constexpr int CHUNKS = D / 8;       // of 16 bytes in a row of K or V
    constexpr int TILE   = TILE_KV * D; // elements in a tile of K or V
    // [2 stages][K, V][TILE_KV][D], with the chunks of a row permuted to avoid bank conflicts
    extern __shared__ __align__(128) half tiles[];

    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int g    = lane / 4; // row in a tile of 8, of accumulators and of a
    const int t    = lane % 4; // pair of columns
    const int head = blockIdx.y;
    const int ib   = blockIdx.z;

    // blocks with the most columns first
    const int row0     = (gridDim.x - 1 - blockIdx.x) * ROWS;
    const int warp_row = row0 + warp * MT * 16;
    const int n_tiles  = (min(row0 + ROWS, args.n_rows) + TILE_KV - 1) / TILE_KV;

    const half * k = args.k + ib * args.k_batch + head / (args.n_head / args.n_head_kv) * D;
    const half * v = args.v + ib * args.v_batch + head / (args.n_head / args.n_head_kv) * D;

    const auto fetch = [&](int tile) {
        half * to = tiles + (tile % 2) * 2 * TILE;
#pragma unroll
        for (int i = threadIdx.x; i < TILE_KV * CHUNKS; i += THREADS) {
            const int     r  = i / CHUNKS;
            const int     c  = i % CHUNKS;
            const int     at = r * D + (c ^ (r % 8)) * 8;
            const int64_t kv = int64_t(tile) * TILE_KV + r;
            copy16_async(shared_address(to + at), k + kv * args.k_row + c * 8);
            copy16_async(shared_address(to + TILE + at), v + kv * args.v_row + c * 8);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    fetch(0);

    // Q as the left operand of products, 16 of its columns each
    uint32_t      q[MT][D / 16][4];
    const TQ *    q_from   = (const TQ *) args.q + (int64_t(ib) * args.n_rows * args.n_head + head) * D;
    const int64_t q_stride = int64_t(args.n_head) * D;
#pragma unroll
    for (int m = 0; m < MT; ++m) {
        // rows beyond the last one use its values and are not stored
        const TQ * lo = q_from + min(warp_row + m * 16 + g, args.n_rows - 1) * q_stride + 2 * t;
        const TQ * hi = q_from + min(warp_row + m * 16 + g + 8, args.n_rows - 1) * q_stride + 2 * t;
#pragma unroll
        for (int s = 0; s < D / 16; ++s) {
            q[m][s][0] = load_pair(lo + s * 16);
            q[m][s][1] = load_pair(hi + s * 16);
            q[m][s][2] = load_pair(lo + s * 16 + 8);
            q[m][s][3] = load_pair(hi + s * 16 + 8);
        }
    }

    float out[MT][D / 8][4] = {};
    float top[MT][2];      // the largest score so far, of rows g and g + 8
    float sum[MT][2] = {}; // this lane's part
#pragma unroll
    for (int m = 0; m < MT; ++m) {
        top[m][0] = top[m][1] = -1e30f;
    }
    const float scale = args.scale * 1.4426950408889634f; // powers of 2

    for (int tile = 0; tile < n_tiles; ++tile) {
        if (tile + 1 < n_tiles) {
            fetch(tile + 1);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncthreads();

        const int col0 = tile * TILE_KV;
        if (col0 <= warp_row + MT * 16 - 1) { // some of this warp's rows see the tile
            const half * tile_k = tiles + (tile % 2) * 2 * TILE;
            const half * tile_v = tile_k + TILE;

            float score[MT][TILE_KV / 8][4] = {};
#pragma unroll
            for (int j = 0; j < TILE_KV / 8; ++j) {
#pragma unroll
                for (int s = 0; s < D / 16; s += 2) {
                    // 8 rows of K, 4 chunks of their columns
                    const int r = j * 8 + lane % 8;
                    const int c = s * 2 + lane / 8;
                    uint32_t  b[4];
                    load_matrices(b, shared_address(tile_k + r * D + (c ^ (r % 8)) * 8));
#pragma unroll
                    for (int m = 0; m < MT; ++m) {
                        mma(score[m][j], q[m][s], b[0], b[1]);
                        mma(score[m][j], q[m][s + 1], b[2], b[3]);
                    }
                }
            }
#pragma unroll
            for (int m = 0; m < MT; ++m) {
                const int r0 = warp_row + m * 16 + g;
                if (col0 + TILE_KV - 1 > warp_row + m * 16) {
#pragma unroll
                    for (int j = 0; j < TILE_KV / 8; ++j) {
#pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            if (col0 + j * 8 + 2 * t + i % 2 > r0 + i / 2 * 8) {
                                score[m][j][i] = -1e30f;
                            }
                        }
                    }
                }
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    float most = top[m][h];
#pragma unroll
                    for (int j = 0; j < TILE_KV / 8; ++j) {
                        most = fmaxf(most, fmaxf(score[m][j][2 * h], score[m][j][2 * h + 1]));
                    }
                    most               = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
                    most               = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
                    const float shrink = exp2f((top[m][h] - most) * scale);
                    top[m][h]          = most;
                    sum[m][h] *= shrink;
#pragma unroll
                    for (int j = 0; j < D / 8; ++j) {
                        out[m][j][2 * h] *= shrink;
                        out[m][j][2 * h + 1] *= shrink;
                    }
                    const float offset = most * scale;
#pragma unroll
                    for (int j = 0; j < TILE_KV / 8; ++j) {
#pragma unroll
                        for (int i = 2 * h; i < 2 * h + 2; ++i) {
                            score[m][j][i] = exp2f(score[m][j][i] * scale - offset);
                            sum[m][h] += score[m][j][i];
                        }
                    }
                }
            }
#pragma unroll
            for (int s = 0; s < TILE_KV / 16; ++s) {
                uint32_t p[MT][4];
#pragma unroll
                for (int m = 0; m < MT; ++m) {
                    p[m][0] = pack(score[m][2 * s][0], score[m][2 * s][1]);
                    p[m][1] = pack(score[m][2 * s][2], score[m][2 * s][3]);
                    p[m][2] = pack(score[m][2 * s + 1][0], score[m][2 * s + 1][1]);
                    p[m][3] = pack(score[m][2 * s + 1][2], score[m][2 * s + 1][3]);
                }
#pragma unroll
                for (int j = 0; j < D / 8; j += 2) {
                    // 16 rows of V, 2 chunks of their columns
                    const int r = s * 16 + lane % 16;
                    const int c = j + lane / 16;
                    uint32_t  b[4];
                    load_matrices_transposed(b, shared_address(tile_v + r * D + (c ^ (r % 8)) * 8));
#pragma unroll
                    for (int m = 0; m < MT; ++m) {
                        mma(out[m][j], p[m], b[0], b[1]);
                        mma(out[m][j + 1], p[m], b[2], b[3]);
                    }
                }
            }
        }
        __syncthreads(); // before the tile after the next one overwrites this one
    }

    TO * to = (TO *) args.output + (int64_t(ib) * args.n_rows * args.n_head + head) * D;
#pragma unroll
    for (int m = 0; m < MT; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float all = sum[m][h];
            all += __shfl_xor_sync(0xffffffff, all, 1);
            all += __shfl_xor_sync(0xffffffff, all, 2);
            const float factor = 1.0f / all;
            const int   r      = warp_row + m * 16 + g + h * 8;
            if (r < args.n_rows) {
#pragma unroll
                for (int j = 0; j < D / 8; ++j) {
                    store_pair(to + r * q_stride + j * 8 + 2 * t, out[m][j][2 * h] * factor,
                               out[m][j][2 * h + 1] * factor);
                }
            }
        }
    }
#else
    GGML_UNUSED(args);
    NO_DEVICE_CODE;
#endif
}

template <int D, int MT, typename TQ, typename TO>
static void launch(const armt_attention_args & args, cudaStream_t stream) {
    constexpr int    rows   = WARPS * MT * 16;
    constexpr size_t shared = 2 * 2 * TILE_KV * D * sizeof(half);
    CUDA_CHECK(cudaFuncSetAttribute(attention_kernel<D, MT, TQ, TO>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    int(shared)));
    const dim3 grid((args.n_rows + rows - 1) / rows, args.n_head, args.n_batch);
    attention_kernel<D, MT, TQ, TO><<<grid, THREADS, shared, stream>>>(args);
    CUDA_CHECK(cudaGetLastError());
}

template <int D, int MT, typename TQ> static void launch_to(const armt_attention_args & args, cudaStream_t stream) {
    switch (args.type) {
        case GGML_TYPE_F16: launch<D, MT, TQ, half>(args, stream); break;
        case GGML_TYPE_BF16: launch<D, MT, TQ, nv_bfloat16>(args, stream); break;
        default: launch<D, MT, TQ, float>(args, stream); break;
    }
}

void armt_attention(const armt_attention_args & args, cudaStream_t stream) {
    if (ggml_cuda_info().devices[ggml_cuda_get_device()].cc == 900 && armt_attention_hopper(args, stream)) {
        return;
    }
    const bool narrow = args.q_type == GGML_TYPE_F16;
    if (args.n_dims == 64) {
        (narrow ? launch_to<64, 2, half> : launch_to<64, 2, float>) (args, stream);
    } else {
        (narrow ? launch_to<128, 1, half> : launch_to<128, 1, float>) (args, stream);
    }
}
