// RMS norm, and the memory's read before it.

#include "armt-fusion.cuh"

#include <algorithm>

namespace armt_fusion {

// The norm (node i) with its weight, of x, or of the sum of x and what was recalled. mul_at: index of the product with
// the weight; last: of the last node that reads it.
static bool match_norm(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i,
                       armt_norm_args & args, int & mul_at, int & last) {
    const ggml_tensor * norm = cgraph->nodes[i];
    mul_at                   = next_node(cgraph, i);
    if (norm->op != GGML_OP_RMS_NORM || mul_at >= cgraph->n_nodes || n_uses(cgraph, norm) != 1) {
        return false;
    }
    const ggml_tensor * mul = cgraph->nodes[mul_at];
    if (mul->op != GGML_OP_MUL || mul->src[0] != norm) {
        return false;
    }
    const ggml_tensor * x = norm->src[0];
    const ggml_tensor * w = mul->src[1];

    ggml_type  type        = narrow_type(ctx, state, cgraph, mul_at, mul, last, true);
    const bool is_few_rows = x->ne[1] * x->ne[2] < MIN_ROWS; // the products are ggml's, which read F32
    const bool can_be_float =
        ggml_is_contiguous(mul) && ggml_is_contiguous(x) && (mul->data == x->data || !overlap(mul, x));
    if (type == GGML_TYPE_COUNT && is_few_rows && can_be_float) {
        type = GGML_TYPE_F32;
    }

    const bool rows_fit           = has_dense_rows(x) && x->ne[0] % 8 == 0 && x->ne[0] <= MAX_NORM_COLS;
    const bool weight_is_vector   = w->type == GGML_TYPE_F32 && w->nb[0] == 4 && w->ne[0] == x->ne[0] && w->ne[1] == 1;
    const bool weight_batches_fit = w->ne[3] == 1 && (w->ne[2] == 1 || w->ne[2] == x->ne[2]) && w->nb[2] % 16 == 0;
    const bool scratch_is_free    = state.scratch_last <= i;
    if (type == GGML_TYPE_COUNT || !rows_fit || !weight_is_vector || !weight_batches_fit || !scratch_is_free) {
        return false;
    }
    args.x            = (const float *) x->data;
    args.x_batch      = x->nb[2] / 4;
    args.weight       = (const float *) w->data;
    args.weight_batch = w->ne[2] == 1 ? 0 : w->nb[2] / 4;
    args.type         = type;
    args.n            = x->ne[0];
    args.n_rows       = x->ne[1];
    args.n_batch      = x->ne[2];
    args.eps          = float_param(norm, 0);
    return args.n_batch <= MAX_GRID_YZ;
}

static void run_norm(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph,
                     armt_norm_args & args, int mul_at, int last) {
    const ggml_tensor * mul = cgraph->nodes[mul_at];
    if (args.type == GGML_TYPE_F32) {
        args.normed = mul->data;
        armt_norm(args, ctx.stream());
        return;
    }
    const int64_t n = ggml_nelements(mul);
    args.normed     = reserve(state, state.scratch, std::max(size_t(n) * 2, e4m3_size(mul)));
    if (args.type == ARMT_TYPE_E4M3) {
        args.scales = (float *) ((char *) args.normed + e4m3_scales_at(n));
    }
    armt_norm(args, ctx.stream());
    state.narrow[mul]  = {args.normed, args.type, args.scales};
    state.scratch_last = last;
}

int fuse_norm(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    armt_norm_args args   = {};
    int            mul_at = i;
    int            last   = i;
    if (!state.on.norm || !match_norm(ctx, state, cgraph, i, args, mul_at, last)) {
        return NOT_FUSED;
    }
    run_norm(ctx, state, cgraph, args, mul_at, last);
    return mul_at - i;
}

bool match_read(const ggml_cgraph * cgraph, int i, read_nodes & nodes) {
    const int i_scale = next_node(cgraph, i);
    const int i_div   = next_node(cgraph, i_scale);
    const int i_add   = next_node(cgraph, i_div);
    if (i_add >= cgraph->n_nodes) {
        return false;
    }
    const ggml_tensor * cont  = cgraph->nodes[i];
    const ggml_tensor * scale = cgraph->nodes[i_scale];
    const ggml_tensor * div   = cgraph->nodes[i_div];
    const ggml_tensor * add   = cgraph->nodes[i_add];

    const bool ops_fit =
        cont->op == GGML_OP_CONT && scale->op == GGML_OP_SCALE && div->op == GGML_OP_DIV && add->op == GGML_OP_ADD;
    if (!ops_fit || scale->src[0] != cont || div->src[1] != scale || root_of(add->src[1]) != div) {
        return false;
    }
    if (n_uses(cgraph, cont) != 1 || n_uses(cgraph, scale) != 1 || !is_read_by_one(cgraph, i_div, div, add)) {
        return false;
    }
    const ggml_tensor * values = div->src[0];
    const ggml_tensor * sums   = cont->src[0];
    const ggml_tensor * x      = add->src[0];
    const int64_t       n      = x->ne[0];

    nodes = {x, values, add, i_div, i_add, float_param(scale, 1)};

    const bool are_of_one_product =
        values->op == GGML_OP_VIEW && sums->op == GGML_OP_VIEW && values->src[0] == sums->src[0];
    const bool values_have_shape =
        values->ne[0] == n && values->ne[1] == x->ne[1] && values->ne[2] == 1 && values->ne[3] == x->ne[2];
    const bool values_have_rows =
        values->nb[0] == 4 && values->nb[1] % 16 == 0 && values->nb[3] == values->ne[1] * values->nb[1];
    const bool sums_follow_values = sums->ne[0] == 1 &&
                                    (const char *) sums->data == (const char *) values->data + n * 4 &&
                                    sums->nb[1] == values->nb[1] && float_param(scale, 0) == 1.0f;
    const bool rows_fit = ggml_are_same_shape(x, add) && has_dense_rows(x) && has_dense_rows(add) && n % 8 == 0 &&
                          n <= MAX_NORM_COLS && x->ne[2] <= MAX_GRID_YZ;
    const bool in_place_or_apart = (add->data == x->data && add->nb[2] == x->nb[2]) || !overlap(add, x);
    return are_of_one_product && values_have_shape && values_have_rows && sums_follow_values && rows_fit &&
           in_place_or_apart;
}

int fuse_read(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    read_nodes read = {};
    if (!state.on.read || !match_read(cgraph, i, read) || overlap(read.add, read.values->src[0])) {
        return NOT_FUSED;
    }
    const ggml_tensor * x      = read.x;
    const ggml_tensor * values = read.values;
    const ggml_tensor * add    = read.add;

    armt_norm_args args = {};
    args.type           = GGML_TYPE_BF16;
    int       last      = read.i_div;
    int       mul_at    = 0;
    const int i_norm    = next_node(cgraph, read.i_add);
    bool      normed    = state.on.norm && i_norm < cgraph->n_nodes && cgraph->nodes[i_norm]->src[0] == add &&
                  match_norm(ctx, state, cgraph, i_norm, args, mul_at, last);
    if (normed && args.type == GGML_TYPE_F32) { // written to its tensor, while the kernel still reads these
        const ggml_tensor * mul = cgraph->nodes[mul_at];
        normed                  = !overlap(mul, values->src[0]) && !overlap(mul, add) && !overlap(mul, x);
    }
    args.x          = (const float *) x->data;
    args.x_batch    = x->nb[2] / 4;
    args.recall     = (const float *) values->data;
    args.recall_row = values->nb[1] / 4;
    args.recall_eps = read.eps;
    args.sum        = (float *) add->data;
    args.sum_batch  = add->nb[2] / 4;
    args.n          = x->ne[0];
    args.n_rows     = x->ne[1];
    args.n_batch    = x->ne[2];
    if (!normed) {
        armt_norm(args, ctx.stream());
        return read.i_add - i;
    }
    run_norm(ctx, state, cgraph, args, mul_at, last);
    return mul_at - i;
}

} // namespace armt_fusion
