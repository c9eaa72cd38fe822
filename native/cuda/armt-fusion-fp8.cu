// Products in e4m3, for products that the engine marked (ARMT_OP_PARAM_PRECISION in armt-names.h). Both operands are
// rounded to e4m3, each row with a scale of its own, and summed in F32.

#include "armt-fusion.cuh"

#include "convert.cuh"

#include <algorithm>

namespace armt_fusion {

// cuBLASLt wants the lengths of rows in multiples of this
constexpr int64_t E4M3_MULTIPLE = 16;

static fp8_mode read_mode() {
    if (!armt_cuda_has_fp8(ggml_cuda_get_device())) {
        return {};
    }
    const char * value = getenv("ARMT_CUDA_FP8");
    // cuBLASLt has products with a scale for each row on compute capability 9.0 alone
    const bool by_row = ggml_cuda_info().devices[ggml_cuda_get_device()].cc == 900;
    return {true, !by_row || (value != nullptr && strcmp(value, "tensor") == 0)};
}

void begin_fp8(context_state & state, const void * graph_key) {
    state.fp8.mode                = read_mode();
    state.fp8.graph               = graph_key;
    state.fp8.of_graph[graph_key] = {};
}

//
// weights
//

// The tensor in the file that w is a view of some layers of, or w itself
static const ggml_tensor * stack_of(const ggml_tensor * w) {
    return w->view_src != nullptr ? w->view_src : w;
}

// Its first layer in stack_of
static int64_t first_layer(const ggml_tensor * w) {
    return w->view_src != nullptr ? w->view_offs / w->view_src->nb[2] : 0;
}

static bool is_weight(const ggml_tensor * w) {
    const ggml_tensor * stack  = stack_of(w);
    const bool is_whole_layers = w->ne[0] == stack->ne[0] && w->ne[1] == stack->ne[1] && w->nb[1] == stack->nb[1] &&
                                 (w->ne[2] == 1 || w->nb[2] == stack->nb[2]) && w->view_offs % stack->nb[2] == 0 &&
                                 stack->ne[3] == 1;
    return is_whole_layers && stack->op == GGML_OP_NONE && stack->buffer != nullptr &&
           ggml_backend_buffer_get_usage(stack->buffer) == GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
}

// Returns nullptr, and says so once, if there is no memory for it
static void * allocate(context_state & state, size_t size) {
    void *            data   = nullptr;
    const cudaError_t status = cudaMalloc(&data, size);
    if (status != cudaSuccess) {
        cudaGetLastError(); // clears it
        if (!state.fp8.warned) {
            GGML_LOG_WARN("armt: no %.0f MiB for a matrix in e4m3 (%s); it is multiplied in 16 bits\n",
                          size / 1048576.0, cudaGetErrorString(status));
            state.fp8.warned = true;
        }
        return nullptr;
    }
    state.allocated.push_back(data);
    return data;
}

// All layers of a stack in e4m3, made at the first use
static const fp8_weight & find_weight(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * w) {
    const ggml_tensor * stack = stack_of(w);
    const bool          whole = state.fp8.mode.by_tensor;
    const auto [it, is_new]   = state.fp8.weights.try_emplace({stack->data, whole});
    fp8_weight & weight       = it->second;
    if (!is_new) {
        return weight;
    }
    const int64_t n        = stack->ne[0];
    const int64_t n_rows   = stack->ne[1];
    const int64_t n_layers = stack->ne[2];
    const size_t  size     = GGML_PAD(size_t(n) * n_rows * n_layers, 256);
    const int64_t n_scales = whole ? ARMT_TENSOR_SCALE_STRIDE : n_rows; // of a layer
    char *        data     = (char *) allocate(state, size + n_scales * n_layers * sizeof(float));
    if (data == nullptr) {
        return weight;
    }
    weight       = {data, (float *) (data + size)};
    float * most = (float *) reserve(state, state.fp8.most, sizeof(float));

    const weight_part part   = {1, largest_part(stack).n_rows};
    const auto        rounds = [&](int64_t layer, auto fn) {
        for (int64_t row = 0; row < n_rows; row += part.n_rows) {
            const weight_part  some   = {1, std::min(part.n_rows, n_rows - row)};
            const weights      narrow = get_weights(ctx, state, stack, layer, row, some);
            armt_quantize_args args   = {};
            args.x                    = narrow.data;
            args.x_row                = narrow.row;
            args.type                 = product_type(stack);
            args.most                 = whole ? most : nullptr;
            args.n_part               = some.n_rows;
            args.output               = data + (layer * n_rows + row) * n;
            args.scales               = weight.scales + layer * n_scales + (whole ? 0 : row);
            args.n                    = n;
            args.n_rows               = some.n_rows;
            fn(args);
        }
    };
    for (int64_t layer = 0; layer < n_layers; ++layer) {
        if (whole) {
            CUDA_CHECK(cudaMemsetAsync(most, 0, sizeof(float), ctx.stream()));
            rounds(layer, [&](const armt_quantize_args & args) { armt_largest(args, most, ctx.stream()); });
        }
        rounds(layer, [&](const armt_quantize_args & args) { armt_quantize(args, ctx.stream()); });
    }
    return weight;
}

//
// products
//

static cudaDataType_t cuda_type(ggml_type type) {
    return type == GGML_TYPE_F32 ? CUDA_R_32F : type == GGML_TYPE_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

template <typename T> static void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, T value) {
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof(value)));
}

static cublasStatus_t launch(ggml_backend_cuda_context & ctx, context_state & state, const fp8_shape & shape,
                             const fp8_plan & plan, const void * w, const float * scales_w, const void * x,
                             const float * scales_x, const void * residual, void * out) {
    set(plan.desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scales_w);
    set(plan.desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, scales_x);
    ctx.cublas_handle(); // makes the stream's workspace
    const float one  = 1.0f;
    const float beta = shape.residual_row != 0 ? 1.0f : 0.0f;
    return cublasLtMatmul(state.lt, plan.desc, &one, w, plan.a, x, plan.b, &beta,
                          shape.residual_row != 0 ? residual : out, plan.c, out, plan.d, &plan.algo,
                          ctx.cublas_workspaces[ctx.device][ctx.curr_stream_no], ctx.cublas_workspace_sizes[ctx.device],
                          ctx.stream());
}

// Whether cuBLASLt launches the plan. Its heuristic also offers what the launch then refuses.
static bool try_launch(ggml_backend_cuda_context & ctx, context_state & state, const fp8_shape & shape,
                       const fp8_plan & plan, const fp8_weight & weight) {
    const int64_t size_x   = GGML_PAD(shape.n * shape.n_rows, 256);
    const int64_t size_out = GGML_PAD(std::max(shape.out_row, shape.residual_row) * shape.n_rows * 4, 256);
    // any input and any scale of it
    ggml_cuda_pool_alloc<char> memory(ctx.pool(), size_x + 2 * size_out + (shape.n_rows + 1) * sizeof(float));
    char *                     out    = memory.get() + size_x;
    const float *              scales = (const float *) (out + 2 * size_out) + (shape.scales_aligned ? 0 : 1);
    return launch(ctx, state, shape, plan, weight.data, weight.scales, memory.get(), scales, out + size_out, out) ==
           CUBLAS_STATUS_SUCCESS;
}

// The product of one layer; found once for each shape, because asking cuBLASLt takes longer than launching. weight: one
// of that shape
static const fp8_plan & find_plan(ggml_backend_cuda_context & ctx, context_state & state, const fp8_shape & shape,
                                  const fp8_weight & weight) {
    const auto [it, is_new] = state.fp8.plans.try_emplace(shape);
    fp8_plan & plan         = it->second;
    if (!is_new) {
        return plan;
    }
    if (state.lt == nullptr) {
        CUBLAS_CHECK(cublasLtCreate(&state.lt));
    }
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&plan.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(plan.desc, CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t(1));
    const int32_t scales =
        shape.by_tensor ? CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F : CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    set(plan.desc, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, scales);
    set(plan.desc, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, scales);
    // cuBLASLt looks whether there are scales
    set(plan.desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, weight.scales);
    set(plan.desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, weight.scales);

    const cudaDataType_t out = cuda_type(shape.type_out);
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&plan.a, CUDA_R_8F_E4M3, shape.n, shape.n_out, shape.n));
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&plan.b, CUDA_R_8F_E4M3, shape.n, shape.n_rows, shape.n));
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&plan.c, out, shape.n_out, shape.n_rows,
                                            shape.residual_row != 0 ? shape.residual_row : shape.out_row));
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&plan.d, out, shape.n_out, shape.n_rows, shape.out_row));

    ctx.cublas_handle(); // sets it
    const size_t               workspace_size = ctx.cublas_workspace_sizes[ctx.device];
    const uint32_t             alignment      = 16;
    cublasLtMatmulPreference_t preference;
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                      &workspace_size, sizeof(workspace_size)));
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
        CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof(alignment)));
    }
    cublasLtMatmulHeuristicResult_t found   = {};
    int                             n_found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(state.lt, plan.desc, plan.a, plan.b, plan.c, plan.d,
                                                                 preference, 1, &found, &n_found);
    cublasLtMatmulPreferenceDestroy(preference);
    plan.algo = found.algo;
    plan.ok   = status == CUBLAS_STATUS_SUCCESS && n_found > 0 && try_launch(ctx, state, shape, plan, weight);
    return plan;
}

void free_plans(context_state & state) {
    for (auto & [shape, plan] : state.fp8.plans) {
        for (cublasLtMatrixLayout_t layout : {plan.a, plan.b, plan.c, plan.d}) {
            cublasLtMatrixLayoutDestroy(layout);
        }
        cublasLtMatmulDescDestroy(plan.desc);
    }
    state.fp8.plans.clear();
}

static fp8_shape shape_of(const context_state & state, const ggml_tensor * mm, ggml_type type_out) {
    fp8_shape shape      = {};
    shape.n              = mm->src[0]->ne[0];
    shape.n_out          = mm->ne[0];
    shape.n_rows         = mm->ne[1];
    shape.type_out       = type_out;
    shape.out_row        = mm->ne[0];
    shape.residual_row   = 0;
    shape.by_tensor      = state.fp8.mode.by_tensor;
    shape.scales_aligned = shape.by_tensor || mm->ne[2] == 1 || mm->ne[1] % 4 == 0;
    return shape;
}

// What armt_product needs of the product mm, without the addresses
static armt_product_args product_args(const ggml_tensor * mm, armt_epilogue epilogue) {
    const ggml_tensor * w    = mm->src[0];
    armt_product_args   args = {};
    args.epilogue            = epilogue;
    args.type                = ARMT_TYPE_E4M3;
    args.weight_row          = w->ne[0];
    args.weight_batch        = w->ne[0] * w->ne[1];
    args.n                   = w->ne[0];
    args.n_cols              = w->ne[1] / (epilogue == ARMT_EPILOGUE_SWIGLU ? 2 : 1);
    args.n_rows              = mm->ne[1];
    args.n_batch             = w->ne[2];
    return args;
}

// Whether one kernel computes all layers
static bool is_grouped(const context_state & state, const ggml_tensor * mm, armt_epilogue epilogue) {
    return state.on.grouped && !state.fp8.mode.by_tensor && armt_has_product(product_args(mm, epilogue));
}

static bool is_marked(const context_state & state, const ggml_tensor * mm) {
    return state.fp8.mode.on && mm->op == GGML_OP_MUL_MAT &&
           mm->op_params[ARMT_OP_PARAM_PRECISION] == ARMT_PRECISION_E4M3 && mm->ne[1] >= MIN_ROWS;
}

bool is_fp8_product(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm) {
    if (!is_marked(state, mm)) {
        return false;
    }
    const ggml_tensor * w = mm->src[0];
    const ggml_tensor * x = mm->src[1];
    const bool          lengths_fit =
        w->ne[0] % E4M3_MULTIPLE == 0 && w->ne[1] % E4M3_MULTIPLE == 0 && w->ne[0] <= ARMT_MAX_E4M3_COLS;
    const bool rows_fit    = ggml_is_quantized(w->type) || (w->nb[0] == 2 && w->nb[1] % 16 == 0);
    const bool batches_fit = w->ne[3] == 1 && x->ne[3] == 1 && w->ne[2] == x->ne[2];
    const bool types_fit = product_type(w) != GGML_TYPE_COUNT && x->type == GGML_TYPE_F32 && mm->type == GGML_TYPE_F32;
    if (!lengths_fit || !rows_fit || !batches_fit || !types_fit || !ggml_is_contiguous(x) || !ggml_is_contiguous(mm) ||
        !is_weight(w)) {
        return false;
    }
    const fp8_weight & weight = find_weight(ctx, state, w);
    return weight.data != nullptr && (is_grouped(state, mm, ARMT_EPILOGUE_ADD) ||
                                      find_plan(ctx, state, shape_of(state, mm, GGML_TYPE_F32), weight).ok ||
                                      find_plan(ctx, state, shape_of(state, mm, product_type(w)), weight).ok);
}

size_t e4m3_scales_at(int64_t n_elements) {
    return GGML_PAD(size_t(n_elements), 16);
}

size_t e4m3_size(const ggml_tensor * t) {
    return e4m3_scales_at(ggml_nelements(t)) + ggml_nrows(t) * sizeof(float);
}

// The product's input as rows of e4m3; x: what is known of it
static narrow_data to_e4m3(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm,
                           const narrow_data & x) {
    if (x.type == ARMT_TYPE_E4M3) {
        return x;
    }
    const ggml_tensor * input  = mm->src[1];
    char *              output = (char *) reserve(state, state.fp8.input, e4m3_size(input));
    armt_quantize_args  args   = {};
    args.x                     = x.data;
    args.x_row                 = input->ne[0];
    args.type                  = x.type;
    args.output                = output;
    args.scales                = (float *) (output + e4m3_scales_at(ggml_nelements(input)));
    args.n                     = input->ne[0];
    args.n_rows                = ggml_nrows(input);
    args.n_part                = input->ne[1];
    if (state.fp8.mode.by_tensor) {
        float * most = (float *) reserve(state, state.fp8.most, input->ne[2] * sizeof(float));
        args.most    = most;
        CUDA_CHECK(cudaMemsetAsync(most, 0, input->ne[2] * sizeof(float), ctx.stream()));
        armt_largest(args, most, ctx.stream());
    }
    armt_quantize(args, ctx.stream());
    return {output, ARMT_TYPE_E4M3, args.scales};
}

// out = w*x, or sum = w*x + residual, or with SwiGLU out = silu(gate)*up, all layers at once. Does nothing and returns
// false if there is no kernel for it.
static bool multiply_grouped(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm,
                             const narrow_data & x, armt_epilogue epilogue, void * out, ggml_type type_out,
                             const ggml_tensor * residual = nullptr, const ggml_tensor * sum = nullptr) {
    if (!is_grouped(state, mm, epilogue)) {
        return false;
    }
    const ggml_tensor * w      = mm->src[0];
    const fp8_weight &  weight = find_weight(ctx, state, w);
    const int64_t       layer0 = first_layer(w);
    armt_product_args   args   = product_args(mm, epilogue);
    args.weight                = (const char *) weight.data + layer0 * args.weight_batch;
    args.weight_scales         = weight.scales + layer0 * w->ne[1];
    args.x                     = x.data;
    args.x_scales              = x.scales;
    args.type_out              = type_out;
    args.output                = sum != nullptr ? sum->data : out;
    args.output_row            = sum != nullptr ? sum->nb[1] / 4 : args.n_cols;
    args.output_batch          = sum != nullptr ? sum->nb[2] / 4 : int64_t(args.n_cols) * args.n_rows;
    if (residual != nullptr) {
        args.residual       = (const float *) residual->data;
        args.residual_row   = residual->nb[1] / 4;
        args.residual_batch = residual->nb[2] / 4;
    }
    armt_product(args, ctx.stream());
    return true;
}

// out = w*x, or sum = w*x + residual. Does nothing and returns false if cuBLASLt has no algorithm for it either.
static bool multiply_fp8(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm,
                         const narrow_data & x, void * out, ggml_type type_out, const ggml_tensor * residual = nullptr,
                         const ggml_tensor * sum = nullptr) {
    if (multiply_grouped(ctx, state, mm, x, ARMT_EPILOGUE_ADD, out, type_out, residual, sum)) {
        return true;
    }
    const ggml_tensor * w      = mm->src[0];
    const fp8_weight &  weight = find_weight(ctx, state, w);
    fp8_shape           shape  = shape_of(state, mm, type_out);
    if (sum != nullptr) {
        shape.out_row      = sum->nb[1] / 4;
        shape.residual_row = residual->nb[1] / 4;
    }
    const fp8_plan & plan = find_plan(ctx, state, shape, weight);
    if (!plan.ok) {
        return false;
    }
    const int64_t n_weight   = w->ne[0] * w->ne[1]; // of a layer
    const int64_t n_x        = w->ne[0] * mm->ne[1];
    const int64_t n_out      = mm->ne[0] * mm->ne[1];
    const int64_t n_scales_w = shape.by_tensor ? ARMT_TENSOR_SCALE_STRIDE : w->ne[1];
    const int64_t n_scales_x = shape.by_tensor ? ARMT_TENSOR_SCALE_STRIDE : mm->ne[1];
    for (int64_t layer = 0; layer < w->ne[2]; ++layer) {
        const int64_t from = first_layer(w) + layer;
        char *        d    = sum != nullptr ? (char *) sum->data + layer * sum->nb[2]
                                            : (char *) out + layer * n_out * ggml_type_size(type_out);
        const char *  c    = residual != nullptr ? (const char *) residual->data + layer * residual->nb[2] : nullptr;
        CUBLAS_CHECK(launch(ctx, state, shape, plan, (const char *) weight.data + from * n_weight,
                            weight.scales + from * n_scales_w, (const char *) x.data + layer * n_x,
                            x.scales + layer * n_scales_x, c, d));
    }
    return true;
}

int fuse_fp8_product(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * mm = cgraph->nodes[i];
    if (!is_marked(state, mm)) {
        return NOT_FUSED;
    }
    armt_fp8_counts & of_graph = state.fp8.of_graph[state.fp8.graph];
    if (!is_fp8_product(ctx, state, mm)) {
        ++of_graph.n_left;
        ++state.fp8.counts.n_left;
        return NOT_FUSED;
    }
    ++of_graph.n_e4m3;
    ++state.fp8.counts.n_e4m3;
    const auto        known = state.narrow.find(root_of(mm->src[1]));
    const narrow_data x     = to_e4m3(
            ctx, state, mm, known != state.narrow.end() ? known->second : narrow_data{mm->src[1]->data, GGML_TYPE_F32});
    const ggml_type half = product_type(mm->src[0]); // of results that only fused nodes read

    std::vector<const ggml_tensor *> readers;
    int                              last = i;
    if (find_readers(cgraph, i, mm, readers, last) && readers.size() == 1) {
        const ggml_tensor * reader   = readers[0];
        const bool          is_gated = is_swiglu(reader) && root_of(reader->src[0]) == mm &&
                              narrow_type(ctx, state, cgraph, last, reader, last) == half;
        const int  j       = next_node(cgraph, i);
        const bool is_next = j < cgraph->n_nodes && reader == cgraph->nodes[j];
        if (state.on.gate && is_gated && is_next && !overlap(reader, x.data, e4m3_size(mm->src[1])) &&
            multiply_grouped(ctx, state, mm, x, ARMT_EPILOGUE_SWIGLU, reader->data, half)) {
            state.narrow[reader] = {reader->data, half};
            return j - i;
        }
        if (state.on.glu && is_gated && multiply_fp8(ctx, state, mm, x, mm->data, half)) {
            state.narrow[mm] = {mm->data, half};
            return 0;
        }
        const ggml_tensor * residual = nullptr;
        if (state.on.residual && is_next && match_residual(mm, reader, x.data, e4m3_size(mm->src[1]), residual) &&
            multiply_fp8(ctx, state, mm, x, nullptr, GGML_TYPE_F32, residual, reader)) {
            return j - i;
        }
    }
    if (is_read_by_rope(state, cgraph, i) && multiply_fp8(ctx, state, mm, x, mm->data, half)) {
        state.narrow[mm] = {mm->data, half};
        return 0;
    }
    if (!multiply_fp8(ctx, state, mm, x, mm->data, GGML_TYPE_F32)) { // then is_fp8_product found a plan for 16 bits
        void * narrow = reserve(state, state.fp8.output, ggml_nelements(mm) * 2);
        GGML_ASSERT(multiply_fp8(ctx, state, mm, x, narrow, half));
        ggml_get_to_fp32_cuda(half)(narrow, (float *) mm->data, ggml_nelements(mm), ctx.stream());
    }
    return 0;
}

} // namespace armt_fusion

bool armt_cuda_has_fp8(size_t device) {
    const auto & info = ggml_cuda_info();
    return device < size_t(info.device_count) && GGML_CUDA_CC_IS_NVIDIA(info.devices[device].cc) &&
           info.devices[device].cc >= GGML_CUDA_CC_ADA_LOVELACE;
}
