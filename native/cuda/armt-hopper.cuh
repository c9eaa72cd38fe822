#pragma once

// What the kernels for Hopper (sm_90a) share: barriers in shared memory, TMA copies and the synchronization of
// products. In the PTX ISA: mbarrier, cp.async.bulk.tensor and wgmma.

#include "armt-kernels.cuh"
#include "common.cuh"

#ifdef ARMT_HOPPER

#include <cuda.h>

// A tensor in device memory for TMA: contiguous columns, rows, and two more dimensions; strides in elements. A box is
// box_rows rows of 128 bytes, which are swizzled in shared memory as wgmma reads them. Elements
// beyond the tensor are read as zeros and not written.
struct armt_tensor_map_args {
    const void * data;
    ggml_type    type; // F16, BF16 or ARMT_TYPE_E4M3
    int64_t      n_cols;
    int64_t      n_rows;
    int64_t      row_stride;
    int64_t      ne2, stride2;
    int64_t      ne3, stride3;
    int          box_rows;
};

static inline CUtensorMap armt_tensor_map(const armt_tensor_map_args & args) {
    CUtensorMap               map;
    const cuuint64_t          sizes[]   = {cuuint64_t(args.n_cols), cuuint64_t(args.n_rows), cuuint64_t(args.ne2),
                                           cuuint64_t(args.ne3)};
    const cuuint64_t          size      = args.type == ARMT_TYPE_E4M3 ? 1 : 2;
    const cuuint64_t          strides[] = {cuuint64_t(args.row_stride) * size, cuuint64_t(args.stride2) * size,
                                           cuuint64_t(args.stride3) * size};
    const cuuint32_t          box[]     = {cuuint32_t(128 / size), cuuint32_t(args.box_rows), 1, 1};
    const cuuint32_t          steps[]   = {1, 1, 1, 1};
    const CUtensorMapDataType type      = args.type == ARMT_TYPE_E4M3  ? CU_TENSOR_MAP_DATA_TYPE_UINT8
                                          : args.type == GGML_TYPE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                                       : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    CU_CHECK(cuTensorMapEncodeTiled(&map, type, 4, const_cast<void *>(args.data), sizes, strides, box, steps,
                                    CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                    CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
    return map;
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

static __device__ __forceinline__ uint32_t shared_address(const void * p) {
    return uint32_t(__cvta_generic_to_shared(p));
}

//
// barriers
//

static __device__ __forceinline__ void barrier_init(uint32_t barrier, int n_arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(n_arrivals) : "memory");
}

// After the inits, before the first arrival
static __device__ __forceinline__ void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

static __device__ __forceinline__ void barrier_expect(uint32_t barrier, int n_bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(n_bytes) : "memory");
}

static __device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives at the barrier at the same address in block `rank` of the cluster
static __device__ __forceinline__ void barrier_arrive(uint32_t barrier, int rank) {
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
                 "}\n" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
}

// Waits until the phase of this parity is complete
static __device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}\n" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}

static __device__ __forceinline__ int cluster_rank() {
    int rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

static __device__ __forceinline__ void cluster_sync() {
    asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}

// Synchronizes the 128 threads of a warpgroup. id: 1 to 15
static __device__ __forceinline__ void group_sync(int id) {
    asm volatile("bar.sync %0, 128;" ::"r"(id) : "memory");
}

//
// copies
//

static __device__ __forceinline__ void tma_load(uint32_t to, const CUtensorMap * map, uint32_t barrier, int col,
                                                int row, int i2, int i3) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
                 "%6}], [%2];" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(col), "r"(row), "r"(i2), "r"(i3)
                 : "memory");
}

// Copies to the same address in both blocks of a cluster of 2. The bytes count at the barrier of each
static __device__ __forceinline__ void tma_load_both(uint32_t to, const CUtensorMap * map, uint32_t barrier, int col,
                                                     int row, int i2, int i3) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
                 "[%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(col), "r"(row), "r"(i2), "r"(i3), "h"(uint16_t(3))
                 : "memory");
}

static __device__ __forceinline__ void tma_store(const CUtensorMap * map, uint32_t from, int col, int row, int i2,
                                                 int i3) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
                 "r"(from), "r"(col), "r"(row), "r"(i2), "r"(i3)
                 : "memory");
}

// Orders writes to shared memory by this thread before copies from there
static __device__ __forceinline__ void tma_store_fence() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

static __device__ __forceinline__ void tma_store_commit() {
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// Waits until this thread's stores have read their source
static __device__ __forceinline__ void tma_store_wait() {
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

//
// products
//

// The descriptor of rows of 128 bytes, whose swizzling repeats every 8 rows (1024 bytes)
static __device__ __forceinline__ uint64_t wgmma_descriptor(uint32_t address) {
    return uint64_t((address & 0x3ffff) >> 4) | uint64_t(1) << 16 | uint64_t(1024 >> 4) << 32 | uint64_t(1) << 62;
}

static __device__ __forceinline__ void wgmma_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most N groups are pending
template <int N> static __device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Keeps the compiler from moving accesses to registers that products still use across this place
template <int N> static __device__ __forceinline__ void settle(float (&r)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
        asm volatile("" : "+f"(r[i][0]), "+f"(r[i][1]), "+f"(r[i][2]), "+f"(r[i][3])::"memory");
    }
}
template <int N> static __device__ __forceinline__ void settle(uint32_t (&r)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
        asm volatile("" : "+r"(r[i][0]), "+r"(r[i][1]), "+r"(r[i][2]), "+r"(r[i][3])::"memory");
    }
}

// Sets the number of registers of each thread of this warpgroup
template <int N> static __device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> static __device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

#define ARMT_R4(c, i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define ARMT_R32(c, i)                                                                                                 \
    ARMT_R4(c, i), ARMT_R4(c, i + 1), ARMT_R4(c, i + 2), ARMT_R4(c, i + 3), ARMT_R4(c, i + 4), ARMT_R4(c, i + 5),      \
        ARMT_R4(c, i + 6), ARMT_R4(c, i + 7)
#define ARMT_D32                                                                                                       \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "   \
    "%24, %25, %26, %27, %28, %29, %30, %31"
#define ARMT_D64                                                                                                       \
    ARMT_D32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, "  \
             "%52, %53, %54, %55, %56, %57, %58, %59, %60, "                                                           \
             "%61, %62, %63"
#define ARMT_D128                                                                                                      \
    ARMT_D64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, "  \
             "%84, %85, %86, %87, %88, %89, %90, %91, "                                                                \
             "%92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, "    \
             "%110, %111, %112, %113, %114, %115, %116, "                                                              \
             "%117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#endif // sm_90a

#endif // ARMT_HOPPER
