#include "armt-hparams.h"

#include "gguf.h"

#include <stdexcept>

static int64_t find_key(const gguf_context * metadata, const std::string & key, gguf_type type) {
    const int64_t id = gguf_find_key(metadata, key.c_str());
    if (id < 0) {
        throw std::runtime_error("the model file lacks the key " + key + "; convert the checkpoint again");
    }
    if (gguf_get_kv_type(metadata, id) != type) {
        throw std::runtime_error("the key " + key + " of the model file has a wrong type; convert the checkpoint again");
    }
    return id;
}

static uint32_t get_u32(const gguf_context * metadata, const std::string & key, uint32_t min, uint32_t max) {
    const uint32_t value = gguf_get_val_u32(metadata, find_key(metadata, key, GGUF_TYPE_UINT32));
    if (value < min || value > max) {
        throw std::runtime_error("the key " + key + " of the model file is " + std::to_string(value) + "; it has to be " + std::to_string(min) + " to " +
                                 std::to_string(max));
    }
    return value;
}

static bool get_bool(const gguf_context * metadata, const std::string & key) {
    return gguf_get_val_bool(metadata, find_key(metadata, key, GGUF_TYPE_BOOL));
}

void armt_hparams::load(const gguf_context * metadata, uint32_t n_embd) {
    constexpr uint32_t max_rows = 1u << 20;

    get_u32(metadata, "armt.format_version", 1, 1);
    get_u32(metadata, "armt.memory.dpfp_order", ARMT_DPFP_ORDER, ARMT_DPFP_ORDER);

    n_segment = get_u32(metadata, "armt.segment_size", 1, max_rows);
    n_mem     = get_u32(metadata, "armt.memory.token_count", 1, max_rows);
    n_feature = get_u32(metadata, "armt.memory.key_length", 1, max_rows);
    n_head    = get_u32(metadata, "armt.memory.head_count", 1, n_embd);
    if (n_feature % n_head != 0 || n_embd % n_head != 0) {
        throw std::runtime_error("armt.memory.head_count = " + std::to_string(n_head) + " divides not both of armt.memory.key_length = " +
                                 std::to_string(n_feature) + " and armt.embedding_length = " + std::to_string(n_embd));
    }

    if (2 * n_feature / n_head < ARMT_DPFP_ORDER) {
        throw std::runtime_error("armt.memory.key_length = " + std::to_string(n_feature) + " is too small for " + std::to_string(n_head) + " heads");
    }

    normalize_keys = get_bool(metadata, "armt.memory.normalize_keys");
    use_denom      = get_bool(metadata, "armt.memory.use_denom");
    correction     = get_bool(metadata, "armt.memory.correction");
    gating         = get_bool(metadata, "armt.memory.gating");

    fingerprint = gguf_get_val_str(metadata, find_key(metadata, "armt.fingerprint", GGUF_TYPE_STRING));
}
