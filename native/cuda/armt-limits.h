#pragma once

// Limits that native/cuda-check shares, so that it checks both sides of them

#include <cstddef>
#include <cstdint>

// Products of quantized weights in 16 bits first convert the weight to F16, at most this many bytes of it at a time
static constexpr size_t ARMT_CONVERTED_BYTES = size_t(256) << 20;

// Products with fewer rows in a layer are left to ggml, whose kernels read the quantized weight directly
static constexpr int64_t ARMT_CONVERTED_MIN_ROWS = 192;
