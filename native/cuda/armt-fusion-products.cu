// Products in 16 bits, and what is computed in them: SwiGLU and the addition of the residual.

#include "armt-fusion.cuh"
#include "armt-limits.h"

#include "convert.cuh"

#include <algorithm>

namespace armt_fusion {

static cudaDataType_t cuda_type(ggml_type type) {
    return type == GGML_TYPE_F32 ? CUDA_R_32F : type == GGML_TYPE_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

weight_part largest_part(const ggml_tensor * w) {
    if (is_16_bit(w->type)) {
        return {w->ne[2], w->ne[1]};
    }
    const int64_t n_rows_max = int64_t(ARMT_CONVERTED_BYTES / sizeof(half)) / w->ne[0];
    if (w->ne[1] > n_rows_max) {
        return {1, std::max<int64_t>(n_rows_max / 128, 1) * 128};
    }
    int64_t n_layers = std::min(n_rows_max / w->ne[1], w->ne[2]);
    while (w->ne[2] % n_layers != 0) {
        --n_layers;
    }
    return {n_layers, w->ne[1]};
}

// Where ggml leaves quantized weights to cuBLAS (ggml_cuda_mul_mat_cublas), it converts them and the input with the
// same functions, but adds in F16. On cards with int8 tensor cores it multiplies them itself, with inputs rounded to 8
// bits (ggml_cuda_should_use_mmq), which is less exact than F16 and slower with many rows.
weights get_weights(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * w, int64_t layer,
                    int64_t row, weight_part part) {
    const char * data = (const char *) w->data + layer * w->nb[2] + row * w->nb[1];
    if (is_16_bit(w->type)) {
        return {data, int64_t(w->nb[1]) / 2, int64_t(w->nb[2]) / 2};
    }
    const int64_t n    = part.n_layers * part.n_rows * w->ne[0];
    const size_t  need = n * sizeof(half);
    // a fraction of the limit suffices for small weights; steps of 16, because buffers that were too small stay
    // allocated
    size_t size = ARMT_CONVERTED_BYTES;
    while (size / 16 >= need) {
        size /= 16;
    }
    half * converted = (half *) reserve(state, state.converted, std::max(size, need));
    ggml_get_to_fp16_cuda(w->type)(data, converted, n, ctx.stream());
    return {converted, w->ne[0], w->ne[0] * part.n_rows};
}

void multiply(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm, const void * x,
              void * out, ggml_type type_out, float factor) {
    const ggml_tensor *  w     = mm->src[0];
    const float          zero  = 0.0f;
    const cudaDataType_t type  = cuda_type(product_type(w));
    const weight_part    most  = largest_part(w);
    const int64_t        n_x   = w->ne[0] * mm->ne[1]; // of a layer
    const int64_t        n_out = mm->ne[0] * mm->ne[1];
    for (int64_t layer = 0; layer < w->ne[2]; layer += most.n_layers) {
        for (int64_t row = 0; row < w->ne[1]; row += most.n_rows) {
            const weight_part part = {most.n_layers, std::min(most.n_rows, w->ne[1] - row)};
            const weights     a    = get_weights(ctx, state, w, layer, row, part);
            const char *      b    = (const char *) x + layer * n_x * 2;
            char *            c    = (char *) out + (layer * n_out + row) * ggml_type_size(type_out);
            CUBLAS_CHECK(cublasGemmStridedBatchedEx(ctx.cublas_handle(), CUBLAS_OP_T, CUBLAS_OP_N, part.n_rows,
                                                    mm->ne[1], w->ne[0], &factor, a.data, type, a.row, a.layer, b, type,
                                                    w->ne[0], n_x, &zero, c, cuda_type(type_out), mm->ne[0], n_out,
                                                    part.n_layers, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT_TENSOR_OP));
        }
    }
}

static cublasLtMatrixLayout_t make_layout(cudaDataType_t type, uint64_t rows, uint64_t cols, int64_t ld,
                                          int32_t n_batch, int64_t batch_stride) {
    cublasLtMatrixLayout_t layout;
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&layout, type, rows, cols, ld));
    CUBLAS_CHECK(
        cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &n_batch, sizeof(n_batch)));
    CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch_stride,
                                                  sizeof(batch_stride)));
    return layout;
}

// Tells cuBLASLt how data is aligned if it begins at any multiple of part_size.
static void set_alignment(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
                          const void * data, size_t part_size) {
    const size_t   bits      = size_t(data) | part_size | 256;
    const uint32_t alignment = bits & (~bits + 1); // the lowest bit that is set
    CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof(alignment)));
}

// sum = w*x + residual. Does nothing and returns false if cuBLASLt has no algorithm for it, or if one layer is too
// large.
static bool multiply_add(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm, const void * x,
                         const ggml_tensor * residual, const ggml_tensor * sum) {
    const ggml_tensor * w    = mm->src[0];
    const weight_part   part = largest_part(w);
    if (part.n_rows < w->ne[1]) {
        return false;
    }
    if (state.lt == nullptr) {
        CUBLAS_CHECK(cublasLtCreate(&state.lt));
    }
    const cudaDataType_t type    = cuda_type(product_type(w));
    const int32_t        n_batch = part.n_layers;
    const int64_t        n       = w->ne[0];
    const int64_t        n_x     = n * mm->ne[1]; // of a layer
    const bool           is_f16  = is_16_bit(w->type);
    const int64_t        w_row   = is_f16 ? w->nb[1] / 2 : n;
    const int64_t        w_layer = is_f16 ? w->nb[2] / 2 : n * w->ne[1];

    cublasLtMatmulDesc_t desc;
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));

    const auto result_layout = [&](const ggml_tensor * t) {
        return make_layout(CUDA_R_32F, mm->ne[0], mm->ne[1], t->nb[1] / 4, n_batch, t->nb[2] / 4);
    };
    cublasLtMatrixLayout_t a = make_layout(type, n, w->ne[1], w_row, n_batch, w_layer);
    cublasLtMatrixLayout_t b = make_layout(type, n, mm->ne[1], n, n_batch, n_x);
    cublasLtMatrixLayout_t c = result_layout(residual);
    cublasLtMatrixLayout_t d = result_layout(sum);

    ctx.cublas_handle(); // makes the workspace
    void *       workspace      = ctx.cublas_workspaces[ctx.device][ctx.curr_stream_no];
    const size_t workspace_size = workspace == nullptr ? 0 : ctx.cublas_workspace_sizes[ctx.device];

    cublasLtMatmulPreference_t preference;
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                      &workspace_size, sizeof(workspace_size)));
    if (part.n_layers < w->ne[2]) { // one algorithm serves all parts, which begin where the strides put them
        set_alignment(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, x, part.n_layers * n_x * 2);
        set_alignment(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, residual->data,
                      part.n_layers * residual->nb[2]);
        set_alignment(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, sum->data, part.n_layers * sum->nb[2]);
    }
    cublasLtMatmulHeuristicResult_t found   = {};
    int                             n_found = 0;
    const cublasStatus_t            status =
        cublasLtMatmulAlgoGetHeuristic(state.lt, desc, a, b, c, d, preference, 1, &found, &n_found);
    const bool has_algorithm = status == CUBLAS_STATUS_SUCCESS && n_found > 0;
    for (int64_t layer = 0; has_algorithm && layer < w->ne[2]; layer += part.n_layers) {
        const float  one = 1.0f;
        const void * pa  = get_weights(ctx, state, w, layer, 0, part).data;
        const char * pb  = (const char *) x + layer * n_x * 2;
        const char * pc  = (const char *) residual->data + layer * residual->nb[2];
        char *       pd  = (char *) sum->data + layer * sum->nb[2];
        CUBLAS_CHECK(cublasLtMatmul(state.lt, desc, &one, pa, a, pb, b, &one, pc, c, pd, d, &found.algo, workspace,
                                    workspace_size, ctx.stream()));
    }
    cublasLtMatmulPreferenceDestroy(preference);
    for (cublasLtMatrixLayout_t layout : {a, b, c, d}) {
        cublasLtMatrixLayoutDestroy(layout);
    }
    cublasLtMatmulDescDestroy(desc);
    return has_algorithm;
}

// out = silu(gate)*up, where w*x is both. Does nothing and returns false if there is no kernel for it, or if one layer
// is too large.
static bool multiply_swiglu(ggml_backend_cuda_context & ctx, context_state & state, const ggml_tensor * mm,
                            const void * x, void * out) {
    const ggml_tensor * w      = mm->src[0];
    const weight_part   part   = largest_part(w);
    const bool          is_f16 = is_16_bit(w->type);
    armt_product_args   args   = {};
    args.epilogue              = ARMT_EPILOGUE_SWIGLU;
    args.type                  = product_type(w);
    args.type_out              = args.type;
    args.weight_row            = is_f16 ? w->nb[1] / 2 : w->ne[0];
    args.weight_batch          = is_f16 ? w->nb[2] / 2 : w->ne[0] * w->ne[1];
    args.n                     = w->ne[0];
    args.n_cols                = w->ne[1] / 2;
    args.n_rows                = mm->ne[1];
    args.n_batch               = part.n_layers;
    if (part.n_rows < w->ne[1] || !armt_has_product(args)) {
        return false;
    }
    for (int64_t layer = 0; layer < w->ne[2]; layer += part.n_layers) {
        args.x      = (const char *) x + layer * args.n_rows * args.n * 2;
        args.weight = get_weights(ctx, state, w, layer, 0, part).data;
        args.output = (char *) out + layer * args.n_rows * args.n_cols * 2;
        armt_product(args, ctx.stream());
    }
    return true;
}

bool match_residual(const ggml_tensor * mm, const ggml_tensor * add, const void * x, size_t size,
                    const ggml_tensor *& residual) {
    if (add->op != GGML_OP_ADD) {
        return false;
    }
    const bool          is_first = root_of(add->src[0]) == mm;
    const ggml_tensor * product  = add->src[is_first ? 0 : 1];
    residual                     = add->src[is_first ? 1 : 0];

    const bool same_shapes =
        ggml_are_same_shape(product, residual) && ggml_are_same_shape(product, add) && ggml_are_same_shape(product, mm);
    const bool dense             = has_dense_rows(residual) && has_dense_rows(add);
    const bool in_place_or_apart = residual->data == add->data || !overlap(residual, add);
    return same_shapes && dense && in_place_or_apart && !overlap(add, x, size);
}

int fuse_product(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * mm = cgraph->nodes[i];
    if (!is_product(mm)) {
        return NOT_FUSED;
    }
    const auto x = state.narrow.find(root_of(mm->src[1]));
    if (x == state.narrow.end()) {
        return NOT_FUSED;
    }
    const narrow_data input      = x->second;
    const size_t      input_size = ggml_nelements(mm->src[1]) * 2;

    std::vector<const ggml_tensor *> readers;
    int                              last = i;
    if (find_readers(cgraph, i, mm, readers, last) && readers.size() == 1) {
        const ggml_tensor * reader   = readers[0];
        const int           j        = next_node(cgraph, i);
        const bool          is_next  = j < cgraph->n_nodes && reader == cgraph->nodes[j];
        const bool          is_gated = is_swiglu(reader) && root_of(reader->src[0]) == mm &&
                              narrow_type(ctx, state, cgraph, last, reader, last) == input.type;

        if (state.on.gate && is_gated && is_next && !overlap(reader, input.data, input_size) &&
            multiply_swiglu(ctx, state, mm, input.data, reader->data)) {
            state.narrow[reader] = {reader->data, input.type};
            return j - i;
        }
        if (state.on.glu && is_gated) {
            multiply(ctx, state, mm, input.data, mm->data, input.type);
            state.narrow[mm] = {mm->data, input.type};
            return 0;
        }
        const ggml_tensor * residual = nullptr;
        if (state.on.residual && is_next && match_residual(mm, reader, input.data, input_size, residual) &&
            multiply_add(ctx, state, mm, input.data, residual, reader)) {
            return j - i;
        }
    }
    if (is_read_by_rope(state, cgraph, i)) {
        multiply(ctx, state, mm, input.data, mm->data, input.type);
        state.narrow[mm] = {mm->data, input.type};
        return 0;
    }
    multiply(ctx, state, mm, input.data, mm->data, GGML_TYPE_F32);
    return 0;
}

int fuse_swiglu(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i) {
    const ggml_tensor * glu  = cgraph->nodes[i];
    int                 last = i;
    if (!state.on.glu || !is_swiglu(glu)) {
        return NOT_FUSED;
    }
    const ggml_type type = narrow_type(ctx, state, cgraph, i, glu, last, true);
    if (type == GGML_TYPE_COUNT) {
        return NOT_FUSED;
    }
    const auto x         = state.narrow.find(root_of(glu->src[0]));
    const bool is_narrow = x != state.narrow.end();
    if (!is_narrow && overlap(glu, glu->src[0])) {
        return NOT_FUSED;
    }
    const void *    input   = is_narrow ? x->second.data : glu->src[0]->data;
    const ggml_type type_in = is_narrow ? x->second.type : GGML_TYPE_F32;
    if (type == ARMT_TYPE_E4M3) {
        float * scales = (float *) ((char *) glu->data + e4m3_scales_at(ggml_nelements(glu)));
        armt_swiglu_e4m3(input, type_in, glu->data, scales, glu->ne[0], ggml_nrows(glu), ctx.stream());
        state.narrow[glu] = {glu->data, type, scales};
        return 0;
    }
    armt_swiglu(input, type_in, glu->data, type, glu->ne[0], ggml_nrows(glu), ctx.stream());
    state.narrow[glu] = {glu->data, type};
    return 0;
}

} // namespace armt_fusion
