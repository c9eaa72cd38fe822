#include "armt-graph.h"

// The smallest norm that features are divided by (normalize_keys)
static constexpr float ARMT_NORM_EPS = 1e-12f;

// Shapes in this file: h = n_head of the memory, d = n_feature / h, n_roll = 2*d, n_key = 3*n_roll = K/h, n_value =
// n_embd / h, n_az = n_value, and a row for z with use_denom, padded to a multiple of 4.

// DPFP (arXiv 2102.11174, eq. 37): y = [relu(x), relu(-x)], features y * roll(y, j) for j = 1 .. 3
ggml_tensor * armt_graph::build_dpfp(const armt_weight & weight, cells c, ggml_tensor * x) {
    const int64_t n_heads   = model.armt.n_head;
    const int64_t n_vectors = n_heads * x->ne[1] * x->ne[2];
    const int64_t n_roll    = 2 * model.armt.n_feature / n_heads;
    const int64_t order     = ARMT_DPFP_ORDER;
    const int64_t n_rows    = x->ne[1] / c.n_texts;
    const int64_t n_batch   = x->ne[2] * c.n_texts;

    // {n_embd, n_feature, n_batch} @ {n_embd, n_rows, n_batch} => {n_feature, n_rows, n_batch}
    ggml_tensor * cur = build_projection(weight, {}, c, x);
    // => {d, n_vectors}
    cur = ggml_reshape_2d(ctx0, cur, n_roll / 2, n_vectors);

    // {d, n_vectors}, twice => {n_roll, n_vectors}
    ggml_tensor * y = ggml_concat(ctx0, ggml_relu(ctx0, cur), ggml_relu(ctx0, ggml_neg(ctx0, cur)), 0);

    // With y's end put before its start, the rolls are overlapping windows: the one at offset o is the roll by 3 - o.
    // {3, n_vectors}, {n_roll, n_vectors} => {3 + n_roll, n_vectors}
    ggml_tensor * end    = ggml_view_2d(ctx0, y, order, n_vectors, y->nb[1], (n_roll - order) * y->nb[0]);
    ggml_tensor * cyclic = ggml_concat(ctx0, end, y, 0);
    // => {n_roll, 3, n_vectors}
    ggml_tensor * windows = ggml_view_3d(ctx0, cyclic, n_roll, 1, n_vectors, cyclic->nb[0], cyclic->nb[1], 0);
    windows->ne[1]        = order; // set here, because ggml_view_3d rejects windows that overlap

    // {n_roll, 3, n_vectors} * {n_roll, 1, n_vectors} => {n_roll, 3, n_vectors}
    cur = ggml_mul(ctx0, windows, ggml_reshape_3d(ctx0, y, n_roll, 1, n_vectors));
    // => {n_key, h, n_rows, n_batch}
    cur = ggml_reshape_4d(ctx0, cur, n_roll * order, n_heads, n_rows, n_batch);
    if (model.armt.normalize_keys) {
        cur = ggml_l2_norm(ctx0, cur, ARMT_NORM_EPS);
    }
    // => {n_key, n_rows, h, n_batch}
    return n_heads == 1 ? ggml_reshape_4d(ctx0, cur, cur->ne[0], n_rows, 1, n_batch)
                        : ggml_cont(ctx0, ggml_permute(ctx0, cur, 0, 2, 1, 3));
}

ggml_tensor * armt_graph::split_heads(cells c, ggml_tensor * x) {
    const int64_t n_heads = model.armt.n_head;
    const int64_t n_rows  = x->ne[1] / c.n_texts;
    const int64_t n_batch = x->ne[2] * c.n_texts;
    // {n_embd, n_rows, n_batch} => {n_value, n_rows, h, n_batch}
    if (n_heads == 1) {
        return ggml_reshape_4d(ctx0, x, x->ne[0], n_rows, 1, n_batch);
    }
    x = ggml_reshape_4d(ctx0, x, x->ne[0] / n_heads, n_heads, n_rows, n_batch);
    return ggml_cont(ctx0, ggml_permute(ctx0, x, 0, 2, 1, 3));
}

ggml_tensor * armt_graph::merge_heads(ggml_tensor * x) {
    const int64_t n_heads = model.armt.n_head;
    const int64_t n_rows  = x->ne[1];
    // {n_value, n_rows, h, n_batch} => {n_embd, n_rows, n_batch}
    if (n_heads > 1) {
        x = ggml_cont(ctx0, ggml_permute(ctx0, x, 0, 2, 1, 3));
    }
    return ggml_reshape_3d(ctx0, x, x->ne[0] * n_heads, n_rows, x->ne[3]);
}

ggml_tensor * armt_graph::build_recall(ggml_tensor * az, ggml_tensor * features, ggml_tensor ** denom) {
    const int64_t n_value = n_embd / model.armt.n_head;

    // {n_key, n_az, h, n_batch} @ {n_key, n_rows, h, n_batch} => {n_az, n_rows, h, n_batch}
    ggml_tensor * cur = ggml_mul_mat(ctx0, az, features);
    ggml_prec_set_acc(cur, GGML_PREC_F32);

    const auto rows_of = [&](int64_t first, int64_t n) {
        return ggml_view_4d(ctx0, cur, n, cur->ne[1], cur->ne[2], cur->ne[3], cur->nb[1], cur->nb[2], cur->nb[3],
                            first * cur->nb[0]);
    };
    // => {n_value, n_rows, h, n_batch}
    ggml_tensor * values = rows_of(0, n_value);
    if (!model.armt.use_denom) {
        return az->ne[1] == n_value ? cur : ggml_cont(ctx0, values);
    }
    // => {1, n_rows, h, n_batch}
    ggml_tensor * sums = rows_of(n_value, 1);

    *denom = ggml_scale_bias(ctx0, ggml_cont(ctx0, sums), 1.0f, model.armt.epsilon);
    return ggml_div(ctx0, values, *denom);
}

ggml_tensor * armt_graph::build_memory(ggml_tensor * az) {
    return az->type == GGML_TYPE_F32 ? az : ggml_cast(ctx0, az, GGML_TYPE_F32);
}

ggml_tensor * armt_graph::build_read(cells c, ggml_tensor * x, ggml_tensor * az, bool in_place) {
    ggml_tensor * denom = nullptr;
    // {n_embd, n_rows, n_batch} => {n_key, n_rows, h, n_batch}
    ggml_tensor * features = build_dpfp(model.memory_q, c, x);
    // => {n_value, n_rows, h, n_batch}
    ggml_tensor * cur = build_recall(az, features, &denom);
    // => {n_embd, n_rows, n_batch}
    cur = merge_heads(cur);
    if (c.n_texts > 1) {
        cur = ggml_reshape_3d(ctx0, cur, x->ne[0], x->ne[1], x->ne[2]);
    }
    cur = in_place ? ggml_add_inplace(ctx0, x, cur) : ggml_add(ctx0, x, cur);
    cb(cur, "memory_read", c.il);
    return cur;
}

void armt_graph::build_write(cells c, ggml_tensor * rows, ggml_tensor * az, ggml_tensor * store, bool first,
                             ggml_tensor * not_first) {
    const armt_hparams & armt = model.armt;

    rows = c.n_texts == 1 ? ggml_cont(ctx0, rows) : ggml_cont_3d(ctx0, rows, rows->ne[0], ggml_nrows(rows) / c.n, c.n);
    // {n_embd, n_mem, n_batch} => {n_key, n_mem, h, n_batch}
    ggml_tensor * keys = build_dpfp(model.memory_k, c, rows);
    // {n_embd, n_embd, n_batch} @ {n_embd, n_mem, n_batch} => {n_embd, n_mem, n_batch} => {n_value, n_mem, h, n_batch}
    ggml_tensor * values = split_heads(c, build_projection(model.memory_v, {}, c, rows));
    // {n_embd, h, n_batch} @ {n_embd, n_mem, n_batch} => {h, n_mem, n_batch} => {1, n_mem, h, n_batch};
    // with gating {n_embd, n_mem, n_batch} => {n_value, n_mem, h, n_batch}
    ggml_tensor * beta = ggml_sigmoid(ctx0, build_projection(model.memory_b, model.memory_b_b, c, rows));
    beta               = split_heads(c, beta);

    ggml_tensor * denom = nullptr;
    if (!first) {
        // => {n_value, n_mem, h, n_batch}
        values = ggml_sub(ctx0, values, build_recall(az, keys, &denom));
    }
    ggml_tensor * update = ggml_mul(ctx0, values, beta);
    if (armt.use_denom) {
        // {n_value, ..}, {1, ..} => {n_value + 1, n_mem, h, n_batch}
        update = ggml_concat(ctx0, update, build_gamma(keys, denom, first, not_first), 0);
    }

    // {n_key, n_mem, h, n_batch} => {n_mem, n_key, h, n_batch}
    keys = ggml_cont(ctx0, ggml_transpose(ctx0, keys));
    // => {n_mem, n_value (+ 1), h, n_batch}
    update = ggml_cont(ctx0, ggml_transpose(ctx0, update));
    // All memory rows read A and z from before the write, so their sum is one product.
    // {n_mem, n_key, h, n_batch} @ {n_mem, n_value (+ 1), h, n_batch} => {n_key, n_value (+ 1), h, n_batch}
    ggml_tensor * delta = ggml_mul_mat(ctx0, keys, update);
    ggml_prec_set_acc(delta, GGML_PREC_F32);
    cb(delta, "memory_delta", c.il);

    // without the padding: {n_key, n_az, h, n_batch} => {n_key, n_value (+ 1), h, n_batch}
    const auto without_padding = [&](ggml_tensor * t) {
        return ggml_view_4d(ctx0, t, t->ne[0], delta->ne[1], t->ne[2], t->ne[3], t->nb[1], t->nb[2], t->nb[3], 0);
    };
    ggml_tensor * from = without_padding(az);
    ggml_build_forward_expand(gf, az == store ? ggml_add_inplace(ctx0, from, delta)
                                              : ggml_cpy(ctx0, ggml_add(ctx0, from, delta), without_padding(store)));
}

ggml_tensor * armt_graph::build_gamma(ggml_tensor * keys, ggml_tensor * denom, bool first, ggml_tensor * not_first) {
    // {n_key, n_mem, h, n_batch} => {1, n_mem, h, n_batch}
    ggml_tensor * norm = ggml_sum_rows(ctx0, ggml_sqr(ctx0, keys));
    if (first || !model.armt.correction) {
        return ggml_scale_bias(ctx0, norm, 0.0f, 1.0f);
    }
    if (!model.armt.normalize_keys) {
        norm = ggml_scale_bias(ctx0, norm, 1.0f, model.armt.epsilon);
    }
    // 1 - d/|k|^2
    ggml_tensor * cur = ggml_scale_bias(ctx0, ggml_div(ctx0, denom, norm), -1.0f, 1.0f);
    cur               = ggml_clamp(ctx0, cur, 0.0f, 1.0f);
    if (not_first != nullptr) { // 1 in the first segment: {1, n_mem, h, n_batch} * {1, 1, 1, n_batch}
        cur = ggml_add(ctx0, ggml_mul(ctx0, cur, not_first), ggml_scale_bias(ctx0, not_first, -1.0f, 1.0f));
    }
    return cur;
}
