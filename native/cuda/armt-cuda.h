#pragma once

// What patches/ggml-cuda calls inside ggml's CUDA backend: kernels that compute several nodes of a graph at once. Nodes
// are recognized by their operations alone, so the same graph also runs unfused.
//
// The environment variable ARMT_CUDA_FUSION selects fusions: "all" (the default, from compute capability 8.0 on),
// "none", or a list separated by commas (an unknown name causes one warning). The names are
//   norm       RMS norm, weight, conversion to 16 bits
//   glu        SwiGLU, conversion to 16 bits; its input is in 16 bits too
//   gate       SwiGLU in the product before it; needs native/cuda to be built for compute capability 9.0
//   read       the memory's division and addition, and the norm after them
//   dpfp       the feature map of the associative memory, and the product before it
//   write      the whole write to the memory
//   rope       RoPE of Q and K, and the K/V store; the product before it is written in 16 bits
//   attention  causal attention of whole segments
//   residual   addition of the residual in the product before it
//   quantize   rounding to e4m3 in the norm and in SwiGLU, for products in e4m3; else it is a kernel of its own
//   grouped    one kernel for the products in e4m3 of all layers; needs native/cuda to be built for compute capability
//              9.0; else cuBLASLt computes them one by one
// It is read again for each graph that is not replayed.
//
// The engine marks products that are to be multiplied in e4m3 (armt-names.h). Each row has a scale of its own. With
// ARMT_CUDA_FP8=tensor, each matrix has one; always so where cuBLASLt has nothing else.
//
// With ARMT_CUDA_PROFILE=FILE and GGML_CUDA_DISABLE_GRAPHS=1, the times of all nodes are written to FILE when the
// context is freed.

#include "armt-names.h"
#include "common.cuh"

// Before the first node of a graph that is evaluated or captured. graph_key: the same for its replays
void armt_cuda_begin(ggml_backend_cuda_context & ctx, const void * graph_key);

// Computes node i, and maybe some of the nodes after it. Returns how many of those, or -1 if node i is left to ggml.
int armt_cuda_try_fuse(ggml_backend_cuda_context & ctx, const ggml_cgraph * cgraph, int i);

// Before each node, and with nullptr after the last
void armt_cuda_profile(ggml_backend_cuda_context & ctx, const ggml_tensor * node);

// Before the context is freed, while no thread captures a graph: freed memory would end the capture
void armt_cuda_release(ggml_backend_cuda_context & ctx);

// CUDA graphs replayed in this process
void     armt_cuda_count_replay(ggml_backend_cuda_context & ctx, const void * graph_key);
uint64_t armt_cuda_graph_replays();

// Whether the backend's device of this index multiplies in e4m3: NVIDIA, compute capability 8.9 or newer
bool armt_cuda_has_fp8(size_t device);

// Products that a backend has computed
armt_fp8_counts armt_cuda_fp8_counts(ggml_backend_t backend);
