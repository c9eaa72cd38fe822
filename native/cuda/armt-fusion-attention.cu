// RoPE with the K/V store, and causal attention of whole segments.

#include "armt-fusion.cuh"

#include "armt-names.h"

#include <cstring>

namespace armt_fusion {

//
// attention
//

static bool is_attention(const ggml_tensor * t) {
    if (t->op != GGML_OP_FLASH_ATTN_EXT || t->src[3] == nullptr || t->src[4] != nullptr ||
        strcmp(t->src[3]->name, ARMT_NAME_CAUSAL_MASK) != 0) {
        return false;
    }
    const ggml_tensor * q = t->src[0]; // {n_dims, n_rows, n_head, n_batch}
    const ggml_tensor * k = t->src[1];
    const ggml_tensor * v = t->src[2];

    const float max_bias = float_param(t, 1);
    const float softcap  = float_param(t, 2);

    const auto is_cache = [&](const ggml_tensor * kv) {
        const bool has_strides =
            kv->nb[0] == 2 && kv->nb[2] == size_t(kv->ne[0]) * 2 && kv->nb[1] % 16 == 0 && kv->nb[3] % 16 == 0;
        const bool has_size = kv->ne[0] == q->ne[0] && kv->ne[3] == q->ne[3] && kv->ne[1] >= GGML_PAD(q->ne[1], 64);
        return kv->type == GGML_TYPE_F16 && has_strides && has_size;
    };
    const bool head_fits  = q->ne[0] == 64 || q->ne[0] == 128;
    const bool heads_fit  = q->ne[2] % k->ne[2] == 0 && k->ne[2] == v->ne[2];
    const bool q_is_dense = q->type == GGML_TYPE_F32 && q->nb[0] == 4 && q->nb[2] == size_t(q->ne[0]) * 4 &&
                            q->nb[1] == size_t(q->ne[2]) * q->nb[2] && q->nb[3] == size_t(q->ne[1]) * q->nb[1];
    const bool is_plain  = max_bias == 0.0f && softcap == 0.0f;
    const bool grid_fits = q->ne[2] <= MAX_GRID_YZ && q->ne[3] <= MAX_GRID_YZ;
    return head_fits && q_is_dense && is_cache(k) && is_cache(v) && heads_fit && is_plain && ggml_is_contiguous(t) &&
           grid_fits;
}

int fuse_attention(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * fa = cgraph->nodes[i];
    if (!state.on.attention || !is_attention(fa)) {
        return NOT_FUSED;
    }
    const ggml_tensor * q           = fa->src[0];
    const ggml_tensor * k           = fa->src[1];
    const ggml_tensor * v           = fa->src[2];
    const auto          narrow_q    = state.narrow.find(root_of(q));
    const bool          is_narrow_q = narrow_q != state.narrow.end();
    int                 last        = i;
    ggml_type           type        = narrow_type(ctx, state, cgraph, i, fa, last);
    if (type == GGML_TYPE_COUNT) {
        type = GGML_TYPE_F32;
    }
    armt_attention_args args = {};
    args.q                   = is_narrow_q ? narrow_q->second.data : q->data;
    args.q_type              = is_narrow_q ? GGML_TYPE_F16 : GGML_TYPE_F32;
    args.k                   = (const half *) k->data;
    args.v                   = (const half *) v->data;
    args.k_row               = k->nb[1] / 2;
    args.k_batch             = k->nb[3] / 2;
    args.v_row               = v->nb[1] / 2;
    args.v_batch             = v->nb[3] / 2;
    args.output              = fa->data;
    args.type                = type;
    args.scale               = float_param(fa, 0);
    args.n_dims              = q->ne[0];
    args.n_head              = q->ne[2];
    args.n_head_kv           = k->ne[2];
    args.n_rows              = q->ne[1];
    args.n_batch             = q->ne[3];
    armt_attention(args, ctx.stream());
    if (type != GGML_TYPE_F32) {
        state.narrow[fa] = {fa->data, type};
    }
    return 0;
}

//
// RoPE and the K/V store
//

// ggml_rope's op_params
enum rope_param {
    ROPE_N_DIMS      = 1,
    ROPE_MODE        = 2,
    ROPE_FREQ_BASE   = 5,
    ROPE_FREQ_SCALE  = 6,
    ROPE_EXT_FACTOR  = 7,
    ROPE_ATTN_FACTOR = 8
};

// From node i on: RoPE of K into the cache, V into the cache, RoPE of Q, whose index is i_q
static bool match_rope(const context_state & state, const ggml_cgraph * cgraph, int i, armt_rope_args & args,
                       int & i_q) {
    const int i_k = next_node(cgraph, i);
    const int i_v = next_node(cgraph, i_k);
    i_q           = next_node(cgraph, i_v);
    if (!state.on.rope || i_q >= cgraph->n_nodes) {
        return false;
    }
    const ggml_tensor * rope_k  = cgraph->nodes[i];
    const ggml_tensor * store_k = cgraph->nodes[i_k];
    const ggml_tensor * store_v = cgraph->nodes[i_v];
    const ggml_tensor * rope_q  = cgraph->nodes[i_q];

    const bool ops_fit = rope_k->op == GGML_OP_ROPE && store_k->op == GGML_OP_SET_ROWS &&
                         store_v->op == GGML_OP_SET_ROWS && rope_q->op == GGML_OP_ROPE;
    if (!ops_fit || root_of(store_k->src[0]) != rope_k || n_uses(cgraph, rope_k) != 1) {
        return false;
    }
    const bool same_rope = memcmp(rope_k->op_params, rope_q->op_params, sizeof(rope_k->op_params)) == 0 &&
                           rope_k->src[1] == rope_q->src[1] && rope_k->src[2] == rope_q->src[2];
    const bool same_rows = store_k->src[1] == store_v->src[1];
    if (!same_rope || !same_rows) {
        return false;
    }
    const ggml_tensor * q = rope_q->src[0]; // {n_dims, n_head, n_rows}
    const ggml_tensor * k = rope_k->src[0];
    const ggml_tensor * v = store_v->src[0]; // {n_embd_v, n_rows}

    const int n_dims = rope_k->op_params[ROPE_N_DIMS];

    const auto is_heads = [&](const ggml_tensor * t) {
        return t->type == GGML_TYPE_F32 && t->ne[0] == n_dims && t->nb[0] == 4 && t->nb[1] == size_t(n_dims) * 4 &&
               t->ne[3] == 1;
    };
    const auto is_store = [&](const ggml_tensor * t) {
        return t->type == GGML_TYPE_F16 && t->nb[0] == 2 && t->nb[1] % 4 == 0 && t->src[1]->type == GGML_TYPE_I64;
    };
    const auto is_aligned = [](const ggml_tensor * t) { return (uintptr_t) t->data % 8 == 0; };

    const bool rope_fits = rope_k->op_params[ROPE_MODE] == GGML_ROPE_TYPE_NEOX &&
                           float_param(rope_k, ROPE_EXT_FACTOR) == 0.0f && n_dims % 4 == 0 && n_dims <= 512;
    const bool v_fits =
        v->type == GGML_TYPE_F32 && v->nb[0] == 4 && v->ne[0] == k->ne[1] * n_dims && v->ne[1] == k->ne[2];
    const bool same_row_stride = q->nb[2] == k->nb[2] && v->nb[1] == k->nb[2] && k->nb[2] % 8 == 0;
    const bool are_aligned     = is_aligned(q) && is_aligned(k) && is_aligned(v);
    const bool results_fit =
        is_store(store_k) && is_store(store_v) && ggml_is_contiguous(rope_q) && ggml_is_contiguous(rope_k);
    const bool q_is_apart = !overlap(rope_q, q) && !overlap(rope_q, k) && !overlap(rope_q, v);
    if (!rope_fits || !is_heads(q) || !is_heads(k) || !v_fits || !same_row_stride || !are_aligned || !results_fit ||
        !q_is_apart) {
        return false;
    }

    std::vector<const ggml_tensor *> readers;
    int                              last = i_q;
    const bool narrow_q                   = state.on.attention && find_readers(cgraph, i_q, rope_q, readers, last) &&
                          readers.size() == 1 && is_attention(readers[0]) && root_of(readers[0]->src[0]) == rope_q;

    args.q           = q->data;
    args.k           = k->data;
    args.v           = v->data;
    args.type        = GGML_TYPE_F32;
    args.row_stride  = k->nb[2] / 4;
    args.pos         = (const int32_t *) rope_k->src[1]->data;
    args.idxs        = (const int64_t *) store_k->src[1]->data;
    args.factors     = rope_k->src[2] != nullptr ? (const float *) rope_k->src[2]->data : nullptr;
    args.q_out       = rope_q->data;
    args.q_type      = narrow_q ? GGML_TYPE_F16 : GGML_TYPE_F32;
    args.k_out       = (half *) store_k->data;
    args.v_out       = (half *) store_v->data;
    args.k_row       = store_k->nb[1] / 2;
    args.v_row       = store_v->nb[1] / 2;
    args.theta_scale = powf(float_param(rope_k, ROPE_FREQ_BASE), -2.0f / n_dims);
    args.freq_scale  = float_param(rope_k, ROPE_FREQ_SCALE);
    args.scale       = float_param(rope_k, ROPE_ATTN_FACTOR);
    args.n_dims      = n_dims;
    args.n_head      = q->ne[1];
    args.n_head_kv   = k->ne[1];
    args.n_rows      = q->ne[2];
    return true;
}

bool is_read_by_rope(const context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * mm = cgraph->nodes[i];
    if (mm->view_src != nullptr || (mm->flags & GGML_TENSOR_FLAG_OUTPUT) != 0) {
        return false;
    }
    const int      i_rope = next_node(cgraph, i);
    armt_rope_args args   = {};
    int            i_q    = i_rope;
    if (i_rope >= cgraph->n_nodes || !match_rope(state, cgraph, i_rope, args, i_q)) {
        return false;
    }
    std::vector<const ggml_tensor *> readers;
    int                              last = i;
    return find_readers(cgraph, i, mm, readers, last) && last <= i_q &&
           cgraph->nodes[i_q]->src[0]->view_src == mm; // q; k and v come from the same rows
}

int fuse_rope(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    armt_rope_args args = {};
    int            i_q  = i;
    if (!match_rope(state, cgraph, i, args, i_q)) {
        return NOT_FUSED;
    }
    const ggml_tensor * rope_q = cgraph->nodes[i_q];
    const ggml_tensor * rows   = rope_q->src[0]->view_src;
    const auto          narrow = state.narrow.find(rows);
    if (rows != nullptr && narrow != state.narrow.end()) {
        // the same element, where elements have half the size
        const auto in_narrow = [&](const void * p) {
            return (const char *) narrow->second.data + ((const char *) p - (const char *) rows->data) / 2;
        };
        args.q    = in_narrow(args.q);
        args.k    = in_narrow(args.k);
        args.v    = in_narrow(args.v);
        args.type = narrow->second.type;
    }
    armt_rope_store(args, ctx.stream());
    if (args.q_type == GGML_TYPE_F16) {
        state.narrow[rope_q] = {rope_q->data, GGML_TYPE_F16};
    }
    return i_q - i;
}

} // namespace armt_fusion
