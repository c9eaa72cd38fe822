#pragma once

#include "GgmlBackend.h"

#include <cstdint>
#include <vector>

// The product of weights {k, n, batch} with an input {k, rows, batch}
struct WeightProduct {
    ggml_type type; // of the weights
    int64_t   k;
    int64_t   n;
    int64_t   rows;
    int64_t   batch;
};

// The buffer types in which the device can hold the weights of this product: its own, if it can multiply them at all,
// and those of its extra buffer types (AMX and repacking on a CPU) that take them. Extra types reorder whole matrices,
// so they are left out if batch is above 1: AMX accepts such weights and then crashes.
std::vector<ggml_backend_buffer_type_t> armt_weight_buffers(const GgmlBackend & ggml, ggml_backend_dev_t device,
                                                            const WeightProduct & product);
