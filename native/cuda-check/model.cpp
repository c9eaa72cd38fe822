#include "model.h"

#include "gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

// Each number depends on the seed, the tensor and its place alone, so the number of threads makes no difference.
static uint32_t mix(uint64_t x) {
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return uint32_t(x >> 32);
}

// about normal: a sum of four uniform numbers
static float random_number(uint64_t key) {
    const uint32_t a = mix(key);
    const uint32_t b = mix(key ^ 0x9e3779b97f4a7c15ull);
    const float    s = float((a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16)) / 65536.0f;
    return (s - 2.0f) * 1.7320508f;
}

// rounded: a type that the numbers are rounded to first
static void fill(ggml_tensor * t, ggml_type rounded, uint64_t seed, float deviation, float mean) {
    const int64_t n      = ggml_nelements(t);
    const int64_t n_row  = t->ne[0];
    const int64_t n_rows = n / n_row;
    const auto    work   = [&](int64_t first, int64_t last) {
        std::vector<float> row(n_row);
        for (int64_t ir = first; ir < last; ++ir) {
            for (int64_t i = 0; i < n_row; ++i) {
                row[i] = mean + deviation * random_number((seed << 40) ^ uint64_t(ir * n_row + i));
            }
            char * to = (char *) t->data + ir * t->nb[1];
            if (rounded != t->type) {
                std::vector<char> narrow(ggml_row_size(rounded, n_row));
                ggml_quantize_chunk(rounded, row.data(), narrow.data(), 0, 1, n_row, nullptr);
                ggml_get_type_traits(rounded)->to_float(narrow.data(), row.data(), n_row);
            }
            if (t->type == GGML_TYPE_F32) {
                memcpy(to, row.data(), n_row * sizeof(float));
            } else {
                ggml_quantize_chunk(t->type, row.data(), to, 0, 1, n_row, nullptr);
            }
        }
    };
    const int64_t            n_threads = std::max(1u, std::thread::hardware_concurrency());
    std::vector<std::thread> threads;
    for (int64_t i = 0; i < n_threads; ++i) {
        threads.emplace_back(work, n_rows * i / n_threads, n_rows * (i + 1) / n_threads);
    }
    for (std::thread & thread : threads) {
        thread.join();
    }
}

void write_random_model(const random_model & m, bool base, const std::string & path) {
    gguf_context *    gguf = gguf_init_empty();
    const std::string arch = base ? "llama" : "armt";
    const auto        u32  = [&](const std::string & key, uint32_t value) {
        gguf_set_val_u32(gguf, (arch + "." + key).c_str(), value);
    };
    const auto text = [&](const std::string & key, const std::string & value) {
        gguf_set_val_str(gguf, key.c_str(), value.c_str());
    };
    const auto flag = [&](const std::string & key, bool value) {
        gguf_set_val_bool(gguf, (arch + "." + key).c_str(), value);
    };

    text("general.architecture", arch);
    text("tokenizer.ggml.model", "no_vocab");
    u32("vocab_size", m.n_vocab);
    u32("context_length", 1u << 30);
    u32("embedding_length", m.n_embd);
    u32("block_count", m.n_layer);
    u32("feed_forward_length", m.n_ff);
    u32("attention.head_count", m.n_head);
    u32("attention.head_count_kv", m.n_head_kv);
    u32("attention.key_length", m.head_size);
    u32("attention.value_length", m.head_size);
    u32("rope.dimension_count", m.head_size);
    gguf_set_val_f32(gguf, (arch + ".attention.layer_norm_rms_epsilon").c_str(), 1e-5f);
    gguf_set_val_f32(gguf, (arch + ".rope.freq_base").c_str(), 500000.0f);
    if (!base) {
        u32("format_version", 1);
        text("armt.base_architecture", "llama");
        text("armt.fingerprint", std::string(64, '0'));
        text("armt.segment_alignment", "left");
        u32("segment_size", m.n_segment);
        u32("memory.token_count", m.n_mem);
        u32("memory.key_length", m.d_mem);
        u32("memory.dpfp_order", 3);
        u32("memory.head_count", 1);
        flag("memory.normalize_keys", m.normalize);
        flag("memory.use_denom", true);
        flag("memory.correction", true);
        flag("memory.gating", false);
    }

    ggml_context * ctx =
        ggml_init({ggml_tensor_overhead() * (16 * m.n_layer + 32) + size_t(8) * m.n_vocab * m.n_embd +
                       size_t(m.n_layer) * 4 * (size_t(m.n_embd) * (3 * m.n_ff + 6 * m.n_embd + 2 * m.d_mem + 64)),
                   nullptr, false});
    if (ctx == nullptr) {
        throw std::runtime_error("not enough memory for a random model");
    }
    uint64_t   n_made = uint64_t(m.seed) << 12;
    const auto add    = [&](const std::string & name, ggml_type type, std::vector<int64_t> ne, float deviation,
                         float mean = 0.0f) {
        ggml_tensor * t = ggml_new_tensor(ctx, m.as_f32 ? GGML_TYPE_F32 : type, int(ne.size()), ne.data());
        ggml_set_name(t, name.c_str());
        fill(t, type, ++n_made, deviation, mean);
        gguf_add_tensor(gguf, t);
    };
    const ggml_type narrow  = ggml_is_quantized(m.type) ? GGML_TYPE_F16 : m.type; // of the memory's weights
    const ggml_type memory  = m.quantized_memory ? m.type : narrow;               // of its projections
    const int64_t   n_embd  = m.n_embd;
    const int64_t   n_q     = int64_t(m.n_head) * m.head_size;
    const int64_t   n_kv    = int64_t(m.n_head_kv) * m.head_size;
    const int64_t   n_layer = m.n_layer;
    const float     in      = 1.0f / sqrtf(float(n_embd));

    add("token_embd.weight", m.type, {n_embd, m.n_vocab}, 2.0f * in);
    add("output_norm.weight", GGML_TYPE_F32, {n_embd}, 0.1f, 1.0f);
    if (base) {
        for (int64_t il = 0; il < n_layer; ++il) {
            const std::string blk = "blk." + std::to_string(il) + ".";
            add(blk + "attn_norm.weight", GGML_TYPE_F32, {n_embd}, 0.1f, 1.0f);
            add(blk + "attn_q.weight", m.type, {n_embd, n_q}, in);
            add(blk + "attn_k.weight", m.type, {n_embd, n_kv}, in);
            add(blk + "attn_v.weight", m.type, {n_embd, n_kv}, in);
            add(blk + "attn_output.weight", m.type, {n_q, n_embd}, in);
            add(blk + "ffn_norm.weight", GGML_TYPE_F32, {n_embd}, 0.1f, 1.0f);
            add(blk + "ffn_gate.weight", m.type, {n_embd, m.n_ff}, in);
            add(blk + "ffn_up.weight", m.type, {n_embd, m.n_ff}, in);
            add(blk + "ffn_down.weight", m.type, {m.n_ff, n_embd}, 1.0f / sqrtf(float(m.n_ff)));
        }
    } else {
        // all layers in one stack
        add("memory_embd.weight", narrow, {n_embd, m.n_mem}, 0.5f);
        add("blk.0.attn_norm.weight", GGML_TYPE_F32, {n_embd, n_layer}, 0.1f, 1.0f);
        add("blk.0.attn_qkv.weight", m.type, {n_embd, n_q + 2 * n_kv, n_layer}, in);
        add("blk.0.attn_output.weight", m.type, {n_q, n_embd, n_layer}, in);
        add("blk.0.ffn_norm.weight", GGML_TYPE_F32, {n_embd, n_layer}, 0.1f, 1.0f);
        add("blk.0.ffn_up.weight", m.type, {n_embd, 2 * int64_t(m.n_ff), n_layer}, in);
        add("blk.0.ffn_down.weight", m.type, {m.n_ff, n_embd, n_layer}, 1.0f / sqrtf(float(m.n_ff)));
        // scales at which rounding does not grow over segments, see src/tiny/weights.ts
        add("blk.0.memory_q.weight", memory, {n_embd, m.d_mem, n_layer}, (m.large_queries ? 1e5f : 0.5f) * in);
        add("blk.0.memory_k.weight", memory, {n_embd, m.d_mem, n_layer}, 0.5f * in);
        add("blk.0.memory_v.weight", memory, {n_embd, n_embd, n_layer}, 0.5f * in);
        add("blk.0.memory_b.weight", narrow, {n_embd, 1, n_layer}, 0.5f * in);
        add("blk.0.memory_b.bias", GGML_TYPE_F32, {1, n_layer}, 0.5f, m.n_mem > 64 ? -4.0f : -2.0f);
    }
    const bool ok = gguf_write_to_file(gguf, path.c_str(), false);
    gguf_free(gguf);
    ggml_free(ctx);
    if (!ok) {
        throw std::runtime_error("cannot write " + path);
    }
}
