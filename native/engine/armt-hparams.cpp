#include "armt-hparams.h"

#include "gguf.h"

#include <cmath>
#include <stdexcept>

// bounds segments and tables
static constexpr uint32_t MAX_ROWS = 1u << 20;

static int64_t find_key(const gguf_context * metadata, const std::string & key, gguf_type type) {
    const int64_t id = gguf_find_key(metadata, key.c_str());
    if (id < 0) {
        throw std::runtime_error("the model file lacks the key " + key + "; convert the checkpoint again");
    }
    if (gguf_get_kv_type(metadata, id) != type) {
        throw std::runtime_error("the key " + key +
                                 " of the model file has the wrong type; convert the checkpoint again");
    }
    return id;
}

static uint32_t get_u32(const gguf_context * metadata, const std::string & key, uint32_t min, uint32_t max) {
    const uint32_t value = gguf_get_val_u32(metadata, find_key(metadata, key, GGUF_TYPE_UINT32));
    if (value < min || value > max) {
        throw std::runtime_error("the key " + key + " of the model file is " + std::to_string(value) +
                                 "; it has to be " + std::to_string(min) + " to " + std::to_string(max));
    }
    return value;
}

static bool get_bool(const gguf_context * metadata, const std::string & key) {
    return gguf_get_val_bool(metadata, find_key(metadata, key, GGUF_TYPE_BOOL));
}

static bool has_key(const gguf_context * metadata, const char * key) {
    return gguf_find_key(metadata, key) >= 0;
}

static float get_positive(const gguf_context * metadata, const std::string & key) {
    const float value = gguf_get_val_f32(metadata, find_key(metadata, key, GGUF_TYPE_FLOAT32));
    if (!std::isfinite(value) || value <= 0.0f) {
        throw std::runtime_error("the key " + key + " of the model file is " + std::to_string(value) +
                                 "; it has to be a positive number");
    }
    return value;
}

static armt_activation get_activation(const gguf_context * metadata) {
    const std::string name = gguf_get_val_str(metadata, find_key(metadata, "armt.activation", GGUF_TYPE_STRING));
    if (name == "silu") {
        return ARMT_ACTIVATION_SILU;
    }
    if (name == "gelu") {
        return ARMT_ACTIVATION_GELU;
    }
    if (name == "gelu_tanh") {
        return ARMT_ACTIVATION_GELU_TANH;
    }
    throw std::runtime_error("the key armt.activation of the model file is " + name +
                             "; it has to be silu, gelu or gelu_tanh");
}

static bool is_recurrent(const gguf_context * metadata) {
    if (!has_key(metadata, "armt.memory.kind")) {
        return false;
    }
    const std::string name = gguf_get_val_str(metadata, find_key(metadata, "armt.memory.kind", GGUF_TYPE_STRING));
    if (name != "associative" && name != "recurrent") {
        throw std::runtime_error("the key armt.memory.kind of the model file is " + name +
                                 "; it has to be associative or recurrent");
    }
    return name == "recurrent";
}

static armt_previous_positions get_previous_positions(const gguf_context * metadata) {
    const char *      key  = "armt.attention.previous_segment_positions";
    const std::string name = gguf_get_val_str(metadata, find_key(metadata, key, GGUF_TYPE_STRING));
    if (name == "continued") {
        return ARMT_PREVIOUS_CONTINUED;
    }
    if (name == "restarted") {
        return ARMT_PREVIOUS_RESTARTED;
    }
    if (name == "apart") {
        return ARMT_PREVIOUS_APART;
    }
    throw std::runtime_error(std::string("the key ") + key + " of the model file is " + name +
                             "; it has to be continued, restarted or apart");
}

void armt_base_hparams::load(const gguf_context * metadata, uint32_t n_embd_head, uint32_t n_layer) {
    const auto flag = [&](const char * key, bool otherwise) {
        return has_key(metadata, key) ? get_bool(metadata, key) : otherwise;
    };

    layer_norm      = has_key(metadata, "armt.attention.layer_norm_epsilon");
    activation      = has_key(metadata, "armt.activation") ? get_activation(metadata) : ARMT_ACTIVATION_SILU;
    gated           = flag("armt.feed_forward_gated", true);
    parallel        = flag("armt.use_parallel_residual", false);
    embedding_scale = has_key(metadata, "armt.embedding_scale") ? get_positive(metadata, "armt.embedding_scale") : 1.0f;
    attention_scale = has_key(metadata, "armt.attention.scale") ? get_positive(metadata, "armt.attention.scale")
                                                                : 1.0f / sqrtf(float(n_embd_head));
    splits_memory   = !flag("armt.memory.attends_to_text", true);
    n_window        = has_key(metadata, "armt.attention.sliding_window")
                          ? get_u32(metadata, "armt.attention.sliding_window", 1, INT32_MAX)
                          : 0;

    if (has_key(metadata, "armt.position_count")) {
        n_position     = get_u32(metadata, "armt.position_count", 1, MAX_ROWS);
        wrap_positions = flag("armt.position_wrap", false);
        continues      = flag("armt.position_continues", false);
        if (wrap_positions && continues) {
            throw std::runtime_error("armt.position_wrap cannot be combined with armt.position_continues");
        }
    }
    if (has_key(metadata, "armt.rope.local_layers")) {
        const int64_t id = find_key(metadata, "armt.rope.local_layers", GGUF_TYPE_ARRAY);
        if (gguf_get_arr_type(metadata, id) != GGUF_TYPE_BOOL || gguf_get_arr_n(metadata, id) != n_layer) {
            throw std::runtime_error("the key armt.rope.local_layers of the model file has to be an array of " +
                                     std::to_string(n_layer) + " booleans; convert the checkpoint again");
        }
        const bool * values = static_cast<const bool *>(gguf_get_arr_data(metadata, id));
        local_layers.assign(values, values + n_layer);
        local_freq_base = get_positive(metadata, "armt.rope.local_freq_base");
    }
}

void armt_hparams::load_memory(const gguf_context * metadata) {
    get_u32(metadata, "armt.memory.dpfp_order", ARMT_DPFP_ORDER, ARMT_DPFP_ORDER);
    n_feature = get_u32(metadata, "armt.memory.key_length", 1, MAX_ROWS);
    n_head    = get_u32(metadata, "armt.memory.head_count", 1, n_embd);
    if (n_feature % n_head != 0 || n_embd % n_head != 0) {
        throw std::runtime_error("armt.memory.head_count = " + std::to_string(n_head) +
                                 " does not divide both armt.memory.key_length = " + std::to_string(n_feature) +
                                 " and armt.embedding_length = " + std::to_string(n_embd));
    }

    if (2 * n_feature / n_head < ARMT_DPFP_ORDER) {
        throw std::runtime_error("armt.memory.key_length = " + std::to_string(n_feature) + " is too small for " +
                                 std::to_string(n_head) + " heads");
    }

    normalize_keys = get_bool(metadata, "armt.memory.normalize_keys");
    use_denom      = get_bool(metadata, "armt.memory.use_denom");
    correction     = get_bool(metadata, "armt.memory.correction");
    gating         = get_bool(metadata, "armt.memory.gating");
    if (has_key(metadata, "armt.memory.epsilon")) {
        epsilon = get_positive(metadata, "armt.memory.epsilon");
    }
}

void armt_hparams::load(const gguf_context * metadata, uint32_t n_embd_, uint32_t n_embd_head, uint32_t n_layer) {
    n_embd = n_embd_;
    base.load(metadata, n_embd_head, n_layer);

    get_u32(metadata, "armt.format_version", 1, 5);

    n_segment = get_u32(metadata, "armt.segment_size", 1, MAX_ROWS);
    n_mem     = get_u32(metadata, "armt.memory.token_count", 1, MAX_ROWS);

    recurrent = is_recurrent(metadata);
    if (recurrent) {
        use_denom = false;
    } else {
        load_memory(metadata);
    }

    n_sink = has_key(metadata, "armt.sink_count") ? get_u32(metadata, "armt.sink_count", 0, 1) : 0;
    sees_previous =
        has_key(metadata, "armt.attention.previous_segment") && get_bool(metadata, "armt.attention.previous_segment");
    if (has_key(metadata, "armt.attention.previous_segment_positions")) {
        previous_positions = get_previous_positions(metadata);
    }
    mutual_memory = has_key(metadata, "armt.memory.mutual") ? get_bool(metadata, "armt.memory.mutual") : sees_previous;
    disjoint      = has_key(metadata, "armt.memory.disjoint") && get_bool(metadata, "armt.memory.disjoint");
    rereads       = has_key(metadata, "armt.reread_previous") && get_bool(metadata, "armt.reread_previous");
    if (rereads && (n_sink != 0 || sees_previous || mutual_memory || disjoint || recurrent || base.continues)) {
        throw std::runtime_error(
            "armt.reread_previous cannot be combined with keys about other rows of a segment, such "
            "as armt.sink_count, armt.attention.previous_segment or armt.position_continues");
    }
    if (recurrent && (n_sink != 0 || sees_previous || mutual_memory || disjoint || base.wrap_positions ||
                      base.continues || base.splits_memory)) {
        throw std::runtime_error("armt.memory.kind = recurrent cannot be combined with keys about other rows of a "
                                 "segment, such as armt.sink_count or armt.attention.previous_segment");
    }
    if (disjoint && (base.n_position != 0 || sees_previous || n_sink != 0)) {
        throw std::runtime_error("armt.memory.disjoint cannot be combined with armt.position_count, "
                                 "armt.attention.previous_segment or armt.sink_count");
    }
    if (n_sink != 0 && (base.wrap_positions || base.splits_memory)) {
        throw std::runtime_error(
            "armt.sink_count cannot be combined with armt.position_wrap, nor with armt.memory.attends_to_text = false");
    }
    if (sees_previous && (base.n_position != 0 || base.splits_memory)) {
        throw std::runtime_error("armt.attention.previous_segment cannot be combined with armt.position_count, nor "
                                 "with armt.memory.attends_to_text = false");
    }

    if (recurrent) {
        n_sink = n_mem;
    }
    if (n_rows_max() != 0 && n_segment > n_text_max()) {
        throw std::runtime_error(
            "armt.segment_size = " + std::to_string(n_segment) +
            " and armt.memory.token_count = " + std::to_string(n_mem) +
            (n_sink != 0 || sees_previous || rereads ? ", with the sink and the segment before," : "") +
            " are more rows than the base model takes, " + std::to_string(n_rows_max()));
    }

    fingerprint = gguf_get_val_str(metadata, find_key(metadata, "armt.fingerprint", GGUF_TYPE_STRING));
}

uint32_t armt_hparams::n_text_max() const {
    const uint32_t n_rows = n_rows_max();
    const uint32_t n_more = n_mem + n_sink;
    return n_rows <= n_more ? 0 : (n_rows - n_more) / (sees_previous || rereads ? 2 : 1);
}
