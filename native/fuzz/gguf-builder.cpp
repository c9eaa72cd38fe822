#include "gguf-builder.h"

#include "ggml.h"
#include "gguf.h"

#include <algorithm>
#include <cstring>
#include <memory>

uint32_t choices::number(std::initializer_list<uint32_t> usual) {
    if (byte() % 16 != 15) {
        return usual.begin()[below(usual.size())];
    }
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
        value = value << 8 | byte();
    }
    return value;
}

namespace {

// Longer files end before their tensors do. Unit: bytes
constexpr size_t MAX_SIZE = 2 << 20;

// 1.06 as f16, 0.0115 as f32 and as bf16
constexpr uint8_t WEIGHT = 0x3c;

struct shape {
    std::string          name;
    ggml_type            type;
    std::vector<int64_t> ne;
};

class builder {
public:
    explicit builder(choices & choose) : choose(choose), gguf(gguf_init_empty(), gguf_free) {}

    std::vector<uint8_t> build() {
        set_base();
        set_positions();
        set_memory();
        add_tensors();
        const uint32_t n_changes = choose.below(4);
        for (uint32_t i = 0; i < n_changes; ++i) {
            change();
        }
        return write();
    }

private:
    choices &                                           choose;
    std::unique_ptr<gguf_context, decltype(&gguf_free)> gguf;
    std::vector<shape>                                  shapes;
    bool                                                layer_norm    = false;
    bool                                                gated         = true;
    bool                                                recurrent     = false;
    bool                                                gating        = false;
    uint32_t                                            n_layer       = 0;
    uint32_t                                            n_vocab       = 0;
    uint32_t                                            n_embd        = 0;
    uint32_t                                            n_ff          = 0;
    uint32_t                                            n_rot         = 0;
    uint32_t                                            n_head        = 0;
    uint32_t                                            n_head_kv     = 0;
    uint32_t                                            n_embd_head   = 0;
    uint32_t                                            n_mem         = 0;
    uint32_t                                            n_sink        = 0;
    uint32_t                                            n_position    = 0;
    uint32_t                                            n_feature     = 0;
    uint32_t                                            n_memory_head = 0;

    uint32_t set(const std::string & key, uint32_t value) {
        gguf_set_val_u32(gguf.get(), ("armt." + key).c_str(), value);
        return value;
    }

    void set(const std::string & key, float value) { gguf_set_val_f32(gguf.get(), ("armt." + key).c_str(), value); }

    void set(const std::string & key, const char * value) {
        gguf_set_val_str(gguf.get(), ("armt." + key).c_str(), value);
    }

    bool set_flag(const std::string & key, bool value) {
        gguf_set_val_bool(gguf.get(), ("armt." + key).c_str(), value);
        return value;
    }

    // Seldom there, and then mostly true
    bool set_rare_flag(const std::string & key) {
        const uint32_t kind = choose.below(8);
        return kind < 3 && set_flag(key, kind != 0);
    }

    void set_base() {
        gguf_set_val_str(gguf.get(), "general.architecture", "armt");
        gguf_set_val_str(gguf.get(), "tokenizer.ggml.model", "no_vocab");
        set("format_version", 4u);
        set("base_architecture", choose.one_of({"llama", "gpt2", "gpt_neox", "gemma3_text", "qwen3", "phi3"}));
        set("fingerprint", std::string(64, '0').c_str());
        set("context_length", 1u << 30);
        n_vocab                    = set("vocab_size", choose.number({32, 1, 2, 33, 300}));
        n_embd                     = set("embedding_length", choose.number({32, 64, 1, 2, 6, 8, 33, 256}));
        n_layer                    = set("block_count", choose.number({2, 1, 3, 4}));
        n_ff                       = set("feed_forward_length", choose.number({32, 64, 1, 2, 33, 256}));
        n_head_kv                  = set("attention.head_count_kv", choose.number({1, 2, 3, 4}));
        const bool     is_multiple = !choose.flag();
        const uint32_t n           = choose.number({1, 2, 3});
        n_head                     = set("attention.head_count", is_multiple ? n * n_head_kv : n);
        n_embd_head                = set("attention.key_length", choose.number({16, 32, 1, 2, 4, 6, 8, 33, 64, 256}));
        set("attention.value_length", choose.below(16) == 15 ? choose.number({1, 2, 8}) : n_embd_head);
        layer_norm = choose.flag();
        set(layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 1e-5f);
        set("activation", choose.one_of({"silu", "gelu", "gelu_tanh"}));
        gated = set_flag("feed_forward_gated", !choose.flag());
        set_rare_flag("use_parallel_residual");
        if (choose.below(4) == 3) {
            set("attention.sliding_window", choose.number({4, 1, 2, 3, 8, 64}));
        }
    }

    void set_positions() {
        if (choose.below(4) == 3) {
            n_position = set("position_count", choose.number({64, 1, 2, 20, 1024}));
            set_rare_flag("position_wrap");
            set_rare_flag("position_continues");
        }
        const uint32_t n = choose.flag() ? n_embd_head : choose.number({2, 4, 16, 1});
        if (n_position != 0) {
            return;
        }
        n_rot = set("rope.dimension_count", n);
        set("rope.freq_base", 1e4f);
        if (choose.below(8) == 7) {
            set("rope.scaling.type", choose.one_of({"linear", "none", "yarn", "longrope"}));
            set("rope.scaling.factor", 4.0f);
        }
        if (choose.below(4) == 3) {
            const size_t n = std::min(n_layer, 8u);
            bool         local[8];
            for (size_t i = 0; i < n; ++i) {
                local[i] = choose.flag();
            }
            gguf_set_arr_data(gguf.get(), "armt.rope.local_layers", GGUF_TYPE_BOOL, local, n);
            set("rope.local_freq_base", 1e3f);
        }
    }

    // Thousands of rows are a good model, but take longer than one input may
    uint32_t rows(std::initializer_list<uint32_t> usual) {
        const uint32_t n = choose.number(usual);
        return n > 512 && n <= 1u << 20 ? n % 512 + 1 : n;
    }

    void set_memory() {
        set("segment_alignment", "left");
        set("segment_size", rows({4, 1, 2, 3, 8, 16, 33}));
        n_mem     = set("memory.token_count", rows({2, 1, 3, 4, 8, 17}));
        recurrent = choose.below(8) == 7;
        if (recurrent) {
            set("memory.kind", "recurrent");
        } else {
            set("memory.dpfp_order", 3u);
            n_memory_head              = set("memory.head_count", choose.number({1, 2, 3, 4, 32}));
            const bool     is_multiple = !choose.flag();
            const uint32_t n           = choose.number({8, 1, 2, 3, 16, 32, 33});
            n_feature                  = set("memory.key_length", is_multiple ? n * n_memory_head : n);
            set_flag("memory.normalize_keys", choose.flag());
            set_flag("memory.use_denom", choose.flag());
            set_flag("memory.correction", choose.flag());
            gating = set_flag("memory.gating", choose.flag());
        }
        if (choose.below(8) == 7) {
            n_sink = set("sink_count", choose.number({1, 1, 1, 0, 2}));
        }
        if (set_rare_flag("attention.previous_segment") && choose.flag()) {
            set("attention.previous_segment_positions", choose.one_of({"continued", "restarted", "apart"}));
        }
        if (choose.below(8) == 7) {
            set_flag("memory.attends_to_text", false);
        }
        set_rare_flag("memory.mutual");
        set_rare_flag("memory.disjoint");
        set_rare_flag("reread_previous");
    }

    // This package refuses the types that hold no weights before libllama reads a file: ggml multiplies by none of
    // them.
    ggml_type any_type() {
        const ggml_type type = ggml_type(choose.below(GGML_TYPE_COUNT));
        switch (type) {
            case GGML_TYPE_I8:
            case GGML_TYPE_I16:
            case GGML_TYPE_I32:
            case GGML_TYPE_I64:
            case GGML_TYPE_F64:
            case GGML_TYPE_Q8_1:
            case GGML_TYPE_Q8_K: return GGML_TYPE_F32;
            default: return type;
        }
    }

    ggml_type matrix_type(int64_t n) {
        static constexpr ggml_type usual[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                                              GGML_TYPE_Q4_0};
        const uint32_t             i       = choose.below(16);
        const ggml_type            type    = i < 15 ? usual[i % 5] : any_type();
        return ggml_blck_size(type) > 0 && n % ggml_blck_size(type) == 0 ? type : GGML_TYPE_F16;
    }

    void add(const std::string & name, ggml_type type, const std::vector<int64_t> & ne) {
        shapes.push_back({name, type, ne});
    }

    void add_optional(const std::string & name, const std::vector<int64_t> & ne) {
        if (choose.below(4) == 3) {
            add(name, GGML_TYPE_F32, ne);
        }
    }

    // A stack of all layers, or two of them
    void add_stack(const std::string & kind, std::vector<int64_t> ne) {
        const bool     is_vector = ne.size() == 1;
        const uint32_t first     = n_layer > 1 && choose.below(8) == 7 ? 1 : n_layer;
        ne.push_back(first);
        add("blk.0." + kind, is_vector ? GGML_TYPE_F32 : matrix_type(ne[0]), ne);
        if (first < n_layer) {
            ne.back() = n_layer - first;
            add("blk." + std::to_string(first) + "." + kind, is_vector ? GGML_TYPE_F32 : matrix_type(ne[0]), ne);
        }
    }

    void add_optional_stack(const std::string & kind, const std::vector<int64_t> & ne) {
        if (choose.below(4) == 3) {
            add_stack(kind, ne);
        }
    }

    void add_tensors() {
        const int64_t n_qkv  = int64_t((uint64_t(n_head) + 2 * uint64_t(n_head_kv)) * n_embd_head);
        const int64_t n_q    = int64_t(uint64_t(n_head) * n_embd_head);
        const int64_t n_up   = gated ? 2 * int64_t(n_ff) : n_ff;
        const int64_t n_beta = gating ? n_embd : n_memory_head;

        add("token_embd.weight", matrix_type(n_embd), {n_embd, n_vocab});
        add("memory_embd.weight", choose.flag() ? GGML_TYPE_F32 : GGML_TYPE_F16, {n_embd, int64_t(n_mem) + n_sink});
        if (n_position != 0) {
            add("position_embd.weight", GGML_TYPE_F32, {n_embd, n_position});
        }
        add("output_norm.weight", GGML_TYPE_F32, {n_embd});
        if (choose.flag()) {
            add("output.weight", matrix_type(n_embd), {n_embd, n_vocab});
        }
        if (n_rot != 0) {
            add_optional("rope_freqs.weight", {n_rot / 2});
        }
        add_stack("attn_norm.weight", {n_embd});
        if (layer_norm) {
            add("output_norm.bias", GGML_TYPE_F32, {n_embd});
            add_stack("attn_norm.bias", {n_embd});
            add_stack("ffn_norm.bias", {n_embd});
        }
        add_stack("attn_qkv.weight", {n_embd, n_qkv});
        add_optional_stack("attn_qkv.bias", {n_qkv});
        if (choose.below(4) == 3) {
            add_stack("attn_q_norm.weight", {n_embd_head});
            add_stack("attn_k_norm.weight", {n_embd_head});
        }
        add_stack("attn_output.weight", {n_q, n_embd});
        add_optional_stack("attn_output.bias", {n_embd});
        add_optional_stack("post_attention_norm.weight", {n_embd});
        add_optional_stack("post_ffw_norm.weight", {n_embd});
        add_stack("ffn_norm.weight", {n_embd});
        add_stack("ffn_up.weight", {n_embd, n_up});
        add_optional_stack("ffn_up.bias", {n_up});
        add_stack("ffn_down.weight", {n_ff, n_embd});
        add_optional_stack("ffn_down.bias", {n_embd});
        if (!recurrent) {
            add_stack("memory_q.weight", {n_embd, n_feature});
            add_stack("memory_k.weight", {n_embd, n_feature});
            add_stack("memory_v.weight", {n_embd, n_embd});
            add_stack("memory_b.weight", {n_embd, n_beta});
            add_stack("memory_b.bias", {n_beta});
        }
    }

    void change() {
        const size_t at     = choose.below(uint32_t(shapes.size()));
        shape &      tensor = shapes[at];
        int64_t &    n      = tensor.ne[choose.below(uint32_t(tensor.ne.size()))];
        switch (choose.below(8)) {
            case 0: n = int64_t(uint64_t(n) + 1); break;
            case 1: n = int64_t(uint64_t(n) - 1); break;
            case 2: n = int64_t(uint64_t(n) * 2); break;
            case 3: std::reverse(tensor.ne.begin(), tensor.ne.end()); break;
            case 4: tensor.ne.push_back(1 + choose.below(2)); break;
            case 5: tensor.type = any_type(); break;
            case 6: n = choose.number({0, 1, 2, 3}); break;
            default: shapes.erase(shapes.begin() + ptrdiff_t(at));
        }
    }

    std::vector<uint8_t> write() {
        size_t n_data = 0;
        for (const shape & each : shapes) {
            ggml_tensor tensor = {};
            tensor.type        = each.type;
            if (ggml_blck_size(tensor.type) <= 0) {
                tensor.type = GGML_TYPE_F32; // no type has this number
            }
            size_t nb = ggml_type_size(tensor.type);
            for (size_t i = 0; i < GGML_MAX_DIMS; ++i) {
                tensor.ne[i] = i < each.ne.size() ? each.ne[i] : 1;
                tensor.nb[i] = nb;
                nb *= size_t(tensor.ne[i]) / (i == 0 ? size_t(ggml_blck_size(tensor.type)) : 1);
            }
            ggml_set_name(&tensor, each.name.c_str());
            gguf_add_tensor(gguf.get(), &tensor);
            n_data += GGML_PAD(std::min(ggml_nbytes(&tensor), MAX_SIZE), GGUF_DEFAULT_ALIGNMENT);
        }
        const size_t         n_meta = gguf_get_meta_size(gguf.get());
        std::vector<uint8_t> file(n_meta + std::min(n_data, MAX_SIZE), WEIGHT);
        gguf_get_meta_data(gguf.get(), file.data());
        return file;
    }
};

} // namespace

std::vector<uint8_t> build_gguf(choices & choose) {
    return builder(choose).build();
}
