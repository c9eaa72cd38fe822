#pragma once

// Limits that native/cuda-check knows too, so that it checks what is beyond them

#include <cstddef>
#include <cstdint>

// Products of quantized weights in 16 bits convert the weight first, at most so many bytes of it (as F16) at a time
static constexpr size_t ARMT_CONVERTED_BYTES = size_t(256) << 20;

// With fewer rows of a layer they are left to ggml, whose own kernels read the quantized weight alone
static constexpr int64_t ARMT_CONVERTED_MIN_ROWS = 192;
