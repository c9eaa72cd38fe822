// What the engine calls and llama.cpp v0.4.0 does not have yet

#pragma once

#include "ggml.h"

static inline bool ggml_prec_set_acc(struct ggml_tensor * a, enum ggml_prec prec) {
    (a->op == GGML_OP_FLASH_ATTN_EXT ? ggml_flash_attn_ext_set_prec : ggml_mul_mat_set_prec)(a, prec);
    return true;
}
