#pragma once

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

// The functions of ggml that compute a graph on a backend. ArmtLibrary looks them up, so that the addon links to no
// ggml.
struct GgmlBackend {
    decltype(&ggml_init)                 init;
    decltype(&ggml_free)                 free;
    decltype(&ggml_tensor_overhead)      tensor_overhead;
    decltype(&ggml_graph_overhead)       graph_overhead;
    decltype(&ggml_new_tensor_3d)        new_tensor_3d;
    decltype(&ggml_mul_mat)              mul_mat;
    decltype(&ggml_new_graph)            new_graph;
    decltype(&ggml_build_forward_expand) build_forward_expand;
    decltype(&ggml_nbytes)               nbytes;

    decltype(&ggml_backend_dev_by_type)          dev_by_type;
    decltype(&ggml_backend_dev_init)             dev_init;
    decltype(&ggml_backend_dev_description)      dev_description;
    decltype(&ggml_backend_dev_buffer_type)      dev_buffer_type;
    decltype(&ggml_backend_dev_backend_reg)      dev_backend_reg;
    decltype(&ggml_backend_dev_supports_op)      dev_supports_op;
    decltype(&ggml_backend_reg_get_proc_address) reg_get_proc_address;

    decltype(&ggml_backend_buft_name)                   buft_name;
    decltype(&ggml_backend_buft_alloc_buffer)           buft_alloc_buffer;
    decltype(&ggml_backend_alloc_ctx_tensors_from_buft) alloc_ctx_tensors_from_buft;
    decltype(&ggml_backend_buffer_free)                 buffer_free;
    decltype(&ggml_backend_tensor_set)                  tensor_set;
    decltype(&ggml_backend_graph_compute)               graph_compute;
    decltype(&ggml_backend_synchronize)                 synchronize;
    decltype(&ggml_backend_free)                        backend_free;
};
