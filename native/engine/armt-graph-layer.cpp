#include "armt-graph.h"

#include <cmath>

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

    const size_t  head    = ggml_row_size(qkv->type, n_embd_head_k);
    ggml_tensor * q       = ggml_view_3d(ctx0, qkv, n_embd_head_k, n_head,    n_total, head, qkv->nb[1], 0);
    ggml_tensor * k       = ggml_view_3d(ctx0, qkv, n_embd_head_k, n_head_kv, n_total, head, qkv->nb[1], n_head * head);
    ggml_tensor * v       = ggml_view_3d(ctx0, qkv, n_embd_head_v, n_head_kv, n_total, head, qkv->nb[1], (n_head + n_head_kv) * head);
    ggml_tensor * pos     = ggml_view_1d(ctx0, inp->pos, n_total, 0);
    ggml_tensor * factors = model.rope_freqs;

    q = ggml_rope_ext(ctx0, q, pos, factors, n_rot, rope_type, n_ctx_orig, freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow);
    k = ggml_rope_ext(ctx0, k, pos, factors, n_rot, rope_type, n_ctx_orig, freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow);
    cb(q, "Qcur", c.il);
    cb(k, "Kcur", c.il);
    cb(v, "Vcur", c.il);

    q = ggml_reshape_4d(ctx0, q, n_embd_head_k, n_head, n_rows, n_batch);
    if (step.type == ARMT_STEP_OPEN) {
        k = build_kv_open(step, memory.get_k(c.il), ggml_reshape_2d(ctx0, k, n_embd_k_gqa, n_total));
        v = build_kv_open(step, memory.get_v(c.il), ggml_view_2d(ctx0, v, n_embd_v_gqa, n_total, v->nb[2], 0));
    } else {
        k = build_kv_whole(memory.type_k(), ggml_reshape_4d(ctx0, k, n_embd_head_k, n_head_kv, n_rows, n_batch));
        v = build_kv_whole(memory.type_v(), ggml_view_4d(ctx0, v, n_embd_head_v, n_head_kv, n_rows, n_batch, v->nb[1], v->nb[2], n_rows * v->nb[2], 0));
    }
    return build_attn_core(q, k, v, c);
}

ggml_tensor * armt_graph::build_kv_open(const armt_step & step, ggml_tensor * cache, ggml_tensor * rows) {
    ggml_tensor * flat = ggml_reshape_2d(ctx0, cache, cache->ne[0], cache->ne[1] * cache->ne[2]);
    ggml_build_forward_expand(gf, ggml_set_rows(ctx0, flat, rows, inp->kv_idxs));

    const int64_t n_embd_head = cache->ne[0] / n_head_kv;
    return ggml_view_4d(ctx0, cache, n_embd_head, step.n_kv, n_head_kv, step.n_seqs, cache->nb[1], ggml_row_size(cache->type, n_embd_head), cache->nb[2],
                        step.seq_id * cache->nb[2]);
}

ggml_tensor * armt_graph::build_kv_whole(ggml_type type, ggml_tensor * rows) {
    // rounded as in the cache, so that both kinds of step compute the same
    if (type != GGML_TYPE_F32) {
        rows = ggml_cast(ctx0, ggml_is_quantized(type) ? ggml_cont(ctx0, rows) : rows, type);
    }
    return ggml_permute(ctx0, rows, 0, 2, 1, 3);
}

ggml_tensor * armt_graph::build_attn_core(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, cells c) {
    const int64_t n_rows  = q->ne[2];
    const int64_t n_batch = q->ne[3];
    const float   scale   = 1.0f / sqrtf(float(n_embd_head_k));

    q = ggml_permute(ctx0, q, 0, 2, 1, 3);

    ggml_tensor * cur;
    if (cparams.flash_attn) {
        cur = ggml_flash_attn_ext(ctx0, q, k, v, inp->kq_mask, scale, 0.0f, 0.0f);
        ggml_prec_set_acc(cur, GGML_PREC_F32);
        for (uint32_t il = c.il; il < c.il + c.n; ++il) {
            res->add_fused_node({LLM_FUSED_OP_FLASH_ATTN, cur, int(il)});
        }
    } else {
        ggml_tensor * kq = ggml_mul_mat(ctx0, k, q);
        ggml_prec_set_acc(kq, GGML_PREC_F32);
        cb(kq, "kq", c.il);

        kq = ggml_soft_max_ext(ctx0, kq, inp->kq_mask, scale, 0.0f);
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

ggml_tensor * armt_graph::build_layer_end(cells c, ggml_tensor * attn, ggml_tensor * x) {
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

    cur = ggml_add(ctx0, cur, residual);
    cb(cur, "l_out", c.il);
    return cur;
}
