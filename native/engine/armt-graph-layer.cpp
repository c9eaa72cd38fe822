#include "armt-graph.h"
#include "armt-names.h"

#include <cstring>

static ggml_tensor * view_layers(ggml_context * ctx, const armt_weight & weight, uint32_t il, int64_t ne0, int64_t ne1,
                                 uint32_t n, size_t stride) {
    const size_t  i     = weight.find(il);
    ggml_tensor * stack = weight.stack[i];
    return ggml_view_3d(ctx, stack, ne0, ne1, n, stack->nb[1], stride, (il - weight.first[i]) * stride);
}

ggml_tensor * armt_graph::view_weight(const armt_weight & weight, cells c) {
    ggml_tensor * stack = weight.stack[weight.find(c.il)];
    if (weight.is_packed(c.il)) {
        return stack;
    }
    return view_layers(ctx0, weight, c.il, stack->ne[0], stack->ne[1], c.n, stack->nb[2]);
}

ggml_tensor * armt_graph::view_vector(const armt_weight & weight, cells c) {
    const ggml_tensor * stack = weight.stack[weight.find(c.il)];
    return view_layers(ctx0, weight, c.il, stack->ne[0], 1, c.n, stack->nb[1]);
}

ggml_tensor * armt_graph::build_product(const armt_weight & weight, const armt_weight & bias, cells c,
                                        ggml_tensor * x) {
    const bool    one_matrix = c.n == 1 && x->ne[2] > 1; // the rows of all sequences
    ggml_tensor * w          = view_weight(weight, c);
    ggml_tensor * cur = ggml_mul_mat(ctx0, w, one_matrix ? ggml_reshape_2d(ctx0, x, x->ne[0], x->ne[1] * x->ne[2]) : x);
    if ((weight.product & memory.get_config().fp8_products) != 0) {
        cur->op_params[ARMT_OP_PARAM_PRECISION] = ARMT_PRECISION_E4M3;
    }
    if (one_matrix) {
        cur = ggml_reshape_3d(ctx0, cur, w->ne[1], x->ne[1], x->ne[2]);
    }
    return bias ? ggml_add(ctx0, cur, view_vector(bias, c)) : cur;
}

ggml_tensor * armt_graph::build_projection(const armt_weight & weight, const armt_weight & bias, cells c,
                                           ggml_tensor * x) {
    ggml_tensor * cur     = build_product(weight, {}, c, x);
    ggml_tensor * product = cur->op == GGML_OP_MUL_MAT ? cur : cur->src[0];
    if (product->src[0]->type != GGML_TYPE_BF16) {
        ggml_prec_set_acc(product, GGML_PREC_F32);
    }
    return bias ? ggml_add(ctx0, cur, view_vector(bias, c)) : cur;
}

ggml_tensor * armt_graph::build_scaled_norm(const armt_weight & weight, const armt_weight & bias, cells c,
                                            ggml_tensor * x) {
    ggml_tensor * w = view_vector(weight, c);
    ggml_build_forward_expand(gf, w); // the norm and its product become adjacent nodes, which backends fuse
    ggml_tensor * cur =
        model.armt.base.layer_norm ? ggml_norm(ctx0, x, norm_eps) : ggml_rms_norm(ctx0, x, norm_rms_eps);
    cur = ggml_mul(ctx0, cur, w);
    return bias ? ggml_add(ctx0, cur, view_vector(bias, c)) : cur;
}

ggml_tensor * armt_graph::build_head_norm(const armt_weight & weight, cells c, ggml_tensor * x) {
    const int64_t n_rows = x->ne[2] / c.n; // of one layer
    ggml_tensor * cur    = ggml_rms_norm(ctx0, x, norm_rms_eps);
    cur                  = ggml_reshape_4d(ctx0, cur, x->ne[0], x->ne[1], n_rows, c.n);
    cur                  = ggml_mul(ctx0, cur, ggml_permute(ctx0, view_vector(weight, c), 0, 1, 3, 2));
    return ggml_reshape_3d(ctx0, cur, x->ne[0], x->ne[1], x->ne[2]);
}

ggml_tensor * armt_graph::build_rope(cells c, ggml_tensor * x, ggml_tensor * pos) {
    const armt_base_hparams & base = model.armt.base;
    if (base.n_position != 0) {
        return x;
    }
    const auto rope = [&](ggml_tensor * t, ggml_tensor * p, bool local, bool in_place) {
        const float         theta   = local ? base.local_freq_base : freq_base;
        const float         scale   = local ? 1.0f : freq_scale;
        ggml_tensor * const factors = local || model.rope_freqs.empty() ? nullptr : model.rope_freqs[c.il];
        if (p->view_offs != 0) { // Vulkan rounds their start down to the device's alignment and reads on from there
            p = ggml_cont(ctx0, p);
        }
        return (in_place ? ggml_rope_ext_inplace : ggml_rope_ext)(ctx0, t, p, factors, n_rot, rope_type, n_ctx_orig,
                                                                  theta, scale, ext_factor, attn_factor, beta_fast,
                                                                  beta_slow);
    };
    const auto end_of_run = [&](uint32_t il) {
        uint32_t end = il + 1;
        while (end < c.il + c.n && base.is_local(end) == base.is_local(il)) {
            ++end;
        }
        return end;
    };
    if (end_of_run(c.il) == c.il + c.n) {
        return rope(x, pos, base.is_local(c.il), false);
    }
    // an operation has one base, so rotate the rows of consecutive layers with the same base at once, in place
    const int64_t n_rows = x->ne[2] / c.n;
    x                    = ggml_is_contiguous(x) ? x : ggml_cont(ctx0, x);
    for (uint32_t il = c.il, end = 0; il < c.il + c.n; il = end) {
        end                 = end_of_run(il);
        const int64_t first = (il - c.il) * n_rows;
        const int64_t n     = (end - il) * n_rows;
        ggml_tensor * rows  = ggml_view_3d(ctx0, x, x->ne[0], x->ne[1], n, x->nb[1], x->nb[2], first * x->nb[2]);
        ggml_build_forward_expand(gf,
                                  rope(rows, ggml_view_1d(ctx0, pos, n, first * pos->nb[0]), base.is_local(il), true));
    }
    return x;
}

// For a single row, backends fuse the activation with the products of gate and up if those are two.
ggml_tensor * armt_graph::build_gated_row(cells c, ggml_tensor * x) {
    ggml_tensor * w    = view_weight(model.ffn_up, c);
    const int64_t n    = w->ne[1] / 2;
    ggml_tensor * gate = ggml_view_2d(ctx0, w, w->ne[0], n, w->nb[1], 0);
    ggml_tensor * up   = ggml_view_2d(ctx0, w, w->ne[0], n, w->nb[1], n * w->nb[1]);
    ggml_build_forward_expand(gf, gate);
    ggml_build_forward_expand(gf, up);
    return ggml_swiglu_split(ctx0, ggml_mul_mat(ctx0, gate, x), ggml_mul_mat(ctx0, up, x));
}

ggml_tensor * armt_graph::build_activation(ggml_tensor * x) {
    const armt_base_hparams & base = model.armt.base;
    switch (base.activation) {
        case ARMT_ACTIVATION_SILU: return base.gated ? ggml_swiglu(ctx0, x) : ggml_silu(ctx0, x);
        case ARMT_ACTIVATION_GELU: return base.gated ? ggml_geglu_erf(ctx0, x) : ggml_gelu_erf(ctx0, x);
        case ARMT_ACTIVATION_GELU_TANH: break;
    }
    // On a CPU ggml_gelu and ggml_geglu use a table of 16-bit floats, so compose it: 0.5*(1 + tanh(y)) is sigmoid(2*y).
    constexpr float sqrt_8_over_pi = 1.59576912160573071f;

    const int64_t n    = base.gated ? x->ne[0] / 2 : x->ne[0];
    ggml_tensor * gate = ggml_view_3d(ctx0, x, n, x->ne[1], x->ne[2], x->nb[1], x->nb[2], 0);
    ggml_tensor * cur  = ggml_scale_bias(ctx0, ggml_mul(ctx0, gate, gate), 0.044715f * sqrt_8_over_pi, sqrt_8_over_pi);
    cur                = ggml_sigmoid(ctx0, ggml_mul(ctx0, cur, gate));
    cur                = ggml_mul(ctx0, cur, gate);
    return base.gated
               ? ggml_mul(ctx0, cur, ggml_view_3d(ctx0, x, n, x->ne[1], x->ne[2], x->nb[1], x->nb[2], n * x->nb[0]))
               : cur;
}

ggml_tensor * armt_graph::build_attn(const armt_step & step, cells c, ggml_tensor * x) {
    const bool    shared  = step.type == ARMT_STEP_SHARED;
    const int64_t n_rows  = x->ne[1] / c.n_texts;
    const int64_t n_batch = x->ne[2] * c.n_texts;
    const int64_t n_total = n_rows * n_batch;

    ggml_tensor * cache_k = shared ? memory.get_lane_k(c.il) : memory.get_k(c.il);
    ggml_tensor * cache_v = shared ? memory.get_lane_v(c.il) : memory.get_v(c.il);

    ggml_tensor * cur = build_scaled_norm(model.attn_norm, model.attn_norm_b, c, x);
    cb(cur, "attn_norm", c.il);

    ggml_tensor * qkv = build_product(model.attn_qkv, model.attn_qkv_b, c, cur);
    cb(qkv, "qkv", c.il);

    const size_t    head = ggml_row_size(qkv->type, n_embd_head_k);
    ggml_tensor *   q    = ggml_view_3d(ctx0, qkv, n_embd_head_k, n_head, n_total, head, qkv->nb[1], 0);
    ggml_tensor *   k    = ggml_view_3d(ctx0, qkv, n_embd_head_k, n_head_kv, n_total, head, qkv->nb[1], n_head * head);
    ggml_tensor *   v    = ggml_view_2d(ctx0, qkv, n_embd_v_gqa, n_total, qkv->nb[1], (n_head + n_head_kv) * head);
    const rows_info info = view_rows_info(step, c, n_total);

    if (model.attn_q_norm) {
        q = build_head_norm(model.attn_q_norm, c, q);
        k = build_head_norm(model.attn_k_norm, c, k);
        cb(q, "Qcur_normed", c.il);
        cb(k, "Kcur_normed", c.il);
    }
    // Whatever the stores need comes before them, so that each directly follows its RoPE and backends can fuse the two.
    ggml_tensor * flat_k = view_kv_flat(step, c, cache_k);
    ggml_tensor * flat_v = view_kv_flat(step, c, cache_v);
    for (ggml_tensor * t : {q, k, v, flat_k, flat_v, info.pos, info.kv_idxs}) {
        ggml_build_forward_expand(gf, t);
    }
    k = build_rope(c, k, info.pos);
    cb(k, "Kcur", c.il);
    cb(v, "Vcur", c.il);
    ggml_build_forward_expand(
        gf, ggml_set_rows(ctx0, flat_k, ggml_view_2d(ctx0, k, n_embd_k_gqa, n_total, k->nb[2], 0), info.kv_idxs));
    ggml_build_forward_expand(gf, ggml_set_rows(ctx0, flat_v, v, info.kv_idxs));

    q = build_rope(c, q, info.pos);
    cb(q, "Qcur", c.il);
    q   = ggml_is_contiguous(q)
              ? ggml_reshape_4d(ctx0, q, n_embd_head_k, n_head, n_rows, n_batch)
              : ggml_view_4d(ctx0, q, n_embd_head_k, n_head, n_rows, n_batch, q->nb[1], q->nb[2], n_rows * q->nb[2], 0);
    cur = build_attn_core(q, view_kv(step, c, cache_k), view_kv(step, c, cache_v), info.kq_mask, c);
    if (c.n_texts > 1) {
        cur = ggml_reshape_3d(ctx0, cur, cur->ne[0], x->ne[1], x->ne[2]);
    }
    if (step.n_mem > 0 && model.armt.sees_previous) {
        ggml_build_forward_expand(gf, cur); // reads what is overwritten next
        build_keep_text(step, closed_cells(step, c));
    }
    return cur;
}

void armt_graph::build_keep_text(const armt_step & step, cells c) {
    const armt_config & config = memory.get_config();
    GGML_ASSERT(step.n_seqs == 1); // see next_shared_step
    for (uint32_t il = c.il; il < c.il + c.n; ++il) {
        for (ggml_tensor * cache : {memory.get_k(il), memory.get_v(il)}) {
            const bool turn_back = inp->shift_back != nullptr && cache == memory.get_k(il);
            // all rows that a segment can have, so that the graph fits any length; one range, so that any type can be
            // copied
            const int64_t n    = cache->ne[0] * config.n_segment;
            const size_t  to   = memory.kv_offset(cache, il, step.seq_id);
            const size_t  from = to + (config.n_prev_max + config.n_sink) * cache->nb[1];
            ggml_tensor * text = ggml_view_1d(ctx0, cache, n, from);
            if (turn_back) { // to the positions of a segment that starts at 0
                const bool          oldest = step.oldest_has_own_mask && il + 1 == step.layer1;
                const ggml_tensor * shift  = inp->shift_back;
                text = ggml_cont_3d(ctx0, ggml_cast(ctx0, text, GGML_TYPE_F32), n_embd_head_k, n_head_kv,
                                    config.n_segment);
                text = build_rope({il, 1}, text,
                                  ggml_view_1d(ctx0, inp->shift_back, config.n_segment, oldest ? shift->nb[1] : 0));
                text = ggml_reshape_1d(ctx0, text, n);
            }
            ggml_build_forward_expand(gf, ggml_cpy(ctx0, text, ggml_view_1d(ctx0, cache, n, to)));
        }
    }
}

// A diagonal's cells use the cache for their segments' K/V too. It holds nothing else while segments are in flight.
// With several sequences, cells follow each other in tensors of their own, where each layer has room for those of all
// lanes.
ggml_tensor * armt_graph::view_kv_flat(const armt_step & step, cells c, ggml_tensor * cache) {
    if (step.type == ARMT_STEP_SHARED) {
        return ggml_view_2d(ctx0, cache, cache->ne[0], int64_t(c.n) * c.n_texts * cache->ne[1], cache->nb[1],
                            memory.kv_offset(cache, c.il, 0));
    }
    const bool    open    = step.type == ARMT_STEP_OPEN;
    const int64_t n_batch = open ? step.n_seqs : c.n;
    const int64_t n_rows  = (n_batch - 1) * memory.n_kv_stride(open) + cache->ne[1];
    return ggml_view_2d(ctx0, cache, cache->ne[0], n_rows, cache->nb[1], memory.kv_offset(cache, c.il, step.seq_id));
}

ggml_tensor * armt_graph::view_kv(const armt_step & step, cells c, ggml_tensor * cache) {
    const bool    open        = step.type == ARMT_STEP_OPEN;
    const bool    shared      = step.type == ARMT_STEP_SHARED;
    const int64_t n_batch     = open ? step.n_seqs : int64_t(c.n) * c.n_texts;
    const int64_t n_embd_head = cache->ne[0] / n_head_kv;
    const size_t  stride      = shared ? cache->ne[1] : memory.n_kv_stride(open);
    return ggml_view_4d(ctx0, cache, n_embd_head, step.n_kv, n_head_kv, n_batch, cache->nb[1],
                        ggml_row_size(cache->type, n_embd_head), stride * cache->nb[1],
                        memory.kv_offset(cache, c.il, step.seq_id));
}

ggml_tensor * armt_graph::build_attn_core(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * kq_mask,
                                          cells c) {
    const int64_t n_rows  = q->ne[2];
    const int64_t n_batch = q->ne[3];
    const float   scale   = model.armt.base.attention_scale;

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

// a + b, written to the view. ggml only has ggml_add_inplace, which writes to a.
static ggml_tensor * add_into(ggml_tensor * view, ggml_tensor * a, ggml_tensor * b) {
    GGML_ASSERT(ggml_are_same_shape(view, a) && ggml_are_same_shape(a, b));
    memset(view->op_params, 0, sizeof(view->op_params)); // the view's offset, which GGML_OP_ADD would misread
    view->op     = GGML_OP_ADD;
    view->src[0] = a;
    view->src[1] = b;
    return view;
}

ggml_tensor * armt_graph::build_layer_end(cells c, ggml_tensor * attn, ggml_tensor * x, ggml_tensor * into) {
    ggml_tensor * cur = build_product(model.attn_output, model.attn_output_b, c, attn);
    if (model.attn_post) {
        cur = build_scaled_norm(model.attn_post, {}, c, cur);
    }
    cb(cur, "attn_out", c.il);

    ggml_tensor * residual = ggml_add(ctx0, cur, x);
    cb(residual, "ffn_inp", c.il);

    cur = build_scaled_norm(model.ffn_norm, model.ffn_norm_b, c, model.armt.base.parallel ? x : residual);
    cb(cur, "ffn_norm", c.il);

    const armt_base_hparams & base = model.armt.base;
    if (cur->ne[1] * cur->ne[2] == 1 && base.gated && base.activation == ARMT_ACTIVATION_SILU && !model.ffn_up_b &&
        !model.ffn_up.is_packed(c.il)) {
        cur = build_gated_row(c, cur);
    } else {
        cur = build_activation(build_product(model.ffn_up, model.ffn_up_b, c, cur));
    }
    cb(cur, "ffn_act", c.il);

    cur = build_product(model.ffn_down, model.ffn_down_b, c, cur);
    if (model.ffn_post) {
        cur = build_scaled_norm(model.ffn_post, {}, c, cur);
    }
    cb(cur, "ffn_out", c.il);

    if (into == nullptr) {
        cur = ggml_add(ctx0, cur, residual);
    } else {
        const auto like_into = [&](ggml_tensor * t) {
            return ggml_are_same_shape(t, into)
                       ? t
                       : ggml_reshape_4d(ctx0, t, into->ne[0], into->ne[1], into->ne[2], into->ne[3]);
        };
        cur      = like_into(cur);
        residual = like_into(residual);
        // ggml-cuda's addition takes a result that has gaps for one that has none
        cur = ggml_is_contiguous(into) ? add_into(into, cur, residual)
                                       : ggml_cpy(ctx0, ggml_add(ctx0, cur, residual), into);
    }
    cb(cur, "l_out", c.il);
    return cur;
}
