#pragma once

#include <cstdint>

// Names by which the engine and the CUDA backend (native/cuda, patches/ggml-cuda) know the same thing. The two are
// separate libraries that share no symbol.

// Mask tensor of whole segments in which row i sees exactly the rows 0 .. i. Kernels that never read the mask rely on
// that.
#define ARMT_NAME_CAUSAL_MASK "armt_causal_mask"

// ggml's RPC backend, and the functions of it that the engine asks ggml_backend_reg_get_proc_address for. The last
// three are of patches/0006-rpc-errors.diff and 0009-rpc-times.diff.
#define ARMT_NAME_RPC         "RPC"
#define ARMT_NAME_RPC_SERVE   "ggml_backend_rpc_start_server"
#define ARMT_NAME_RPC_CONNECT "armt_rpc_connect"
#define ARMT_NAME_RPC_FAILURE "armt_rpc_backend_failure"
#define ARMT_NAME_RPC_TIMES   "armt_rpc_backend_times"

// ggml_backend_reg_get_proc_address: uint64_t (*)(void), the number of CUDA graphs that this process has replayed
#define ARMT_NAME_GRAPH_REPLAYS "ggml_backend_cuda_graph_replays"

// How the engine asks for a product in e4m3: this value among the op_params of GGML_OP_MUL_MAT, next to the precision
// that ggml keeps there. Backends that do not know it ignore it.
#define ARMT_OP_PARAM_PRECISION 8
#define ARMT_PRECISION_E4M3     0x4d3

// ggml_backend_reg_get_proc_address: bool (*)(size_t index), whether that device of the backend has products in e4m3
#define ARMT_NAME_HAS_FP8 "armt_cuda_has_fp8"

// ggml_backend_reg_get_proc_address: armt_fp8_counts (*)(ggml_backend_t). A product of several cells counts once.
#define ARMT_NAME_FP8_COUNTS "armt_cuda_fp8_counts"

struct armt_fp8_counts {
    uint64_t n_e4m3 = 0; // products in e4m3
    uint64_t n_left = 0; // marked products of as many rows that were left in 16 bits
};
