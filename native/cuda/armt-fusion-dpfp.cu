// DPFP, the feature map of the associative memory, and the memory's write.

#include "armt-fusion.cuh"

#include <algorithm>

namespace armt_fusion {

// What armt_features can do
static constexpr int64_t FEATURE_MULTIPLE = 256; // of a row's length
static constexpr int64_t FEATURE_MAX_COLS = 64;

// What armt_row_read keeps in shared memory
static constexpr int64_t ROW_READ_MAX_KEY = 4096;

struct dpfp_nodes {
    const ggml_tensor * x;
    const ggml_tensor * mul; // the features, {n_roll, order, n}
    int                 last;
    int64_t             n_roll;
    int64_t             order;
};

// From node i on: relu(x), -x, relu(-x), y = both concatenated, y with its end put before it, windows of that times y
static bool match_dpfp(const ggml_cgraph * cgraph, int i, dpfp_nodes & nodes) {
    const ggml_tensor * node[6];
    int                 at      = i;
    int                 at_last = i;
    for (const ggml_tensor *& n : node) {
        if (at >= cgraph->n_nodes) {
            return false;
        }
        n       = cgraph->nodes[at];
        at_last = at;
        at      = next_node(cgraph, at);
    }
    const ggml_tensor * relu   = node[0];
    const ggml_tensor * neg    = node[1];
    const ggml_tensor * relu_n = node[2];
    const ggml_tensor * y      = node[3];
    const ggml_tensor * cyclic = node[4];
    const ggml_tensor * mul    = node[5];
    const ggml_tensor * x      = relu->src[0];

    const bool halves_fit = is_unary(relu, GGML_UNARY_OP_RELU) && is_unary(neg, GGML_UNARY_OP_NEG) &&
                            is_unary(relu_n, GGML_UNARY_OP_RELU) && neg->src[0] == x && relu_n->src[0] == neg;
    const bool y_fits = y->op == GGML_OP_CONCAT && y->src[0] == relu && y->src[1] == relu_n && y->op_params[0] == 0;
    const bool cyclic_fits = cyclic->op == GGML_OP_CONCAT && cyclic->src[1] == y && cyclic->op_params[0] == 0;
    if (!halves_fit || !y_fits || !cyclic_fits || mul->op != GGML_OP_MUL) {
        return false;
    }
    const ggml_tensor * end     = cyclic->src[0];
    const ggml_tensor * windows = mul->src[0];
    const int64_t       n_roll  = y->ne[0];
    const int64_t       order   = mul->ne[1];

    const bool end_fits = end->op == GGML_OP_VIEW && end->src[0] == y && end->ne[0] == order &&
                          end->view_offs == size_t(n_roll - order) * 4;
    const bool windows_fit = windows->op == GGML_OP_VIEW && windows->src[0] == cyclic && windows->nb[1] == 4 &&
                             windows->nb[2] == cyclic->nb[1] && windows->ne[0] == n_roll && windows->view_offs == 0;
    const bool product_fits =
        root_of(mul->src[1]) == y && mul->src[1]->ne[0] == n_roll && mul->ne[0] == n_roll && y->ne[1] == mul->ne[2];
    const bool kernel_fits = n_roll <= 1024 && n_roll % 2 == 0 && ggml_is_contiguous(x) && x->type == GGML_TYPE_F32 &&
                             ggml_is_contiguous(mul);
    if (!end_fits || !windows_fit || !product_fits || !kernel_fits) {
        return false;
    }
    std::vector<const ggml_tensor *> readers;
    int                              last = i;
    // of y: its end, the concatenation and the product
    if (!find_readers(cgraph, i, cyclic, readers, last) || readers.size() != 1 || n_uses(cgraph, y) != 3) {
        return false;
    }
    nodes = {x, mul, at_last, n_roll, order};
    return true;
}

int fuse_dpfp(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    dpfp_nodes nodes = {};
    if (!state.on.dpfp || !match_dpfp(cgraph, i, nodes)) {
        return NOT_FUSED;
    }
    const float *               input = (const float *) nodes.x->data;
    ggml_cuda_pool_alloc<float> copy(ctx.pool());
    if (overlap(nodes.x, nodes.mul)) {
        copy.alloc(ggml_nelements(nodes.x));
        CUDA_CHECK(cudaMemcpyAsync(copy.get(), input, ggml_nbytes(nodes.x), cudaMemcpyDeviceToDevice, ctx.stream()));
        input = copy.get();
    }
    armt_dpfp(input, (float *) nodes.mul->data, nodes.n_roll, nodes.order, nodes.mul->ne[2], ctx.stream());
    return nodes.last - i;
}

// The product (node i) and the feature map after it, if the product has few columns. x: its input, {n, n_rows,
// n_batch}, whose rows may be apart.
static bool match_features(const ggml_cgraph * cgraph, int i, const ggml_tensor * x, armt_features_args & args,
                           dpfp_nodes & nodes) {
    const ggml_tensor * mm = cgraph->nodes[i];
    if (mm->op != GGML_OP_MUL_MAT) {
        return false;
    }
    const ggml_tensor * w = mm->src[0];

    const bool weight_is_dense =
        is_16_bit(w->type) && w->nb[0] == 2 && w->nb[1] == size_t(w->ne[0]) * 2 && w->nb[2] % 16 == 0;
    const bool weight_has_size = w->ne[0] % FEATURE_MULTIPLE == 0 && w->ne[1] <= FEATURE_MAX_COLS && w->ne[3] == 1;
    const bool input_has_strides =
        x->type == GGML_TYPE_F32 && x->nb[0] == 4 && x->nb[1] % 16 == 0 && x->nb[2] % 16 == 0;
    const bool input_has_size = x->ne[0] == w->ne[0] && x->ne[3] == 1 && x->ne[2] <= MAX_GRID_YZ;
    const bool batches_fit    = w->ne[2] == 1 || w->ne[2] == x->ne[2];
    if (!weight_is_dense || !weight_has_size || !input_has_strides || !input_has_size || !batches_fit) {
        return false;
    }
    if (n_uses(cgraph, mm) != 1 || !match_dpfp(cgraph, next_node(cgraph, i), nodes) || root_of(nodes.x) != mm) {
        return false;
    }
    args.x            = (const float *) x->data;
    args.x_row        = x->nb[1] / 4;
    args.x_batch      = x->nb[2] / 4;
    args.weight       = w->data;
    args.weight_batch = w->ne[2] == 1 ? 0 : w->nb[2] / 2;
    args.type         = w->type;
    args.output       = (float *) nodes.mul->data;
    args.narrow       = nullptr;
    args.n            = w->ne[0];
    args.n_cols       = w->ne[1];
    args.n_roll       = nodes.n_roll;
    args.order        = nodes.order;
    args.n_rows       = x->ne[1];
    args.n_batch      = x->ne[2];
    return true;
}

int fuse_features(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    armt_features_args  args  = {};
    dpfp_nodes          nodes = {};
    const ggml_tensor * x     = cgraph->nodes[i]->src[1];
    if (!state.on.features || state.narrow.count(root_of(x)) > 0 || !match_features(cgraph, i, x, args, nodes)) {
        return NOT_FUSED;
    }
    if (x->ne[1] < MIN_ROWS || overlap(x, nodes.mul)) {
        return NOT_FUSED;
    }
    armt_features(args, ctx.stream());
    return nodes.last - i;
}

int fuse_row_read(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    dpfp_nodes dpfp = {};
    read_nodes read = {};
    if (!state.on.read || !state.on.dpfp || !match_dpfp(cgraph, i, dpfp)) {
        return NOT_FUSED;
    }
    const int i_mm = next_node(cgraph, dpfp.last);
    if (i_mm >= cgraph->n_nodes || cgraph->nodes[i_mm]->op != GGML_OP_MUL_MAT ||
        !match_read(cgraph, next_node(cgraph, i_mm), read)) {
        return NOT_FUSED;
    }
    const ggml_tensor * mm      = cgraph->nodes[i_mm];
    const ggml_tensor * az      = mm->src[0]; // {n_key, n + 1 and padding, 1, n_batch}
    const int64_t       n       = read.x->ne[0];
    const int64_t       n_batch = read.x->ne[2];
    const int64_t       n_key   = dpfp.n_roll * dpfp.order;

    const bool is_one_row = read.x->ne[1] == 1 && dpfp.mul->ne[2] == n_batch;
    const bool is_recalled =
        read.values->src[0] == mm && read.values->view_offs == 0 && root_of(mm->src[1]) == dpfp.mul;
    if (!is_one_row || !is_recalled || !is_read_by_one(cgraph, dpfp.last, dpfp.mul, mm)) {
        return NOT_FUSED;
    }
    std::vector<const ggml_tensor *> readers; // of what is recalled: values and denominators
    int                              last = i;
    if (!find_readers(cgraph, i_mm, mm, readers, last) || readers.size() != 2 || last > read.i_add) {
        return NOT_FUSED;
    }
    const bool memory_has_size = az->ne[0] == n_key && az->ne[1] > n && az->ne[2] == 1 && az->ne[3] == n_batch;
    const bool memory_has_strides =
        az->type == GGML_TYPE_F32 && az->nb[0] == 4 && az->nb[1] % 16 == 0 && az->nb[3] % 16 == 0;
    const bool key_fits        = n_key % 4 == 0 && n_key <= ROW_READ_MAX_KEY;
    const bool result_is_apart = !overlap(read.add, az) && !overlap(read.add, dpfp.x);
    if (!memory_has_size || !memory_has_strides || !key_fits || !result_is_apart) {
        return NOT_FUSED;
    }
    armt_row_read_args args = {};
    args.x                  = (const float *) read.x->data;
    args.x_batch            = read.x->nb[2] / 4;
    args.query              = (const float *) dpfp.x->data;
    args.az                 = (const float *) az->data;
    args.az_row             = az->nb[1] / 4;
    args.az_batch           = az->nb[3] / 4;
    args.eps                = read.eps;
    args.sum                = (float *) read.add->data;
    args.sum_batch          = read.add->nb[2] / 4;
    args.n                  = n;
    args.n_roll             = dpfp.n_roll;
    args.order              = dpfp.order;
    args.n_batch            = n_batch;
    armt_row_read(args, ctx.stream());
    return read.i_add - i;
}

//
// the memory's write, see armt_graph::build_write
//

struct write_nodes {
    const ggml_tensor * x;      // {n, n_rows, n_batch}: the layer's output for the memory tokens
    const ggml_tensor * rows;   // its copy
    dpfp_nodes          key;    // keys: the feature map of W_mk x
    const ggml_tensor * value;  // W_mv x
    const ggml_tensor * beta;   // W_mb x
    const ggml_tensor * biased; // with its bias
    const ggml_tensor * sigmoid;
    const ggml_tensor * recall;    // product of the keys with A and z
    const ggml_tensor * values;    // view of what was recalled from A
    const ggml_tensor * sums;      // cont of what was recalled from z
    const ggml_tensor * denom;     // sums + eps
    const ggml_tensor * sqr;       // of the keys
    const ggml_tensor * norm;      // |key|^2 + eps
    const ggml_tensor * ratio;     // denom / norm
    const ggml_tensor * one_minus; // 1 - ratio
    const ggml_tensor * gamma;     // clamp of that
    const ggml_tensor * not_first; // 0 where gamma is 1 in any case, or nullptr
    const ggml_tensor * az;
    const ggml_tensor * sum; // az + keys^T update
    int                 last;
};

// Index of the addition of keys^T update to the memory, or -1
static int find_memory_update(const ggml_cgraph * cgraph, int i, const dpfp_nodes & key) {
    for (int j = key.last; j < cgraph->n_nodes && j <= i + 2 * WINDOW; ++j) {
        const ggml_tensor * add = cgraph->nodes[j];
        if (add->op != GGML_OP_ADD || add->src[1]->op != GGML_OP_MUL_MAT) {
            continue;
        }
        const ggml_tensor * keys_transposed = add->src[1]->src[0];
        if (keys_transposed->op == GGML_OP_CONT && without_views(keys_transposed->src[0]) == key.mul) {
            return j;
        }
    }
    return -1;
}

// Finds the nodes from the copy of the memory tokens' rows (node i) to the addition to the memory. For models with the
// denominator and its correction. False if any other node lies between them.
static bool match_write(const ggml_cgraph * cgraph, int i, armt_features_args & features, write_nodes & w) {
    w.rows = cgraph->nodes[i];
    w.x    = w.rows->src[0];

    const int i_key = next_node(cgraph, i);
    if (i_key >= cgraph->n_nodes) {
        return false;
    }
    const ggml_tensor * key_input = cgraph->nodes[i_key]->src[1];
    if (key_input == nullptr || root_of(key_input) != w.rows || !match_features(cgraph, i_key, w.x, features, w.key)) {
        return false;
    }
    w.last = find_memory_update(cgraph, i, w.key);
    if (w.last < 0) {
        return false;
    }
    w.sum                                 = cgraph->nodes[w.last];
    w.az                                  = w.sum->src[0];
    const ggml_tensor * delta             = w.sum->src[1];
    const ggml_tensor * keys_transposed   = delta->src[0];
    const ggml_tensor * update_transposed = delta->src[1];

    std::vector<const ggml_tensor *> found = {w.rows, cgraph->nodes[i_key], w.sum,
                                              delta,  keys_transposed,      update_transposed};
    for (int j = i_key; j <= w.key.last; ++j) {
        found.push_back(cgraph->nodes[j]);
    }
    // backwards from the update: t without its views if its op is that, else nullptr
    const auto follow = [&](const ggml_tensor * t, ggml_op op) -> const ggml_tensor * {
        t = t == nullptr ? nullptr : without_views(t);
        if (t == nullptr || t->op != op) {
            return nullptr;
        }
        found.push_back(t);
        return t;
    };
    const auto src = [](const ggml_tensor * t, int k) { return t == nullptr ? nullptr : t->src[k]; };

    if (update_transposed->op != GGML_OP_CONT) {
        return false;
    }
    // update = [beta*(value - recalled), gamma]
    const ggml_tensor * update    = follow(update_transposed->src[0], GGML_OP_CONCAT);
    const ggml_tensor * scaled    = follow(src(update, 0), GGML_OP_MUL);
    const ggml_tensor * new_value = follow(src(scaled, 0), GGML_OP_SUB);
    w.sigmoid                     = follow(src(scaled, 1), GGML_OP_UNARY);
    w.biased                      = follow(src(w.sigmoid, 0), GGML_OP_ADD);
    w.beta                        = follow(src(w.biased, 0), GGML_OP_MUL_MAT);
    w.value                       = follow(src(new_value, 0), GGML_OP_MUL_MAT);

    const ggml_tensor * recalled = follow(src(new_value, 1), GGML_OP_DIV);
    w.values                     = src(recalled, 0);
    w.recall                     = follow(w.values, GGML_OP_MUL_MAT);
    w.denom                      = follow(src(recalled, 1), GGML_OP_SCALE);
    w.sums                       = follow(src(w.denom, 0), GGML_OP_CONT);

    const ggml_tensor * gamma = update == nullptr ? nullptr : without_views(update->src[1]);
    w.not_first               = nullptr;
    if (gamma != nullptr && gamma->op == GGML_OP_ADD) { // gamma*not_first + (1 - not_first)
        found.push_back(gamma);
        const ggml_tensor * product = follow(gamma->src[0], GGML_OP_MUL);
        const ggml_tensor * rest    = follow(gamma->src[1], GGML_OP_SCALE);
        if (product == nullptr || rest == nullptr || rest->src[0] != product->src[1] || float_param(rest, 0) != -1.0f ||
            float_param(rest, 1) != 1.0f) {
            return false;
        }
        w.not_first = product->src[1];
        gamma       = product->src[0];
    }
    w.gamma     = follow(gamma, GGML_OP_CLAMP);
    w.one_minus = follow(src(w.gamma, 0), GGML_OP_SCALE);
    w.ratio     = follow(src(w.one_minus, 0), GGML_OP_DIV);
    w.norm      = follow(src(w.ratio, 1), GGML_OP_SCALE);
    w.sqr       = follow(src(follow(src(w.norm, 0), GGML_OP_SUM_ROWS), 0), GGML_OP_SQR);

    const bool is_complete =
        w.sums != nullptr && w.beta != nullptr && w.value != nullptr && w.recall != nullptr && w.sqr != nullptr;
    if (!is_complete || w.ratio->src[0] != w.denom) {
        return false;
    }
    for (int j = i; j <= w.last; ++j) {
        const ggml_tensor * node = cgraph->nodes[j];
        if (!is_noop(node) && std::find(found.begin(), found.end(), node) == found.end()) {
            return false;
        }
    }
    return true;
}

// Whether the nodes are connected, scaled and shaped as the kernels expect
static bool fits_write(const write_nodes & w, const armt_features_args & features) {
    const int64_t n       = w.x->ne[0];
    const int64_t n_rows  = w.x->ne[1];
    const int64_t n_batch = w.x->ne[2];
    const int64_t n_key   = w.key.n_roll * w.key.order;

    const ggml_tensor * beta_weight = w.beta->src[0];
    const ggml_tensor * beta_bias   = w.biased->src[1];

    const auto is_of_layers = [&](const ggml_tensor * t) { return t->ne[2] == 1 || t->ne[2] == n_batch; };

    const bool inputs_fit = without_views(w.beta->src[1]) == w.rows && without_views(w.value->src[1]) == w.rows &&
                            without_views(w.recall->src[1]) == w.key.mul && without_views(w.sqr->src[0]) == w.key.mul;
    const bool value_fits =
        is_product(w.value) && w.value->src[0]->type == features.type && w.value->src[0]->ne[1] == n;
    const bool beta_weight_fits = beta_weight->type == features.type && beta_weight->ne[1] == 1 &&
                                  beta_weight->nb[0] == 2 && beta_weight->nb[2] % 4 == 0 && is_of_layers(beta_weight);
    const bool beta_bias_fits =
        beta_bias->type == GGML_TYPE_F32 && beta_bias->ne[0] == 1 && beta_bias->ne[1] == 1 && is_of_layers(beta_bias);
    const bool beta_fits = ggml_get_unary_op(w.sigmoid) == GGML_UNARY_OP_SIGMOID && beta_weight_fits && beta_bias_fits;
    const bool has_one_head = features.n_cols * 2 == w.key.n_roll;

    const bool values_come_first =
        w.values->op == GGML_OP_VIEW && w.values->src[0] == w.recall && w.values->view_offs == 0;
    const ggml_tensor * sums = w.sums->src[0];
    const bool sums_follow   = sums->op == GGML_OP_VIEW && sums->src[0] == w.recall && sums->view_offs == size_t(n) * 4;
    const bool scales_fit    = float_param(w.denom, 0) == 1.0f && float_param(w.norm, 0) == 1.0f &&
                            float_param(w.one_minus, 0) == -1.0f && float_param(w.one_minus, 1) == 1.0f &&
                            float_param(w.gamma, 0) == 0.0f && float_param(w.gamma, 1) == 1.0f;
    const bool not_first_fits =
        w.not_first == nullptr ||
        (w.not_first->type == GGML_TYPE_F32 && w.not_first->ne[0] == 1 && ggml_nelements(w.not_first) == n_batch);

    const ggml_tensor * recall      = w.recall;
    const bool          recall_fits = ggml_is_contiguous(recall) && recall->ne[0] >= n + 1 && recall->ne[0] % 4 == 0 &&
                             recall->ne[1] == n_rows && recall->ne[2] == 1 && recall->ne[3] == n_batch;

    const ggml_tensor * az              = w.az;
    const ggml_tensor * read_az         = recall->src[0];
    const bool          memory_has_size = az->type == GGML_TYPE_F32 && az->ne[0] == n_key && az->ne[1] == n + 1 &&
                                 az->ne[2] == 1 && az->ne[3] == n_batch && az->nb[1] % 16 == 0 && n % 8 == 0;
    const bool is_in_place = w.sum->data == az->data && read_az->data == az->data && read_az->nb[1] == az->nb[1] &&
                             read_az->nb[3] == az->nb[3];

    return inputs_fit && value_fits && beta_fits && has_one_head && values_come_first && sums_follow && scales_fit &&
           not_first_fits && recall_fits && memory_has_size && is_in_place;
}

static void run_write(ggml_backend_cuda_context & ctx, context_state & state, const write_nodes & w,
                      armt_features_args & features) {
    const int64_t n       = w.x->ne[0];
    const int64_t n_rows  = w.x->ne[1];
    const int64_t n_batch = w.x->ne[2];
    const int64_t n_key   = w.key.n_roll * w.key.order;
    const int64_t n_out   = w.recall->ne[0];

    const ggml_tensor * az          = w.az;
    const ggml_tensor * beta_weight = w.beta->src[0];
    const ggml_tensor * beta_bias   = w.biased->src[1];

    // the rows in 16 bits, the keys and the update, one after the other
    const size_t x_size   = GGML_PAD(size_t(n_batch) * n_rows * n * 2, 256);
    const size_t key_size = GGML_PAD(size_t(n_batch) * n_rows * n_key * 4, 256);
    char *  narrow = (char *) reserve(state, state.write, x_size + key_size + size_t(n_batch) * n_rows * n_out * 4);
    float * keys   = (float *) (narrow + x_size);
    float * update = (float *) (narrow + x_size + key_size);

    cublasHandle_t handle = ctx.cublas_handle();
    const float    one    = 1.0f;
    const float    zero   = 0.0f;

    features.output = keys;
    features.narrow = narrow;
    armt_features(features, ctx.stream());
    multiply(ctx, state, w.value, narrow, w.value->data, GGML_TYPE_F32, armt_narrow_unit(features.type));
    CUBLAS_CHECK(cublasSgemmStridedBatched(
        handle, CUBLAS_OP_T, CUBLAS_OP_N, n_out, n_rows, n_key, &one, (const float *) az->data, az->nb[1] / 4,
        az->nb[3] / 4, keys, n_key, n_key * n_rows, &zero, (float *) w.recall->data, n_out, n_out * n_rows, n_batch));
    armt_update_args args = {};
    args.x                = narrow;
    args.type             = features.type;
    args.beta             = beta_weight->data;
    args.beta_batch       = beta_weight->ne[2] == 1 ? 0 : beta_weight->nb[2] / 2;
    args.beta_bias        = (const float *) beta_bias->data;
    args.beta_bias_batch  = beta_bias->ne[2] == 1 ? 0 : beta_bias->nb[2] / 4;
    args.value            = (const float *) w.value->data;
    args.recall           = (const float *) w.recall->data;
    args.recall_row       = n_out;
    args.recall_eps       = float_param(w.denom, 1);
    args.key              = keys;
    args.n_key            = n_key;
    args.key_eps          = float_param(w.norm, 1);
    args.not_first        = w.not_first == nullptr ? nullptr : (const float *) w.not_first->data;
    args.not_first_batch  = w.not_first == nullptr ? 0 : w.not_first->nb[3] / 4;
    args.output           = update;
    args.output_row       = n_out;
    args.n                = n;
    args.n_rows           = n_rows;
    args.n_batch          = n_batch;
    armt_update(args, ctx.stream());
    // the rows of zeros after z stay zero
    CUBLAS_CHECK(cublasSgemmStridedBatched(handle, CUBLAS_OP_N, CUBLAS_OP_T, n_key, n_out, n_rows, &one, keys, n_key,
                                           n_key * n_rows, update, n_out, n_out * n_rows, &one, (float *) az->data,
                                           az->nb[1] / 4, az->nb[3] / 4, n_batch));
}

int fuse_write(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * x = cgraph->nodes[i]->src[0];
    if (!state.on.write || x->ne[3] != 1 || state.narrow.count(without_views(x)) > 0) {
        return NOT_FUSED;
    }
    armt_features_args features = {};
    write_nodes        nodes    = {};
    if (!match_write(cgraph, i, features, nodes) || !fits_write(nodes, features)) {
        return NOT_FUSED;
    }
    run_write(ctx, state, nodes, features);
    return nodes.last - i;
}

} // namespace armt_fusion
