#include "armt-graph.h"

#include <cmath>
#include <cstring>

static ggml_tensor * view_layers(ggml_context * ctx, const armt_weight & weight, uint32_t il, int64_t ne0, int64_t ne1, uint32_t n, size_t stride) {
    const size_t  i     = weight.find(il);
    ggml_tensor * stack = weight.stack[i];
    return ggml_view_3d(ctx, stack, ne0, ne1, n, stack->nb[1], stride, (il - weight.first[i]) * stride);
}

ggml_tensor * armt_graph::view_weight(const armt_weight & weight, cells c) {
    const ggml_tensor * stack = weight.stack[weight.find(c.il)];
    return view_layers(ctx0, weight, c.il, stack->ne[0], stack->ne[1], c.n, stack->nb[2]);
}

ggml_tensor * armt_graph::view_vector(const armt_weight & weight, cells c) {
    const ggml_tensor * stack = weight.stack[weight.find(c.il)];
    return view_layers(ctx0, weight, c.il, stack->ne[0], 1, c.n, stack->nb[1]);
}

ggml_tensor * armt_graph::build_product(const armt_weight & weight, const armt_weight & bias, cells c, ggml_tensor * x) {
    ggml_tensor * w   = view_weight(weight, c);
    ggml_tensor * cur = x;
    if (c.n == 1) { // the rows of all sequences are one matrix
        cur = ggml_mul_mat(ctx0, w, ggml_reshape_2d(ctx0, x, x->ne[0], x->ne[1] * x->ne[2]));
        cur = ggml_reshape_3d(ctx0, cur, w->ne[1], x->ne[1], x->ne[2]);
    } else {
        cur = ggml_mul_mat(ctx0, w, x);
    }
    return bias ? ggml_add(ctx0, cur, view_vector(bias, c)) : cur;
}

ggml_tensor * armt_graph::build_rms_norm(const armt_weight & weight, cells c, ggml_tensor * x) {
    return ggml_mul(ctx0, ggml_rms_norm(ctx0, x, norm_rms_eps), view_vector(weight, c));
}

ggml_tensor * armt_graph::build_attn(const armt_step & step, cells c, ggml_tensor * x) {
    const int64_t n_rows  = x->ne[1];
    const int64_t n_batch = x->ne[2];
    const int64_t n_total = n_rows * n_batch;

    ggml_tensor * cur = build_rms_norm(model.attn_norm, c, x);
    cb(cur, "attn_norm", c.il);

    ggml_tensor * qkv = build_product(model.attn_qkv, model.attn_qkv_b, c, cur);
    cb(qkv, "qkv", c.il);

    const size_t    head    = ggml_row_size(qkv->type, n_embd_head_k);
    ggml_tensor *   q       = ggml_view_3d(ctx0, qkv, n_embd_head_k, n_head,    n_total, head, qkv->nb[1], 0);
    ggml_tensor *   k       = ggml_view_3d(ctx0, qkv, n_embd_head_k, n_head_kv, n_total, head, qkv->nb[1], n_head * head);
    ggml_tensor *   v       = ggml_view_2d(ctx0, qkv, n_embd_v_gqa, n_total, qkv->nb[1], (n_head + n_head_kv) * head);
    ggml_tensor *   factors = model.rope_freqs;
    const rows_info info    = view_rows_info(step, c.il, n_total);

    const auto rope = [&](ggml_tensor * t) {
        return ggml_rope_ext(ctx0, t, info.pos, factors, n_rot, rope_type, n_ctx_orig, freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow);
    };
    // everything that the stores need comes before them, so that each follows its RoPE at once: a backend can fuse them then
    ggml_tensor * flat_k = view_kv_flat(step, c, memory.get_k(c.il));
    ggml_tensor * flat_v = view_kv_flat(step, c, memory.get_v(c.il));
    for (ggml_tensor * t : {q, k, v, flat_k, flat_v, info.pos, info.kv_idxs}) {
        ggml_build_forward_expand(gf, t);
    }
    k = rope(k);
    cb(k, "Kcur", c.il);
    cb(v, "Vcur", c.il);
    ggml_build_forward_expand(gf, ggml_set_rows(ctx0, flat_k, ggml_view_2d(ctx0, k, n_embd_k_gqa, n_total, k->nb[2], 0), info.kv_idxs));
    ggml_build_forward_expand(gf, ggml_set_rows(ctx0, flat_v, v, info.kv_idxs));

    q = rope(q);
    cb(q, "Qcur", c.il);
    q = ggml_reshape_4d(ctx0, q, n_embd_head_k, n_head, n_rows, n_batch);
    return build_attn_core(q, view_kv(step, c, memory.get_k(c.il)), view_kv(step, c, memory.get_v(c.il)), info.kq_mask, c);
}

// A diagonal's cells have their segments' K/V in the cache as well: nothing else is there while segments are in flight.
ggml_tensor * armt_graph::view_kv_flat(const armt_step & step, cells c, ggml_tensor * cache) {
    const bool    open    = step.type == ARMT_STEP_OPEN;
    const int64_t n_batch = open ? step.n_seqs : c.n;
    const int64_t n_rows  = (n_batch - 1) * memory.n_kv_stride(open) + cache->ne[1];
    return ggml_view_2d(ctx0, cache, cache->ne[0], n_rows, cache->nb[1], memory.kv_offset(cache, c.il, step.seq_id));
}

ggml_tensor * armt_graph::view_kv(const armt_step & step, cells c, ggml_tensor * cache) {
    const bool    open        = step.type == ARMT_STEP_OPEN;
    const int64_t n_batch     = open ? step.n_seqs : c.n;
    const int64_t n_embd_head = cache->ne[0] / n_head_kv;
    return ggml_view_4d(ctx0, cache, n_embd_head, step.n_kv, n_head_kv, n_batch, cache->nb[1], ggml_row_size(cache->type, n_embd_head),
                        memory.n_kv_stride(open) * cache->nb[1], memory.kv_offset(cache, c.il, step.seq_id));
}

ggml_tensor * armt_graph::build_attn_core(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * kq_mask, cells c) {
    const int64_t n_rows  = q->ne[2];
    const int64_t n_batch = q->ne[3];
    const float   scale   = 1.0f / sqrtf(float(n_embd_head_k));

    q = ggml_permute(ctx0, q, 0, 2, 1, 3);

    ggml_tensor * cur;
    if (cparams.flash_attn) {
        cur = ggml_flash_attn_ext(ctx0, q, k, v, kq_mask, scale, 0.0f, 0.0f);
        ggml_prec_set_acc(cur, GGML_PREC_F32);
        for (uint32_t il = c.il; il < c.il + c.n; ++il) {
            res->add_fused_node({LLM_FUSED_OP_FLASH_ATTN, cur, int(il)});
        }
    } else {
        ggml_tensor * kq = ggml_mul_mat(ctx0, k, q);
        ggml_prec_set_acc(kq, GGML_PREC_F32);
        cb(kq, "kq", c.il);

        kq = ggml_soft_max_ext(ctx0, kq, kq_mask, scale, 0.0f);
        cb(kq, "kq_soft_max", c.il);

        cur = ggml_mul_mat(ctx0, ggml_cont(ctx0, ggml_transpose(ctx0, v)), kq);
        cur = ggml_cont(ctx0, ggml_permute(ctx0, cur, 0, 2, 1, 3));
        if (!cparams.offload_kqv) {
            ggml_backend_sched_set_tensor_backend(sched, cur, backend_cpu);
        }
    }
    cur = ggml_reshape_3d(ctx0, cur, n_embd_head_v * n_head, n_rows, n_batch);
    cb(cur, "kqv_out", c.il);
    return cur;
}

// a + b where the view is. ggml has this as ggml_add_inplace only, whose place is a's.
static ggml_tensor * add_into(ggml_tensor * view, ggml_tensor * a, ggml_tensor * b) {
    GGML_ASSERT(ggml_are_same_shape(view, a) && ggml_are_same_shape(a, b));
    memset(view->op_params, 0, sizeof(view->op_params)); // an offset, which the operation would take for its own
    view->op     = GGML_OP_ADD;
    view->src[0] = a;
    view->src[1] = b;
    return view;
}

ggml_tensor * armt_graph::build_layer_end(cells c, ggml_tensor * attn, ggml_tensor * x, ggml_tensor * into) {
    ggml_tensor * cur = build_product(model.attn_output, model.attn_output_b, c, attn);
    cb(cur, "attn_out", c.il);

    ggml_tensor * residual = ggml_add(ctx0, cur, x);
    cb(residual, "ffn_inp", c.il);

    cur = build_rms_norm(model.ffn_norm, c, residual);
    cb(cur, "ffn_norm", c.il);

    cur = build_product(model.ffn_up, model.ffn_up_b, c, cur);
    cur = ggml_swiglu(ctx0, cur);
    cb(cur, "ffn_swiglu", c.il);

    cur = build_product(model.ffn_down, model.ffn_down_b, c, cur);
    cb(cur, "ffn_out", c.il);

    cur = into == nullptr ? ggml_add(ctx0, cur, residual) : add_into(into, cur, residual);
    cb(cur, "l_out", c.il);
    return cur;
}
