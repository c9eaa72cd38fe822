// Finds out what the nodes of a graph are, and who reads them.

#include "armt-fusion.cuh"
#include "armt-limits.h"

#include "convert.cuh"

#include <algorithm>
#include <cstring>

namespace armt_fusion {

bool is_noop(const ggml_tensor * t) {
    return t->op == GGML_OP_NONE || t->op == GGML_OP_RESHAPE || t->op == GGML_OP_VIEW || t->op == GGML_OP_PERMUTE ||
           t->op == GGML_OP_TRANSPOSE;
}

int next_node(const ggml_cgraph * cgraph, int i) {
    do {
        ++i;
    } while (i < cgraph->n_nodes && is_noop(cgraph->nodes[i]));
    return i;
}

// Whether t has the same elements in the same order and place as its source, which is a node
static bool is_whole_view(const ggml_tensor * t) {
    const bool is_view = t->op == GGML_OP_RESHAPE || t->op == GGML_OP_VIEW || t->op == GGML_OP_PERMUTE;
    return is_view && t->src[0]->op != GGML_OP_NONE && ggml_nelements(t) == ggml_nelements(t->src[0]) &&
           t->data == t->src[0]->data;
}

const ggml_tensor * root_of(const ggml_tensor * t) {
    while (is_whole_view(t)) {
        t = t->src[0];
    }
    return t;
}

const ggml_tensor * without_views(const ggml_tensor * t) {
    while (is_noop(t) && t->op != GGML_OP_NONE) {
        t = t->src[0];
    }
    return t;
}

int32_t n_uses(const ggml_cgraph * cgraph, const ggml_tensor * t) {
    const size_t at      = ggml_hash_find(&cgraph->visited_hash_set, t);
    const bool   is_used = at != GGML_HASHSET_FULL && ggml_bitset_get(cgraph->visited_hash_set.used, at);
    return is_used ? cgraph->use_counts[at] : 0;
}

bool find_readers(const ggml_cgraph * cgraph, int i, const ggml_tensor * t, std::vector<const ggml_tensor *> & readers,
                  int & last) {
    if (t->view_src != nullptr || (t->flags & GGML_TENSOR_FLAG_OUTPUT) != 0) {
        return false;
    }
    std::vector<const ggml_tensor *> names  = {t}; // t and its views
    int64_t                          n_left = n_uses(cgraph, t);
    for (int j = i + 1; j < cgraph->n_nodes && j <= i + WINDOW && n_left > 0; ++j) {
        const ggml_tensor * node  = cgraph->nodes[j];
        bool                reads = false;
        for (const ggml_tensor * src : node->src) {
            if (src != nullptr && std::find(names.begin(), names.end(), src) != names.end()) {
                n_left--;
                reads = true;
            }
        }
        if (reads && is_noop(node)) {
            names.push_back(node);
            n_left += n_uses(cgraph, node);
        } else if (reads) {
            readers.push_back(node);
            last = j;
        }
    }
    return n_left == 0 && !readers.empty();
}

bool is_read_by_one(const ggml_cgraph * cgraph, int i, const ggml_tensor * t, const ggml_tensor * reader) {
    std::vector<const ggml_tensor *> readers;
    int                              last = i;
    return find_readers(cgraph, i, t, readers, last) && readers.size() == 1 && readers[0] == reader;
}

bool overlap(const ggml_tensor * a, const void * data, size_t size) {
    const char * a0 = (const char *) a->data;
    const char * b0 = (const char *) data;
    return a0 < b0 + size && b0 < a0 + ggml_nbytes(a);
}

bool overlap(const ggml_tensor * a, const ggml_tensor * b) {
    return overlap(a, b->data, ggml_nbytes(b));
}

bool has_dense_rows(const ggml_tensor * t) {
    return t->type == GGML_TYPE_F32 && t->nb[0] == 4 && t->nb[1] == t->ne[0] * t->nb[0] && t->nb[2] % 16 == 0 &&
           t->ne[3] == 1;
}

bool is_unary(const ggml_tensor * t, ggml_unary_op op) {
    return t->op == GGML_OP_UNARY && ggml_get_unary_op(t) == op;
}

bool is_swiglu(const ggml_tensor * t) {
    if (t->op != GGML_OP_GLU || ggml_get_glu_op(t) != GGML_GLU_OP_SWIGLU) {
        return false;
    }
    const bool gate_comes_first = t->src[1] == nullptr && t->op_params[1] == 0; // gate and up are halves of one tensor
    return gate_comes_first && ggml_is_contiguous(t->src[0]) && t->src[0]->type == GGML_TYPE_F32 && t->ne[0] % 8 == 0;
}

bool is_16_bit(ggml_type type) {
    return type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

float float_param(const ggml_tensor * t, int i) {
    float value;
    memcpy(&value, (const float *) t->op_params + i, sizeof(float));
    return value;
}

ggml_type product_type(const ggml_tensor * w) {
    if (is_16_bit(w->type)) {
        return w->type;
    }
    const bool is_convertible =
        ggml_is_quantized(w->type) && ggml_is_contiguous(w) && ggml_get_to_fp16_cuda(w->type) != nullptr;
    return is_convertible ? GGML_TYPE_F16 : GGML_TYPE_COUNT;
}

bool is_product(const ggml_tensor * mm) {
    if (mm->op != GGML_OP_MUL_MAT) {
        return false;
    }
    const ggml_tensor * w = mm->src[0];
    const ggml_tensor * x = mm->src[1];
    if (product_type(w) == GGML_TYPE_COUNT) {
        return false;
    }
    // Products that ask for F32 have inputs that no norm bounds. With quantized weights those are left to ggml: its
    // kernels scale the input by blocks, where F16 would overflow. With F16 weights fuse_write computes them, in units
    // in which they fit.
    const bool weight_fits = ggml_is_quantized(w->type)
                                 ? x->ne[1] >= ARMT_CONVERTED_MIN_ROWS && mm->op_params[0] != GGML_PREC_F32
                                 : x->ne[1] >= MIN_ROWS && w->nb[0] == 2 && w->nb[1] % 16 == 0;
    const bool lengths_fit = w->ne[0] % 8 == 0 && w->ne[1] % 8 == 0;
    const bool batches_fit = w->ne[3] == 1 && x->ne[3] == 1 && w->ne[2] == x->ne[2];
    const bool types_fit   = x->type == GGML_TYPE_F32 && mm->type == GGML_TYPE_F32;
    return weight_fits && lengths_fit && batches_fit && types_fit && ggml_is_contiguous(x) && ggml_is_contiguous(mm);
}

ggml_type narrow_type(ggml_backend_cuda_context & ctx, context_state & state, const ggml_cgraph * cgraph, int i,
                      const ggml_tensor * t, int & last, bool to_e4m3) {
    std::vector<const ggml_tensor *> readers;
    if (!ggml_is_contiguous(t) || !find_readers(cgraph, i, t, readers, last)) {
        return GGML_TYPE_COUNT;
    }
    bool all_take_e4m3 = to_e4m3 && state.on.quantize && !state.fp8.mode.by_tensor;
    for (const ggml_tensor * mm : readers) {
        const bool takes_e4m3 = is_fp8_product(ctx, state, mm);
        if (!takes_e4m3 && !is_product(mm)) {
            return GGML_TYPE_COUNT;
        }
        const bool is_input_only = root_of(mm->src[1]) == t && root_of(mm->src[0]) != t;
        if (!is_input_only || product_type(mm->src[0]) != product_type(readers[0]->src[0])) {
            return GGML_TYPE_COUNT;
        }
        all_take_e4m3 = all_take_e4m3 && takes_e4m3;
    }
    return all_take_e4m3 ? ARMT_TYPE_E4M3 : product_type(readers[0]->src[0]);
}

} // namespace armt_fusion
