#include "armt-model.h"

#include "armt-extra-buffers.h"
#include "armt-graph.h"
#include "armt-hooks.h"
#include "armt-names.h"
#include "armt-registry.h"

#include "ggml-cpp.h"

#include "llama-model-loader.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

void armt_weight::add(uint32_t il, ggml_tensor * tensor, bool is_packed) {
    first.push_back(il);
    stack.push_back(tensor);
    packed.push_back(is_packed);
}

size_t armt_weight::find(uint32_t il) const {
    return std::upper_bound(first.begin(), first.end(), il) - first.begin() - 1;
}

llama_model_armt::llama_model_armt(const llama_model_params & params) : llama_model_base(params) {
    attn_qkv.product    = ARMT_PRODUCT_QKV;
    attn_output.product = ARMT_PRODUCT_O;
    ffn_up.product      = ARMT_PRODUCT_GATE_UP;
    ffn_down.product    = ARMT_PRODUCT_DOWN;
    // models that only estimate sizes have no buffers
    if (!params.no_alloc) {
        armt_register_model(this);
    }
}

llama_model_armt::~llama_model_armt() {
    armt_unregister_model(this);
}

void llama_model_armt::load_arch_hparams(llama_model_loader & ml) {
    if (hparams.n_head() == 0 || hparams.n_head_kv() == 0 || hparams.n_head() % hparams.n_head_kv() != 0) {
        throw std::runtime_error(
            "armt.attention.head_count has to be a multiple of armt.attention.head_count_kv, and neither can be 0");
    }
    if (hparams.n_embd_head_k() != hparams.n_embd_head_v()) {
        throw std::runtime_error("armt.attention.key_length and armt.attention.value_length have to be the same");
    }
    if (hparams.n_rot() == 0 || hparams.n_rot() % 2 != 0 || hparams.n_rot() > hparams.n_embd_head_k()) {
        throw std::runtime_error(
            "armt.rope.dimension_count has to be an even number, and at most armt.attention.key_length");
    }
    if (hparams.n_embd == 0 || hparams.n_ff() == 0) {
        throw std::runtime_error("neither armt.embedding_length nor armt.feed_forward_length can be 0");
    }
    // With a GPU, the CPU's layers keep their stacks: llama.cpp puts them into the GPU's host memory.
    params.use_extra_bufts = params.use_extra_bufts && devices.empty() && armt_use_extra_buffers();
    armt.load(ml.metadata, hparams.n_embd, hparams.n_embd_head_k(), hparams.n_layer());
    if (armt.base.layer_norm) {
        ml.get_key(LLM_KV_ATTENTION_LAYERNORM_EPS, hparams.f_norm_eps);
    } else {
        ml.get_key(LLM_KV_ATTENTION_LAYERNORM_RMS_EPS, hparams.f_norm_rms_eps);
    }
}

// The loader makes room for its tensors by their number when it meets a buffer type for the first time, which may be
// before stacks are split. So their parts are counted in advance: at most one for each layer, of the 21 kinds that
// create_stacks is given below.
struct room_for_parts {
    llama_model_loader & ml;
    const int            n;

    room_for_parts(llama_model_loader & ml, int n_layer) : ml(ml), n(21 * n_layer) { ml.n_tensors += n; }

    ~room_for_parts() { ml.n_tensors -= n; }
};

void llama_model_armt::load_arch_tensors(llama_model_loader & loader) {
    LLAMA_LOAD_LOCALS;

    const room_for_parts room(loader, n_layer);

    const int64_t n_embd_q = n_embd_head_k * n_head;
    const int64_t n_qkv    = n_embd_q + 2 * n_embd_gqa;
    const int64_t n_up     = armt.base.gated ? 2 * n_ff : n_ff;

    // clang-format off
    tok_embd      = create_tensor(tn(LLM_TENSOR_TOKEN_EMBD,  "weight"), {n_embd, n_vocab}, 0);
    memory_embd   = create_tensor(tn(LLM_TENSOR_MEMORY_EMBD, "weight", 0), {n_embd, armt.n_mem + (armt.recurrent ? 0 : armt.n_sink)}, 0);
    output_norm   = create_tensor(tn(LLM_TENSOR_OUTPUT_NORM, "weight"), {n_embd}, 0);
    output_norm_b = create_tensor(tn(LLM_TENSOR_OUTPUT_NORM, "bias"),   {n_embd}, TENSOR_NOT_REQUIRED);
    output        = create_tensor(tn(LLM_TENSOR_OUTPUT,      "weight"), {n_embd, n_vocab}, TENSOR_NOT_REQUIRED);
    // clang-format on
    if (armt.base.n_position != 0) {
        position_embd = create_tensor(tn(LLM_TENSOR_POS_EMBD, "weight"), {n_embd, armt.base.n_position}, 0);
    }
    output_is_tied = output == nullptr;
    if (output_is_tied) {
        output = create_tensor(tn(LLM_TENSOR_TOKEN_EMBD, "weight"), {n_embd, n_vocab}, TENSOR_DUPLICATED);
    }
    create_input_embd();
    create_rope_freqs();

    // clang-format off
    create_stacks(attn_norm,     LLM_TENSOR_ATTN_NORM,      "weight", {n_embd});
    create_stacks(attn_norm_b,   LLM_TENSOR_ATTN_NORM,      "bias",   {n_embd});
    create_stacks(attn_qkv,      LLM_TENSOR_ATTN_QKV,       "weight", {n_embd, n_qkv});
    create_stacks(attn_qkv_b,    LLM_TENSOR_ATTN_QKV,       "bias",   {n_qkv});
    create_stacks(attn_q_norm,   LLM_TENSOR_ATTN_Q_NORM,    "weight", {n_embd_head_k});
    create_stacks(attn_k_norm,   LLM_TENSOR_ATTN_K_NORM,    "weight", {n_embd_head_k});
    create_stacks(attn_output,   LLM_TENSOR_ATTN_OUT,       "weight", {n_embd_q, n_embd});
    create_stacks(attn_output_b, LLM_TENSOR_ATTN_OUT,       "bias",   {n_embd});
    create_stacks(attn_post,     LLM_TENSOR_ATTN_POST_NORM, "weight", {n_embd});
    create_stacks(ffn_norm,      LLM_TENSOR_FFN_NORM,       "weight", {n_embd});
    create_stacks(ffn_norm_b,    LLM_TENSOR_FFN_NORM,       "bias",   {n_embd});
    create_stacks(ffn_up,        LLM_TENSOR_FFN_UP,         "weight", {n_embd, n_up});
    create_stacks(ffn_up_b,      LLM_TENSOR_FFN_UP,         "bias",   {n_up});
    create_stacks(ffn_down,      LLM_TENSOR_FFN_DOWN,       "weight", {n_ff, n_embd});
    create_stacks(ffn_down_b,    LLM_TENSOR_FFN_DOWN,       "bias",   {n_embd});
    create_stacks(ffn_post,      LLM_TENSOR_FFN_POST_NORM,  "weight", {n_embd});
    // clang-format on
    if (!armt.recurrent) {
        create_memory_stacks();
    }

    if (bool(attn_q_norm) != bool(attn_k_norm)) {
        throw std::runtime_error("the model has only one of blk.0.attn_q_norm.weight and blk.0.attn_k_norm.weight; "
                                 "convert the checkpoint again");
    }
}

// Whether a device can look up rows of this type
static bool takes_rows(ggml_backend_dev_t dev, ggml_type type) {
    if (strcmp(ggml_backend_reg_name(ggml_backend_dev_backend_reg(dev)), ARMT_NAME_RPC) == 0) {
        // a client cannot ask; these types work on all of ggml's backends that servers have
        return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 || type == GGML_TYPE_Q8_0;
    }
    const ggml_context_ptr ctx(ggml_init({8 * ggml_tensor_overhead(), nullptr, true}));
    ggml_tensor *          embd = ggml_new_tensor_2d(ctx.get(), type, ggml_blck_size(type), 1);
    ggml_tensor *          ids  = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, 1);
    return ggml_backend_dev_supports_op(dev, ggml_get_rows(ctx.get(), embd, ids));
}

// llama.cpp keeps the embeddings on the CPU. With several devices, a part of each step there would come between the
// parts of the devices, and the host would wait for one device before it starts the next.
void llama_model_armt::create_input_embd() {
    const ggml_backend_dev_t first = dev_layer(0);
    if (first == nullptr || first == dev_output() || ggml_backend_dev_type(first) == GGML_BACKEND_DEVICE_TYPE_CPU ||
        !takes_rows(first, tok_embd->type)) {
        return;
    }
    LLAMA_LOAD_LOCALS;
    const buft_list_t there = {{first, ggml_backend_dev_buffer_type(first)}};
    input_embd = ml->create_tensor(hparams, &there, &there, &there, &there, tn(LLM_TENSOR_TOKEN_EMBD, "weight"),
                                   {n_embd, n_vocab}, TENSOR_DUPLICATED);
}

// A tensor of another device would split the step where it is used.
void llama_model_armt::create_rope_freqs() {
    for (uint32_t il = 0; il < hparams.n_layer(); ++il) {
        ggml_tensor * freqs = create_tensor(tn(LLM_TENSOR_ROPE_FREQS, "weight", il), {hparams.n_rot() / 2},
                                            TENSOR_NOT_REQUIRED | (il > 0 ? TENSOR_DUPLICATED : 0));
        if (freqs == nullptr) {
            return;
        }
        rope_freqs.push_back(freqs);
    }
}

void llama_model_armt::create_memory_stacks() {
    const int64_t n_embd = hparams.n_embd;
    const int64_t n_beta = armt.gating ? n_embd : armt.n_head;
    // clang-format off
    create_stacks(memory_q,      LLM_TENSOR_MEMORY_Q,       "weight", {n_embd, armt.n_feature});
    create_stacks(memory_k,      LLM_TENSOR_MEMORY_K,       "weight", {n_embd, armt.n_feature});
    create_stacks(memory_v,      LLM_TENSOR_MEMORY_V,       "weight", {n_embd, n_embd});
    create_stacks(memory_b,      LLM_TENSOR_MEMORY_B,       "weight", {n_embd, n_beta});
    create_stacks(memory_b_b,    LLM_TENSOR_MEMORY_B,       "bias",   {n_beta});
    // clang-format on
}

void llama_model_armt::create_stacks(armt_weight & weight, llm_tensor kind, const char * suffix,
                                     std::vector<int64_t> ne) {
    const uint32_t n_layer    = hparams.n_layer();
    const bool     is_bias    = strcmp(suffix, "bias") == 0;
    const bool     extra_norm = kind == LLM_TENSOR_ATTN_Q_NORM || kind == LLM_TENSOR_ATTN_K_NORM ||
                            kind == LLM_TENSOR_ATTN_POST_NORM || kind == LLM_TENSOR_FFN_POST_NORM;
    const bool optional = (is_bias && kind != LLM_TENSOR_MEMORY_B) || extra_norm;

    for (uint32_t il = 0; il < n_layer; ++il) {
        // when sizes are estimated from metadata alone, only the metadata lists the tensors
        const std::string name = tn(kind, suffix, il);
        if (ml->get_tensor_meta(name.c_str()) != nullptr || gguf_find_tensor(ml->metadata, name.c_str()) >= 0) {
            weight.first.push_back(il);
        }
    }
    if (weight.first.empty() && optional) {
        return;
    }
    if (weight.first.empty() || weight.first[0] != 0) {
        throw std::runtime_error("missing tensor '" + tn(kind, suffix, 0).str() + "'");
    }
    const std::vector<uint32_t> first = std::move(weight.first);
    weight.first.clear();
    for (size_t i = 0; i < first.size(); ++i) {
        const uint32_t end = i + 1 < first.size() ? first[i + 1] : n_layer;
        for (const auto & [il, n] : split_by_device(kind, suffix, int(ne.size()), first[i], end - first[i])) {
            if (ne.size() == 2) {
                create_matrices(weight, kind, il, n, ne);
            } else {
                weight.add(il, create_tensor(tn(kind, suffix, il), {ne[0], n}, 0), false);
            }
        }
    }
}

std::vector<std::pair<uint32_t, uint32_t>> llama_model_armt::split_by_device(llm_tensor kind, const char * suffix,
                                                                             int layer_dims, uint32_t il, uint32_t n) {
    std::vector<std::pair<uint32_t, uint32_t>> parts;
    std::vector<armt_stack_part>               named;
    for (uint32_t i = il; i < il + n; ++i) {
        if (i == il || dev_layer(i) != dev_layer(i - 1)) {
            parts.emplace_back(i, 0);
            named.push_back({tn(kind, suffix, i), 0});
        }
        parts.back().second++;
        named.back().n++;
    }
    // without a file there is nothing to take parts of, and sizes are estimated with whole stacks
    if (parts.size() > 1 && ml->get_weight(named[0].name.c_str()) == nullptr) {
        return {{il, n}};
    }
    if (parts.size() > 1) {
        armt_split_stack(*ml, layer_dims, named);
    }
    return parts;
}

void llama_model_armt::create_matrices(armt_weight & weight, llm_tensor kind, uint32_t il, uint32_t n,
                                       const std::vector<int64_t> & ne) {
    const std::string name = tn(kind, "weight", il);

    const ggml_tensor * meta = ml->check_tensor_dims(name, {ne[0], ne[1], n}, false, false);
    if (meta == nullptr || !params.use_extra_bufts || !armt_takes_matrix(meta->type, ne[0], ne[1])) {
        weight.add(il, create_tensor(tn(kind, "weight", il), {ne[0], ne[1], n}, 0), false);
        return;
    }
    std::vector<armt_stack_part> parts;
    for (uint32_t i = il; i < il + n; ++i) {
        parts.push_back({tn(kind, "weight", i), 1});
    }
    armt_split_stack(*ml, 2, parts);
    for (uint32_t i = il; i < il + n; ++i) {
        weight.add(i, create_tensor(tn(kind, "weight", i), {ne[0], ne[1]}, 0), true);
    }
}

std::vector<const armt_weight *> llama_model_armt::weights() const {
    return {&attn_norm,     &attn_norm_b, &attn_qkv, &attn_qkv_b, &attn_q_norm, &attn_k_norm, &attn_output,
            &attn_output_b, &attn_post,   &ffn_norm, &ffn_norm_b, &ffn_up,      &ffn_up_b,    &ffn_down,
            &ffn_down_b,    &ffn_post,    &memory_q, &memory_k,   &memory_v,    &memory_b,    &memory_b_b};
}

uint32_t llama_model_armt::n_stacked(uint32_t il, uint32_t n_max) const {
    uint32_t end = std::min(il + n_max, hparams.n_layer());
    for (const armt_weight * weight : weights()) {
        if (*weight) {
            const auto next = std::upper_bound(weight->first.begin(), weight->first.end(), il);
            if (next != weight->first.end()) {
                end = std::min(end, *next);
            }
        }
    }
    return end - il;
}

uint32_t llama_model_armt::n_widest() const {
    uint32_t n = 1;
    for (uint32_t il = 0; il < hparams.n_layer(); ++il) {
        n = std::max(n, n_stacked(il, hparams.n_layer()));
    }
    return n;
}

std::unique_ptr<llm_graph_context> llama_model_armt::build_arch_graph(const llm_graph_params & params) const {
    return std::make_unique<armt_graph>(*this, params);
}

llama_model * armt_create_model(const llama_model_params & params) {
    return new llama_model_armt(params);
}
