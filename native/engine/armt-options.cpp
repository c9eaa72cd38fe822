#include "armt-options.h"

#include "armt-model.h"
#include "armt-names.h"

#include "ggml-backend.h"
#include "llama-cparams.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>

// How much an open segment may grow if no limit is given
static constexpr uint32_t DEFAULT_EXTENSION = 2048;

// Bounds what a context allocates for one sequence's open segment
static constexpr uint32_t MAX_SEGMENT = 1u << 20;

// A step of an open segment takes at least this many rows at once, however small the batches are.
static constexpr uint32_t MIN_STEP_ROWS = 512;

// The rest of a prompt, which stays in the open segment, joins the diagonals of the segments before it if its cells
// need no more padding rows than this to be as long as theirs. On an H100, LLaMA-3.2-1B's shape in bf16 gains with up
// to 256 padding rows (bench/results/h100-engine-2026-11-27.json, "rest with the rule off"). A larger model, whose rows
// take longer, gains with fewer: judging by the times of its schedules, 16 layers of LLaMA-3.1-8B's shape gain with up
// to about 60.
static constexpr uint32_t MAX_PADDING_ROWS = 128;

// The most sequences whose segments enter a shared diagonal in one step
static constexpr uint32_t MAX_TEXTS = 64;

static std::mutex           options_mutex;
static armt_context_options pending_options = {};

static void check(bool ok, const std::string & what) {
    if (!ok) {
        throw std::runtime_error(what);
    }
}

void armt_set_options(const armt_context_options & options) {
    check(options.schedule >= ARMT_SCHEDULE_AUTO && options.schedule <= ARMT_SCHEDULE_DIAGONAL,
          "schedule is " + std::to_string(options.schedule) +
              "; it has to be 0 (auto), 1 (sequential) or 2 (diagonal)");
    check(options.segment_overflow >= ARMT_SEGMENT_OVERFLOW_CLOSE &&
              options.segment_overflow <= ARMT_SEGMENT_OVERFLOW_ANSWER,
          "segmentOverflow is " + std::to_string(options.segment_overflow) +
              "; it has to be 0 (close), 1 (extend) or 2 (answer)");
    check(options.state_type >= ARMT_STATE_TYPE_F32 && options.state_type <= ARMT_STATE_TYPE_BF16,
          "stateType is " + std::to_string(options.state_type) + "; it has to be 0 (f32), 1 (f16) or 2 (bf16)");
    check(options.segment_size <= MAX_SEGMENT, "segmentSize is " + std::to_string(options.segment_size) +
                                                   " tokens; it can be " + std::to_string(MAX_SEGMENT) + " at most");
    check(options.open_segment_limit <= MAX_SEGMENT,
          "openSegmentLimit is " + std::to_string(options.open_segment_limit) + " tokens; it can be " +
              std::to_string(MAX_SEGMENT) + " at most");

    check(options.texts_per_layer >= -1 && options.texts_per_layer <= int32_t(MAX_TEXTS),
          "textsPerLayer is " + std::to_string(options.texts_per_layer) + "; it can be " + std::to_string(MAX_TEXTS) +
              " at most");

    check(options.precision >= ARMT_PRECISION_AUTO && options.precision <= ARMT_PRECISION_FP8,
          "precision is " + std::to_string(options.precision) + "; it has to be 0 (auto) or 1 (fp8)");
    check(options.fp8_products <= ARMT_PRODUCT_ALL, "fp8Products is " + std::to_string(options.fp8_products) +
                                                        "; it has to be a sum of 1 (qkv), 2 (o), 4 "
                                                        "(gate_up) and 8 (down)");
    check(options.fp8_products == 0 || options.precision == ARMT_PRECISION_FP8,
          "fp8Products is given, but precision is not \"fp8\"");

    const std::lock_guard<std::mutex> lock(options_mutex);
    pending_options = options;
}

armt_context_options armt_get_options() {
    const std::lock_guard<std::mutex> lock(options_mutex);
    return pending_options;
}

// Whether any layer is on a GPU or an RPC server; with some layers on the CPU, those are the first ones.
static bool is_gpu(const llama_model_armt & model) {
    const ggml_backend_dev_t dev = model.dev_layer(model.hparams.n_layer() - 1);
    return dev != nullptr && ggml_backend_dev_type(dev) != GGML_BACKEND_DEVICE_TYPE_CPU;
}

// One layer's product keeps a CPU busy, and the working set of a diagonal's batched products exceeds its caches. So the
// sequential schedule is as fast there and needs no pipeline. On a GPU one cell fills a fraction of the device (arXiv
// 2506.05229, fig. 1).
static bool pays_off(const llama_model_armt & model) {
    return is_gpu(model);
}

// Whether a CPU multiplies each layer alone, because its weights are packed, see armt_weight. A diagonal then shares no
// product: it would only add steps, and rows in flight.
static bool is_layer_by_layer(const llama_model_armt & model) {
    return !is_gpu(model) && model.n_widest() == 1;
}

static uint32_t resolve_max_cells(const armt_context_options & options, const llama_model_armt & model) {
    const uint32_t n_layer = model.hparams.n_layer();
    if (is_layer_by_layer(model)) {
        return 1;
    }
    if (options.max_cells != 0) {
        return std::min(options.max_cells, n_layer);
    }
    // a CPU gains nothing from wide products, and keeps the activations of few cells in its caches
    return pays_off(model) ? n_layer : 1;
}

// For a resolved schedule and segment. Sequences do not share diagonals if a cell needs more of the segment before than
// the memory, or if the layers are on several devices.
static uint32_t resolve_lanes(const armt_context_options & options, const llama_model_armt & model,
                              const armt_config & config, uint32_t n_seq_max) {
    const armt_hparams & armt = model.armt;
    for (uint32_t il = 1; il < config.n_layer; ++il) {
        if (model.dev_layer(il) != model.dev_layer(0)) {
            return 0;
        }
    }
    if (!config.diagonal || n_seq_max == 1 || options.texts_per_layer < 0 || armt.sees_previous || armt.rereads ||
        armt.disjoint) {
        return 0;
    }
    // more than 1 gained nothing on any machine
    return options.texts_per_layer > 0 ? std::min(uint32_t(options.texts_per_layer), n_seq_max) : 1;
}

static bool has_fp8(ggml_backend_dev_t dev) {
    const ggml_backend_reg_t reg   = ggml_backend_dev_backend_reg(dev);
    const auto               query = reinterpret_cast<bool (*)(size_t)>(
        ggml_backend_reg_get_proc_address(reg, ARMT_NAME_HAS_FP8)); // patches/ggml-cuda adds it
    check(query != nullptr, "precision is \"fp8\", but there are layers on " + std::string(ggml_backend_dev_name(dev)) +
                                ", whose backend has no products in e4m3; only the tuned CUDA backend has them, on "
                                "NVIDIA GPUs from compute capability 8.9 on: run `npx armt build --gpu cuda --tuned` "
                                "and put all layers there, or leave the option out");
    for (size_t i = 0; i < ggml_backend_reg_dev_count(reg); ++i) {
        if (ggml_backend_reg_dev_get(reg, i) == dev) {
            return query(i);
        }
    }
    return false;
}

static uint32_t resolve_fp8(const armt_context_options & options, const llama_model_armt & model) {
    if (options.precision != ARMT_PRECISION_FP8) {
        return 0;
    }
    for (uint32_t il = 0; il < model.hparams.n_layer(); ++il) {
        const ggml_backend_dev_t dev = model.dev_layer(il);
        check(has_fp8(dev), "precision is \"fp8\", but " + std::string(ggml_backend_dev_description(dev)) +
                                " has no products in e4m3; they need compute capability 8.9 or newer: leave the option "
                                "out, or put all layers on such a GPU");
    }
    return options.fp8_products != 0 ? options.fp8_products : uint32_t(ARMT_PRODUCT_DEFAULT);
}

armt_config armt_resolve_config(const armt_context_options & options, const llama_model_armt & model,
                                const llama_cparams & cparams) {
    armt_config config;
    config.automatic = options.schedule == ARMT_SCHEDULE_AUTO;
    config.diagonal  = config.automatic ? pays_off(model) : options.schedule == ARMT_SCHEDULE_DIAGONAL;
    check(!model.armt.recurrent || options.schedule != ARMT_SCHEDULE_DIAGONAL,
          "schedule is \"diagonal\", but the model is plain RMT: a segment begins with what the last layer made of the "
          "segment before; take \"sequential\"");
    config.diagonal  = config.diagonal && !model.armt.recurrent && !is_layer_by_layer(model);
    config.extend    = options.segment_overflow == ARMT_SEGMENT_OVERFLOW_EXTEND;
    config.n_layer   = model.hparams.n_layer();
    config.n_mem     = model.armt.n_mem;
    config.n_sink    = model.armt.n_sink;
    config.n_segment = options.segment_size != 0 ? options.segment_size : model.armt.n_segment;

    // text rows for which the base model's positions or attention window have room
    const uint32_t n_rows_max = model.armt.n_rows_max();
    const uint32_t n_text_max = model.armt.n_text_max();

    check(!config.extend || !(model.armt.sees_previous || model.armt.rereads),
          "segmentOverflow is \"extend\", which is not defined for a model whose segments go back into the segment "
          "before; take \"close\"");

    config.n_position = model.armt.base.continues ? model.armt.base.n_position : 0;
    check(!config.extend || config.n_position == 0,
          "segmentOverflow is \"extend\", which is not defined for a model whose positions run on; take \"close\"");

    // the default of some models, which must not refuse any
    config.grows_if_told = options.segment_overflow == ARMT_SEGMENT_OVERFLOW_ANSWER && config.n_position == 0 &&
                           !model.armt.sees_previous && !model.armt.rereads;
    config.extend = config.extend || config.grows_if_told;

    config.n_segment_max = config.n_segment;
    if (config.extend) {
        config.n_segment_max =
            options.open_segment_limit != 0 ? options.open_segment_limit : config.n_segment + DEFAULT_EXTENSION;
        if (options.open_segment_limit == 0 && n_text_max != 0) {
            config.n_segment_max = std::max(config.n_segment, std::min(config.n_segment_max, n_text_max));
        }
        check(config.n_segment_max >= config.n_segment,
              "openSegmentLimit is " + std::to_string(options.open_segment_limit) +
                  " tokens; it has to be at least the segment size, " + std::to_string(config.n_segment));
    }
    check(n_rows_max == 0 || config.n_segment_max <= n_text_max,
          std::string(config.n_segment_max == config.n_segment ? "segmentSize" : "openSegmentLimit") + " is " +
              std::to_string(config.n_segment_max) + " tokens; " +
              (model.armt.base.n_position != 0 ? "the base model's position table"
                                               : "the base model's attention window") +
              " has " + std::to_string(n_rows_max) + " rows, which leaves " + std::to_string(n_text_max) +
              " with the memory tokens");
    config.n_reread_max = model.armt.rereads ? config.n_segment : 0;
    config.n_rows_max   = std::min(config.n_segment_max, std::max(cparams.n_ubatch, MIN_STEP_ROWS));
    // At other lengths CUDA's attention neither skips masked tiles nor shares K/V among grouped heads. A CPU computes
    // all masked rows, so there the multiple is small.
    config.n_kv_multiple = is_gpu(model) ? 256 : 32;
    config.n_prev_max    = model.armt.sees_previous ? GGML_PAD(config.n_segment, config.n_kv_multiple) : 0;
    config.max_cells     = resolve_max_cells(options, model);
    // cells gain nothing from running together if they are multiplied one by one
    config.n_padding_max = config.max_cells > 1 ? MAX_PADDING_ROWS : 0;
    config.n_prev_gap    = model.armt.previous_positions == ARMT_PREVIOUS_APART ? config.n_sink + config.n_mem : 0;
    config.restarts      = model.armt.previous_positions == ARMT_PREVIOUS_RESTARTED;
    config.n_kv_max =
        config.n_prev_max + GGML_PAD(config.n_sink + config.n_reread_max + config.n_segment_max + config.n_mem, 256);
    config.n_lanes      = resolve_lanes(options, model, config, cparams.n_seq_max);
    config.fp8_products = resolve_fp8(options, model);
    return config;
}

ggml_type armt_resolve_state_type(const armt_context_options & options) {
    // clang-format off
    switch (options.state_type) {
        case ARMT_STATE_TYPE_F16:  return GGML_TYPE_F16;
        case ARMT_STATE_TYPE_BF16: return GGML_TYPE_BF16;
        default:                   return GGML_TYPE_F32;
    }
    // clang-format on
}
