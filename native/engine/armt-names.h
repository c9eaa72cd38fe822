#pragma once

// Names by which the engine and the CUDA backend (native/cuda, patches/ggml-cuda) know the same thing. The two are
// separate libraries that share no symbol.

// Mask tensor of whole segments in which row i sees exactly the rows 0 .. i. Kernels that never read the mask rely on
// that.
#define ARMT_NAME_CAUSAL_MASK "armt_causal_mask"

// ggml_backend_reg_get_proc_address: uint64_t (*)(void), the number of CUDA graphs that this process has replayed
#define ARMT_NAME_GRAPH_REPLAYS "ggml_backend_cuda_graph_replays"
