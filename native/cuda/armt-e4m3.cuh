#pragma once

// What kernels that write rows of e4m3 share, and pairs of the types that kernels read and write.

#include "common.cuh"

#include <cuda_fp8.h>

static __device__ __forceinline__ void store2(float * p, float a, float b) {
    *(float2 *) p = make_float2(a, b);
}
static __device__ __forceinline__ void store2(half * p, float a, float b) {
    *(half2 *) p = __floats2half2_rn(a, b);
}
static __device__ __forceinline__ void store2(nv_bfloat16 * p, float a, float b) {
    *(nv_bfloat162 *) p = __floats2bfloat162_rn(a, b);
}

static __device__ __forceinline__ float2 load2(const float * p) {
    return *(const float2 *) p;
}
static __device__ __forceinline__ float2 load2(const half * p) {
    return __half22float2(*(const half2 *) p);
}
static __device__ __forceinline__ float2 load2(const nv_bfloat16 * p) {
    return __bfloat1622float2(*(const nv_bfloat162 *) p);
}

// Eight elements of 16-byte aligned memory
template <typename T> static __device__ __forceinline__ void load8(const T * from, float (&to)[8]) {
    alignas(16) T x[8];
#pragma unroll
    for (int i = 0; i < int(8 * sizeof(T) / 16); ++i) {
        ((uint4 *) x)[i] = ((const uint4 *) from)[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
        const float2 two = load2(x + i);
        to[i]            = two.x;
        to[i + 1]        = two.y;
    }
}

// The largest magnitude
static __device__ __forceinline__ float largest(float4 a) {
    return fmaxf(fmaxf(fabsf(a.x), fabsf(a.y)), fmaxf(fabsf(a.z), fabsf(a.w)));
}

// The largest value of all threads of a block
template <int THREADS> static __device__ __forceinline__ float block_max(float x) {
    __shared__ float parts[THREADS / 32];
    x = warp_reduce_max(x);
    if (threadIdx.x % 32 == 0) {
        parts[threadIdx.x / 32] = x;
    }
    __syncthreads();
    x = 0.0f;
#pragma unroll
    for (int i = 0; i < THREADS / 32; ++i) {
        x = fmaxf(x, parts[i]);
    }
    return x;
}

// The scale with which the largest magnitude becomes e4m3's largest number. Not 0, by which nothing can be divided.
static __device__ __forceinline__ float e4m3_unit(float most) {
    return fmaxf(most, 1e-30f) / 448.0f;
}

// Four numbers times factor. NaN stays NaN.
static __device__ __forceinline__ uint32_t pack_e4m3(float4 a, float factor) {
    const uint32_t lo = __nv_cvt_float2_to_fp8x2(make_float2(a.x * factor, a.y * factor), __NV_SATFINITE, __NV_E4M3);
    const uint32_t hi = __nv_cvt_float2_to_fp8x2(make_float2(a.z * factor, a.w * factor), __NV_SATFINITE, __NV_E4M3);
    return lo | hi << 16;
}
