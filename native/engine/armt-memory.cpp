#include "armt-memory.h"

#include "armt-error.h"
#include "armt-hooks.h"
#include "armt-inputs.h"
#include "armt-names.h"
#include "armt-options.h"
#include "armt-registry.h"

#include "llama-context.h"
#include "llama-cparams.h"
#include "llama-impl.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

// Numbers of a mask that are made at once
static constexpr uint32_t MASK_PART = 1u << 20;

static const llama_model_armt & check_params(const llama_model_armt & model, const llama_memory_params & params,
                                             const llama_cparams & cparams) {
    if (cparams.embeddings) {
        throw std::runtime_error("ARMT models produce no embeddings; create the context without them");
    }
    if (params.mem_other != nullptr || params.ctx_type != LLAMA_CONTEXT_TYPE_DEFAULT) {
        throw std::runtime_error("the context of an ARMT model cannot share its memory with another context");
    }
    return model;
}

llama_memory_armt::llama_memory_armt(const llama_model_armt & model, const llama_memory_params & params,
                                     const llama_cparams & cparams)
    : model(check_params(model, params, cparams)), config(armt_resolve_config(armt_get_options(), model, cparams)),
      sequences(cparams.n_seq_max), published_stats(cparams.n_seq_max) {
    create_tensors(params.type_k, params.type_v, armt_resolve_state_type(armt_get_options()), cparams.offload_kqv);
}

llama_memory_armt::~llama_memory_armt() {
    if (id != 0) {
        armt_unregister(id);
        armt_drop_sequence_errors(id);
    }
}

void llama_memory_armt::attach(llama_context * context) {
    lctx = context;

    const ggml_backend_dev_t dev = model.dev_layer(0);
    if (dev != nullptr) {
        // patches/ggml-cuda adds this function
        backend_replays = reinterpret_cast<uint64_t (*)()>(
            ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(dev), ARMT_NAME_GRAPH_REPLAYS));
    }
    // contexts that only estimate sizes are not registered
    if (!model.hparams.no_alloc) {
        id = armt_register(this);
    }
}

//
// devices
//

// A function that our RPC backend has; nullptr for a backend of another kind
template <typename F> static F rpc_function(ggml_backend_t backend, const char * name) {
    const ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend));
    return strcmp(ggml_backend_reg_name(reg), ARMT_NAME_RPC) != 0
               ? nullptr
               : reinterpret_cast<F>(ggml_backend_reg_get_proc_address(reg, name));
}

void llama_memory_armt::check_devices() const {
    const ggml_backend_sched_t sched = lctx->get_sched();
    for (int i = 0; sched != nullptr && i < ggml_backend_sched_get_n_backends(sched); ++i) {
        const ggml_backend_t backend = ggml_backend_sched_get_backend(sched, i);
        const auto           failure = rpc_function<const char * (*) (ggml_backend_t)>(backend, ARMT_NAME_RPC_FAILURE);
        if (failure != nullptr && failure(backend) != nullptr) {
            armt_set_error(id, failure(backend)); // not every caller in llama.cpp passes an exception on
            throw std::runtime_error(failure(backend));
        }
    }
}

std::string llama_memory_armt::servers() const {
    const ggml_backend_sched_t sched = lctx->get_sched();
    std::string                names;
    for (int i = 0; sched != nullptr && i < ggml_backend_sched_get_n_backends(sched); ++i) {
        const ggml_backend_t backend = ggml_backend_sched_get_backend(sched, i);
        if (rpc_function<void *>(backend, ARMT_NAME_RPC_FAILURE) != nullptr) {
            names += (names.empty() ? "" : ", ") +
                     std::string(ggml_backend_dev_description(ggml_backend_get_device(backend)));
        }
    }
    return names;
}

uint32_t llama_memory_armt::get_devices(armt_device_info * devices, uint32_t n) const {
    using times_t                    = bool (*)(ggml_backend_t, uint64_t *, uint64_t *);
    const ggml_backend_sched_t sched = lctx->get_sched();
    for (uint32_t i = 0; i < std::min(n, uint32_t(groups.size())); ++i) {
        const layer_group &      group = groups[i];
        const ggml_backend_dev_t dev   = model.dev_layer(group.layer0);
        armt_device_info &       info  = devices[i];
        info                           = {};
        info.layer0                    = group.layer0;
        info.layer1                    = group.layer1;
        snprintf(info.name, sizeof(info.name), "%s", ggml_backend_dev_name(dev));
        for (int ib = 0; ib < ggml_backend_sched_get_n_backends(sched); ++ib) {
            const ggml_backend_t backend = ggml_backend_sched_get_backend(sched, ib);
            const times_t        times   = rpc_function<times_t>(backend, ARMT_NAME_RPC_TIMES);
            if (ggml_backend_get_device(backend) == dev && times != nullptr) {
                snprintf(info.name, sizeof(info.name), "%s", ggml_backend_dev_description(dev));
                info.has_times = times(backend, &info.work_us, &info.wait_us) ? 1 : 0;
            }
        }
    }
    return uint32_t(groups.size());
}

//
// tensors
//

uint32_t llama_memory_armt::n_value_rows() const {
    if (model.armt.recurrent) {
        return model.armt.n_mem;
    }
    return model.hparams.n_embd / model.armt.n_head + (model.armt.use_denom ? 1 : 0);
}

void llama_memory_armt::create_tensors(ggml_type type_k, ggml_type type_v, ggml_type type_state, bool offload) {
    const auto &  hparams = model.hparams;
    const int64_t n_seq   = sequences.size();
    const int64_t n_lanes = config.n_lanes;

    std::map<ggml_backend_buffer_type_t, ggml_context_ptr> ctxs;
    const auto                                             ctx_of = [&](ggml_backend_buffer_type_t buft) {
        ggml_context_ptr & ctx = ctxs[buft];
        if (!ctx) {
            ctx.reset(ggml_init({ggml_tensor_overhead() * 13 * config.n_layer, nullptr, true}));
        }
        return ctx.get();
    };
    const auto buft_of = [&](uint32_t il, bool on_device) {
        return on_device ? ggml_backend_dev_buffer_type(model.dev_layer(il)) : ggml_backend_cpu_buffer_type();
    };

    for (uint32_t il = 0, end = 0; il < config.n_layer; il = end) {
        while (end < config.n_layer && model.dev_layer(end) == model.dev_layer(il)) {
            ++end;
        }
        layer_group group = {};
        group.layer0      = il;
        group.layer1      = end;

        ggml_context * ctx_kv = ctx_of(buft_of(il, offload));
        group.k = ggml_new_tensor_4d(ctx_kv, type_k, hparams.n_embd_k_gqa(il), config.n_kv_max, n_seq, end - il);
        group.v = ggml_new_tensor_4d(ctx_kv, type_v, hparams.n_embd_v_gqa(il), config.n_kv_max, n_seq, end - il);
        ggml_format_name(group.k, "cache_k_l%u", il);
        ggml_format_name(group.v, "cache_v_l%u", il);

        if (n_lanes > 0) {
            group.lane_k = ggml_new_tensor_4d(ctx_kv, type_k, hparams.n_embd_k_gqa(il), n_kv_cell(), n_lanes, end - il);
            group.lane_v = ggml_new_tensor_4d(ctx_kv, type_v, hparams.n_embd_v_gqa(il), n_kv_cell(), n_lanes, end - il);
            ggml_format_name(group.lane_k, "lanes_k_l%u", il);
            ggml_format_name(group.lane_v, "lanes_v_l%u", il);
        }
        ggml_context * ctx    = ctx_of(buft_of(il, true));
        const int64_t  n_rows = config.n_sink + config.n_text_whole() + config.n_mem;
        group.whole.pos       = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, n_rows * (end - il));
        group.whole.kv_idxs   = ggml_new_tensor_1d(ctx, GGML_TYPE_I64, n_rows * (end - il));
        group.whole.kq_mask   = ggml_new_tensor_2d(ctx, GGML_TYPE_F16, config.n_kv(n_rows), n_rows);
        if (has_window()) {
            group.whole.kq_mask_window = ggml_new_tensor_2d(ctx, GGML_TYPE_F16, config.n_kv(n_rows), n_rows);
        }
        if (!model.armt.base.splits_memory && !model.armt.sees_previous && !model.armt.mutual_memory) {
            ggml_set_name(group.whole.kq_mask, ARMT_NAME_CAUSAL_MASK);
        }
        group.az = ggml_new_tensor_4d(ctx, type_state, model.armt.n_key(), GGML_PAD(n_value_rows(), 4),
                                      model.armt.recurrent ? 1 : model.armt.n_head * (end - il),
                                      n_seq + (n_lanes > 0 ? 1 : 0));
        ggml_format_name(group.az, "armt_memory_l%u", il);
        if (config.diagonal) {
            group.x = ggml_new_tensor_4d(ctx, GGML_TYPE_F32, hparams.n_embd, n_rows, end - il + 1,
                                         n_lanes > 0 ? n_lanes : n_seq);
            ggml_format_name(group.x, "armt_inputs_l%u", il);
        }
        if (n_lanes > 0) {
            group.lanes         = group.whole;
            group.lanes.pos     = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, n_rows * n_lanes * (end - il));
            group.lanes.kv_idxs = ggml_new_tensor_1d(ctx, GGML_TYPE_I64, n_rows * n_lanes * (end - il));
        }
        groups.push_back(group);
    }

    for (auto & [buft, ctx] : ctxs) {
        ggml_backend_buffer_ptr buffer;
        if (hparams.no_alloc) {
            buffer.reset(ggml_backend_buft_alloc_buffer(buft, 0));
            for (ggml_tensor * t = ggml_get_first_tensor(ctx.get()); t != nullptr;
                 t               = ggml_get_next_tensor(ctx.get(), t)) {
                t->buffer = buffer.get();
            }
        } else {
            buffer.reset(ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), buft));
        }
        if (!buffer) {
            throw std::runtime_error(std::string("failed to allocate the memory of the context on ") +
                                     ggml_backend_buft_name(buft) + "; use a smaller segmentSize, a smaller " +
                                     "openSegmentLimit or fewer sequences");
        }
        // masked K/V rows are multiplied by 0, so they must be finite
        ggml_backend_buffer_clear(buffer.get(), 0);
        LLAMA_LOG_INFO("%s: %10s ARMT memory size = %8.2f MiB\n", __func__, ggml_backend_buffer_name(buffer.get()),
                       ggml_backend_buffer_get_size(buffer.get()) / 1024.0 / 1024.0);
        ctxs_bufs.emplace_back(std::move(ctx), std::move(buffer));
    }
    if (!hparams.no_alloc) {
        set_constants();
    }
}

bool llama_memory_armt::has_window() const {
    const uint32_t n_window = model.armt.base.n_window;
    return n_window != 0 && config.n_sink + config.n_reread_max + config.n_segment_max + config.n_mem > n_window;
}

armt_mask llama_memory_armt::get_mask() const {
    armt_mask mask;
    mask.n_sink        = config.n_sink;
    mask.n_prev_max    = config.n_prev_max;
    mask.n_window      = has_window() ? model.armt.base.n_window : 0;
    mask.splits_memory = model.armt.base.splits_memory;
    mask.mutual_memory = model.armt.mutual_memory;
    mask.prev_by_row   = model.armt.previous_positions == ARMT_PREVIOUS_APART;
    return mask;
}

void llama_memory_armt::set_constants() {
    const uint32_t n_rows = config.n_sink + config.n_text_whole() + config.n_mem;
    const uint32_t n_kv   = config.n_kv(n_rows);
    const uint32_t n_prev = config.n_prev_max > 0 ? config.n_segment : 0;

    // ggml's attention has no flag for a causal mask, so each device holds a whole one, which may take gigabytes. It is
    // made in parts, so that no copy of it takes as much again.
    const auto set_mask = [&](ggml_tensor * tensor, uint32_t n_window) {
        armt_mask rows  = get_mask();
        rows.n_text_end = config.n_sink + config.n_text_whole();
        rows.n_rows     = n_rows;
        rows.n_prev     = n_prev;
        rows.n_window   = n_window;

        const uint32_t           n_part = std::max(1u, MASK_PART / n_kv);
        std::vector<ggml_fp16_t> values;
        for (uint32_t first = 0; first < n_rows; first += n_part) {
            const uint32_t n = std::min(n_part, n_rows - first);
            values.assign(size_t(n) * n_kv, ggml_fp32_to_fp16(-INFINITY));
            for (uint32_t i = 0; i < n; ++i) {
                rows.fill_row(values.data() + size_t(i) * n_kv, first + i);
            }
            ggml_backend_tensor_set(tensor, values.data(), first * tensor->nb[1], n * tensor->nb[1]);
        }
    };
    const auto set_rows = [&](const constants & rows, uint32_t stride) {
        std::vector<int32_t> pos;
        std::vector<int64_t> idxs;
        for (uint32_t i = 0; i < rows.pos->ne[0]; ++i) {
            pos.push_back(config.first_pos(n_prev) + i % n_rows);
            idxs.push_back(int64_t(i / n_rows) * stride + config.n_prev_max + i % n_rows);
        }
        ggml_backend_tensor_set(rows.pos, pos.data(), 0, ggml_nbytes(rows.pos));
        ggml_backend_tensor_set(rows.kv_idxs, idxs.data(), 0, ggml_nbytes(rows.kv_idxs));
    };
    for (const layer_group & group : groups) {
        set_rows(group.whole, n_kv_stride(false));
        if (config.n_lanes > 0) {
            set_rows(group.lanes, n_kv_cell());
        }
        set_mask(group.whole.kq_mask, 0);
        if (group.whole.kq_mask_window != nullptr) {
            set_mask(group.whole.kq_mask_window, get_mask().n_window);
        }
    }
}

const llama_memory_armt::layer_group & llama_memory_armt::group_of(uint32_t il) const {
    return *std::find_if(groups.begin(), groups.end(), [il](const layer_group & group) { return il < group.layer1; });
}

ggml_tensor * llama_memory_armt::view_memory_of_layer(ggml_context * ctx, uint32_t il, llama_seq_id seq_id,
                                                      uint32_t n_seqs) const {
    const layer_group & group = group_of(il);
    const ggml_tensor * az    = group.az;
    const size_t        first = (il - group.layer0) * model.armt.n_head * az->nb[2] + seq_id * az->nb[3];
    return ggml_view_4d(ctx, group.az, az->ne[0], az->ne[1], model.armt.n_head, n_seqs, az->nb[1], az->nb[2], az->nb[3],
                        first);
}

ggml_tensor * llama_memory_armt::view_memory_of_layers(ggml_context * ctx, uint32_t il, uint32_t n_cells,
                                                       llama_seq_id seq_id) const {
    const layer_group & group = group_of(il);
    const ggml_tensor * az    = group.az;
    const size_t        nb3   = model.armt.n_head * az->nb[2];
    const size_t        first = (il - group.layer0) * nb3 + seq_id * az->nb[3];
    return ggml_view_4d(ctx, group.az, az->ne[0], az->ne[1], model.armt.n_head, n_cells, az->nb[1], az->nb[2], nb3,
                        first);
}

ggml_tensor * llama_memory_armt::view_memory_rows(ggml_context * ctx, uint32_t il) const {
    const ggml_tensor * az = group_of(il).az;
    const int64_t       n  = az->ne[0] * az->ne[1] * model.armt.n_head;
    return ggml_view_2d(ctx, group_of(il).az, n, ggml_nelements(az) / n, model.armt.n_head * az->nb[2], 0);
}

int32_t llama_memory_armt::memory_row(uint32_t il, llama_seq_id seq_id) const {
    const layer_group & group = group_of(il);
    const uint32_t      is    = seq_id < 0 ? n_seq_max() : uint32_t(seq_id);
    return int32_t(is * group.n_layers() + il - group.layer0);
}

ggml_tensor * llama_memory_armt::view_inputs(ggml_context * ctx, uint32_t il, uint32_t n_cells, uint32_t n_rows,
                                             uint32_t lane) const {
    return view_x(ctx, group_of(il), il - group_of(il).layer0, n_cells, n_rows, lane);
}

ggml_tensor * llama_memory_armt::view_outputs(ggml_context * ctx, uint32_t il, uint32_t n_cells, uint32_t n_rows,
                                              uint32_t lane) const {
    return view_x(ctx, group_of(il), il - group_of(il).layer0 + 1, n_cells, n_rows, lane);
}

ggml_tensor * llama_memory_armt::view_x(ggml_context * ctx, const layer_group & group, uint32_t i, uint32_t n,
                                        uint32_t n_rows, uint32_t lane) const {
    const ggml_tensor * x = group.x;
    return ggml_view_3d(ctx, group.x, x->ne[0], n_rows, n, x->nb[1], x->nb[2], i * x->nb[2] + lane * x->nb[3]);
}

ggml_tensor * llama_memory_armt::view_lanes(ggml_context * ctx, uint32_t il, uint32_t n_cells, uint32_t n_rows,
                                            uint32_t n_lanes, bool outputs) const {
    const layer_group & group = group_of(il);
    const ggml_tensor * x     = group.x;
    return ggml_view_4d(ctx, group.x, x->ne[0], n_rows, n_lanes, n_cells, x->nb[1], x->nb[3], x->nb[2],
                        (il - group.layer0 + (outputs ? 1 : 0)) * x->nb[2]);
}

size_t llama_memory_armt::kv_offset(const ggml_tensor * cache, uint32_t il, llama_seq_id seq_id) const {
    return (il - group_of(il).layer0) * cache->nb[3] + seq_id * cache->nb[2];
}

uint32_t llama_memory_armt::n_same_device(uint32_t il, uint32_t n_max) const {
    return std::min(n_max, group_of(il).layer1 - il);
}

uint32_t llama_memory_armt::n_batched(uint32_t il, uint32_t n_max) const {
    n_max = model.n_stacked(il, std::min(n_same_device(il, n_max), config.max_cells));
    for (uint32_t n = 1; n < n_max && has_window(); ++n) { // a batch has one mask
        if (model.armt.base.is_windowed(il + n) != model.armt.base.is_windowed(il)) {
            return n;
        }
    }
    return n_max;
}

ggml_tensor * llama_memory_armt::view_state(ggml_context * ctx, llama_seq_id seq_id, uint32_t n_seqs) const {
    ggml_tensor * state = groups[0].az;
    return ggml_view_3d(ctx, state, state->ne[0], model.armt.n_mem, n_seqs, state->nb[1], state->nb[3],
                        seq_id * state->nb[3]);
}

static void read_floats(const ggml_tensor * tensor, size_t offset, float * values, size_t n) {
    std::vector<uint8_t> bytes(n * ggml_type_size(tensor->type));
    ggml_backend_tensor_get(tensor, bytes.data(), offset, bytes.size());
    if (tensor->type == GGML_TYPE_F32) {
        std::memcpy(values, bytes.data(), bytes.size());
    } else {
        ggml_get_type_traits(tensor->type)->to_float(bytes.data(), values, n);
    }
}

void llama_memory_armt::read_memory(llama_seq_id seq_id, uint32_t il, float * a, float * z) const {
    if (model.armt.recurrent) {
        const size_t n = size_t(model.armt.n_mem) * model.hparams.n_embd;
        if (il != 0) {
            throw std::runtime_error("plain RMT has one state for all layers; read that of layer 0");
        }
        if (sequences[seq_id].stale || sequences[seq_id].n_segments == 0) {
            std::fill(a, a + n, 0.0f);
        } else {
            read_floats(groups[0].az, seq_id * groups[0].az->nb[3], a, n);
        }
        return;
    }
    const layer_group & group   = group_of(il);
    const ggml_tensor * az      = group.az;
    const uint32_t      n_head  = model.armt.n_head;
    const uint32_t      n_key   = model.armt.n_key();
    const uint32_t      n_value = model.hparams.n_embd / n_head;
    const uint32_t      n_roll  = n_key / ARMT_DPFP_ORDER;

    std::vector<float> rows(n_key * n_value_rows());
    for (uint32_t ih = 0; ih < n_head; ++ih) {
        if (sequences[seq_id].stale) {
            std::fill(rows.begin(), rows.end(), 0.0f);
        } else {
            const size_t offset = ((il - group.layer0) * n_head + ih) * az->nb[2] + seq_id * az->nb[3];
            read_floats(az, offset, rows.data(), rows.size());
        }
        for (uint32_t ik = 0; ik < n_key; ++ik) {
            // features are in the order of rolls 3, 2, 1 (armt_graph::build_dpfp)
            const uint32_t from = (ARMT_DPFP_ORDER - 1 - ik / n_roll) * n_roll + ik % n_roll;
            for (uint32_t iv = 0; iv < n_value; ++iv) {
                a[(size_t(ih) * n_key + ik) * n_value + iv] = rows[size_t(iv) * n_key + from];
            }
            if (z != nullptr && model.armt.use_denom) {
                z[ih * n_key + ik] = rows[size_t(n_value) * n_key + from];
            }
        }
    }
}

// Whether no number has all bits of its exponent set
template <typename T> static bool is_finite(const std::vector<uint8_t> & bytes, T exponent) {
    bool wrong = false;
    for (size_t i = 0; i < bytes.size(); i += sizeof(T)) {
        T bits;
        std::memcpy(&bits, bytes.data() + i, sizeof(T));
        wrong |= (bits & exponent) == exponent;
    }
    return !wrong;
}

static bool is_finite(const ggml_tensor * tensor, size_t offset, size_t size) {
    std::vector<uint8_t> bytes(size);
    ggml_backend_tensor_get(tensor, bytes.data(), offset, size);
    return tensor->type == GGML_TYPE_F32   ? is_finite<uint32_t>(bytes, 0x7f800000)
           : tensor->type == GGML_TYPE_F16 ? is_finite<uint16_t>(bytes, 0x7c00)
                                           : is_finite<uint16_t>(bytes, 0x7f80);
}

bool llama_memory_armt::wants_look(llama_seq_id seq_id) const {
    const armt_sequence & seq = sequences[seq_id];
    return !seq.stale && seq.n_passed() > seq.n_looked;
}

bool llama_memory_armt::look(llama_seq_id seq_id) {
    // A column of A, and not z: a row of values that are not finite always reaches A, and not z where keys become zeros
    const layer_group & group  = model.armt.recurrent ? groups.front() : groups.back();
    const ggml_tensor * az     = group.az;
    const size_t        last   = model.armt.recurrent ? 0 : (group.n_layers() - 1) * model.armt.n_head * az->nb[2];
    sequences[seq_id].n_looked = sequences[seq_id].n_passed();
    return is_finite(az, last + seq_id * az->nb[3], az->nb[1]);
}

bool llama_memory_armt::is_layer_finite(llama_seq_id seq_id, uint32_t il) const {
    const layer_group & group = group_of(il);
    const ggml_tensor * az    = group.az;
    const size_t        size  = model.armt.recurrent ? az->nb[2] : model.armt.n_head * az->nb[2];
    return is_finite(az, (il - group.layer0) * size + seq_id * az->nb[3], size);
}

std::string llama_memory_armt::find_damage(llama_seq_id seq_id) const {
    const armt_sequence & seq     = sequences[seq_id];
    const uint32_t        n_layer = seq.stale ? 0 : model.armt.recurrent ? 1 : config.n_layer;
    for (uint32_t il = 0; il < n_layer; ++il) {
        if (is_layer_finite(seq_id, il)) {
            continue;
        }
        const std::string name = model.armt.recurrent ? "the memory" : "the memory of layer " + std::to_string(il);
        if (type_state() == GGML_TYPE_F16) {
            return name + " has left the range of f16; create the context with the stateType bf16 or f32; " +
                   "the sequence was cleared";
        }
        return name + " is no longer finite after " + std::to_string(seq.pos_last() - seq.pos_first + 1) +
               " tokens: it grew without bound while this text was read, " + other_reasons() +
               "; read the text in shorter parts, with sequence.clearHistory() between them, or use another model; " +
               "the sequence was cleared";
    }
    return "";
}

std::string llama_memory_armt::other_reasons() const {
    const std::string names = servers();
    return "or the model file has weights that are not finite" +
           (names.empty() ? "" : ", or an RPC server computed wrongly (" + names + ")");
}

void llama_memory_armt::wipe_sequence(llama_seq_id seq_id) {
    lctx->synchronize();
    const armt_sequence before = sequences[seq_id];
    clear_sequence(seq_id);
    for (const layer_group & group : groups) {
        for (ggml_tensor * cache : {group.k, group.v}) {
            for (uint32_t i = 0; i < group.n_layers(); ++i) {
                ggml_backend_tensor_memset(cache, 0, i * cache->nb[3] + seq_id * cache->nb[2], cache->nb[2]);
            }
        }
        if (config.n_lanes > 0) {
            // the next step computes its cells again, for nobody
            for (const armt_sequence::in_flight & cell : before.flight()) {
                ggml_backend_tensor_memset(group.x, 0, cell.lane * group.x->nb[3] + cell.layer * group.x->nb[2],
                                           group.x->nb[2]);
            }
            ggml_backend_tensor_memset(group.az, 0, n_seq_max() * group.az->nb[3], group.az->nb[3]);
            clear_lanes();
        } else if (group.x != nullptr) {
            ggml_backend_tensor_memset(group.x, 0, seq_id * group.x->nb[3], group.x->nb[3]);
        }
    }
}

void llama_memory_armt::prepare(llama_seq_id seq_id) {
    armt_sequence & seq = sequences[seq_id];
    if (!seq.stale) {
        return;
    }
    lctx->synchronize();
    for (const layer_group & group : groups) {
        ggml_backend_tensor_memset(group.az, 0, seq_id * group.az->nb[3], group.az->nb[3]);
    }
    seq.stale = false;
}

void llama_memory_armt::clear_lanes() {
    for (const layer_group & group : groups) {
        ggml_backend_tensor_memset(group.lane_k, 0, 0, ggml_nbytes(group.lane_k));
        ggml_backend_tensor_memset(group.lane_v, 0, 0, ggml_nbytes(group.lane_v));
    }
}

void llama_memory_armt::prepare_lanes(const armt_step & step) {
    if (step.type != ARMT_STEP_SHARED || step.n_text == n_lane_text) {
        return;
    }
    if (step.n_text < n_lane_text) {
        lctx->synchronize();
        clear_lanes();
    }
    n_lane_text = step.n_text;
}

std::map<ggml_backend_buffer_type_t, size_t> llama_memory_armt::memory_breakdown() const {
    std::map<ggml_backend_buffer_type_t, size_t> sizes;
    for (const auto & [ctx, buffer] : ctxs_bufs) {
        ggml_backend_buffer_type_t buft = ggml_backend_buffer_get_type(buffer.get());
        sizes[buft] += model.hparams.no_alloc ? ggml_backend_alloc_ctx_tensors_from_buft_size(ctx.get(), buft)
                                              : ggml_backend_buffer_get_size(buffer.get());
    }
    return sizes;
}

//
// contexts
//

llama_memory_context_ptr llama_memory_armt::init_batch(llama_batch_allocr &, uint32_t, bool) {
    return std::make_unique<llama_memory_armt_context>(*this, LLAMA_MEMORY_STATUS_FAILED_COMPUTE);
}

llama_memory_context_ptr llama_memory_armt::init_full() {
    return std::make_unique<llama_memory_armt_context>(*this, LLAMA_MEMORY_STATUS_SUCCESS);
}

llama_memory_context_ptr llama_memory_armt::init_update(llama_context *, bool) {
    return std::make_unique<llama_memory_armt_context>(*this, LLAMA_MEMORY_STATUS_NO_UPDATE);
}

//
// sequences
//

void llama_memory_armt::clear_sequence(llama_seq_id seq_id) {
    sequences[seq_id].clear();
    publish_stats(seq_id);
}

void llama_memory_armt::clear(bool /*data: zeroed before the next use in any case*/) {
    for (uint32_t s = 0; s < n_seq_max(); ++s) {
        clear_sequence(s);
    }
}

bool llama_memory_armt::seq_rm(llama_seq_id seq_id, llama_pos p0, llama_pos p1) {
    if (seq_id < 0) {
        bool ok = true;
        for (uint32_t s = 0; s < n_seq_max(); ++s) {
            ok = seq_rm(s, p0, p1) && ok;
        }
        return ok;
    }
    if (!has_sequence(seq_id)) {
        return false;
    }
    p0 = std::max(p0, 0);
    p1 = p1 < 0 ? std::numeric_limits<llama_pos>::max() : p1;

    armt_sequence & seq = sequences[seq_id];
    if (p1 <= p0 || p0 > seq.pos_last()) {
        // nothing to remove; but removing everything from an empty sequence also drops its plan
        if (p0 == 0 && seq.empty()) {
            clear_sequence(seq_id);
        }
        return true;
    }
    if (p1 <= seq.pos_last()) {
        return p1 <= seq.pos_first;
    }
    if (p0 <= seq.pos_first) {
        clear_sequence(seq_id);
        return true;
    }
    const bool ok = seq.truncate(p0);
    publish_stats(seq_id);
    return ok;
}

void llama_memory_armt::copy_tensors(llama_seq_id src, llama_seq_id dst) {
    // ggml_backend_tensor_copy needs tensors, so the ranges become views
    ggml_context_ptr ctx{ggml_init({ggml_tensor_overhead() * 8, nullptr, true})};
    const auto       copy = [&](ggml_tensor * t, size_t offset, int dim, int64_t n_rows) {
        if (t == nullptr || n_rows == 0) {
            return;
        }
        ggml_reset(ctx.get());
        const int64_t n    = n_rows * t->nb[1] / ggml_type_size(t->type) * ggml_blck_size(t->type);
        ggml_tensor * from = ggml_view_1d(ctx.get(), t, n, offset + src * t->nb[dim]);
        ggml_tensor * to   = ggml_view_1d(ctx.get(), t, n, offset + dst * t->nb[dim]);
        ggml_backend_view_init(from);
        ggml_backend_view_init(to);
        ggml_backend_tensor_copy(from, to);
    };
    const armt_sequence & seq = sequences[src];
    lctx->synchronize();
    for (const layer_group & group : groups) {
        for (ggml_tensor * cache : {group.k, group.v}) {
            for (uint32_t i = 0; i < group.n_layers(); ++i) {
                copy(cache, i * cache->nb[3], 2,
                     seq.n_prev + seq.n_open > 0 ? config.n_prev_max + seq.n_cached(config) : 0);
            }
        }
        copy(group.az, 0, 3, seq.stale ? 0 : group.az->ne[1] * group.az->ne[2]);
        // nothing with shared diagonals: the sequence was drained
        copy(group.x, 0, 3, seq.n_in_flight() == 0 ? 0 : group.x->ne[1] * group.x->ne[2]);
    }
}

void llama_memory_armt::seq_cp(llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0, llama_pos p1) {
    if (!has_sequence(seq_id_src) || !has_sequence(seq_id_dst) || seq_id_src == seq_id_dst) {
        return;
    }
    const armt_sequence & src = sequences[seq_id_src];
    const llama_pos       end = p1 < 0 ? std::numeric_limits<llama_pos>::max() : p1;
    if (!src.empty() && (p0 > src.pos_first || end < src.pos_open)) {
        LLAMA_LOG_ERROR(
            "%s: sequence %d can only be copied together with its closed segments; sequence %d is cleared\n", __func__,
            seq_id_src, seq_id_dst);
        clear_sequence(seq_id_dst);
        return;
    }
    if (config.n_lanes > 0) { // the pipeline's lanes are one sequence's each
        try {
            armt_drain(*lctx, seq_id_src);
        } catch (const std::exception & error) {
            armt_set_error(id, error.what());
            LLAMA_LOG_ERROR("%s: sequence %d: %s; sequence %d is cleared\n", __func__, seq_id_src, error.what(),
                            seq_id_dst);
            clear_sequence(seq_id_dst);
            return;
        }
    }
    copy_tensors(seq_id_src, seq_id_dst);
    const bool was_zero         = src.stale;
    sequences[seq_id_dst]       = src;
    sequences[seq_id_dst].stale = was_zero;
    sequences[seq_id_dst].truncate(end);
    publish_stats(seq_id_dst);
}

void llama_memory_armt::seq_keep(llama_seq_id seq_id) {
    for (uint32_t s = 0; s < n_seq_max(); ++s) {
        if (llama_seq_id(s) != seq_id) {
            clear_sequence(s);
        }
    }
}

void llama_memory_armt::seq_add(llama_seq_id seq_id, llama_pos, llama_pos, llama_pos) {
    LLAMA_LOG_ERROR("%s: the positions of sequence %d cannot be shifted: its closed segments are in the memory\n",
                    __func__, seq_id);
}

void llama_memory_armt::seq_div(llama_seq_id seq_id, llama_pos, llama_pos, int) {
    LLAMA_LOG_ERROR("%s: the positions of sequence %d cannot be divided: its closed segments are in the memory\n",
                    __func__, seq_id);
}

llama_pos llama_memory_armt::seq_pos_min(llama_seq_id seq_id) const {
    if (!has_sequence(seq_id) || sequences[seq_id].empty()) {
        return -1;
    }
    const armt_sequence & seq = sequences[seq_id];
    return std::max(seq.pos_first, seq.pos_open - 1);
}

llama_pos llama_memory_armt::seq_pos_max(llama_seq_id seq_id) const {
    return has_sequence(seq_id) ? sequences[seq_id].pos_last() : -1;
}

//
// info
//

armt_context_info llama_memory_armt::get_info() const {
    armt_context_info info  = {};
    info.schedule           = config.diagonal ? ARMT_SCHEDULE_DIAGONAL : ARMT_SCHEDULE_SEQUENTIAL;
    info.segment_overflow   = state_overflow();
    info.segment_size       = config.n_segment;
    info.open_segment_limit = config.n_segment_max;
    info.max_cells          = config.max_cells;
    info.n_layer            = config.n_layer;
    info.n_mem              = config.n_mem;
    info.n_seq_max          = n_seq_max();
    info.n_head             = model.armt.n_head;
    info.d_key              = model.armt.recurrent ? config.n_mem : model.armt.n_key();
    info.d_value            = model.hparams.n_embd / model.armt.n_head;
    info.use_denom          = model.armt.use_denom;
    info.state_type         = type_state() == GGML_TYPE_F16    ? ARMT_STATE_TYPE_F16
                              : type_state() == GGML_TYPE_BF16 ? ARMT_STATE_TYPE_BF16
                                                               : ARMT_STATE_TYPE_F32;
    info.texts_per_layer    = config.n_lanes;
    info.fp8_products       = config.fp8_products;
    info.memory_bytes = ggml_type_size(type_state()) * (model.armt.recurrent ? 1 : config.n_layer) * model.armt.n_head *
                        model.armt.n_key() * n_value_rows();
    for (const auto & [buft, size] : memory_breakdown()) {
        info.total_bytes += size;
    }
    const std::lock_guard<std::mutex> lock(stats_mutex);
    info.n_graphs          = n_graphs;
    info.n_graphs_reused   = n_graphs_reused;
    info.n_graphs_replayed = n_graphs_replayed;
    info.n_graph_parts     = n_graph_parts;
    info.n_fp8_computed    = n_fp8_computed;
    info.n_fp8_left        = n_fp8_left;
    return info;
}

void llama_memory_armt::count_graph(bool reused, bool replayed, int n_parts) {
    const std::lock_guard<std::mutex> lock(stats_mutex);
    n_graphs++;
    n_graphs_reused += reused ? 1 : 0;
    n_graphs_replayed += replayed ? 1 : 0;
    n_graph_parts += uint64_t(n_parts);
}

void llama_memory_armt::count_fp8(ggml_backend_sched_t sched) {
    if (config.fp8_products == 0) {
        return;
    }
    armt_fp8_counts sum;
    for (int i = 0; i < ggml_backend_sched_get_n_backends(sched); ++i) {
        ggml_backend_t           backend = ggml_backend_sched_get_backend(sched, i);
        const ggml_backend_reg_t reg     = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend));
        // patches/ggml-cuda adds this function
        const auto counts_of = reinterpret_cast<armt_fp8_counts (*)(ggml_backend_t)>(
            ggml_backend_reg_get_proc_address(reg, ARMT_NAME_FP8_COUNTS));
        if (counts_of != nullptr) {
            const armt_fp8_counts counts = counts_of(backend);
            sum.n_e4m3 += counts.n_e4m3;
            sum.n_left += counts.n_left;
        }
    }
    const std::lock_guard<std::mutex> lock(stats_mutex);
    n_fp8_computed = sum.n_e4m3;
    n_fp8_left     = sum.n_left;
}

uint64_t llama_memory_armt::n_replays() const {
    return backend_replays != nullptr ? backend_replays() : 0;
}

armt_sequence_stats llama_memory_armt::get_stats(llama_seq_id seq_id) const {
    const std::lock_guard<std::mutex> lock(stats_mutex);
    return published_stats.at(seq_id);
}

void llama_memory_armt::publish_stats(llama_seq_id seq_id) {
    const armt_sequence & seq = sequences[seq_id];

    armt_sequence_stats stats = seq.stats;
    stats.n_tokens            = seq.pos_last() - seq.pos_first + 1;
    stats.segment_start       = seq.pos_open;
    stats.n_open              = seq.n_open + seq.pending.size();
    stats.n_pending           = seq.pending.size();
    stats.n_segments          = seq.n_segments;
    stats.n_in_flight         = seq.n_closed_in_flight();
    if (seq.empty()) {
        stats.n_tokens = 0;
    }

    const std::lock_guard<std::mutex> lock(stats_mutex);
    published_stats[seq_id] = stats;
}

//
// hooks
//

llama_memory_i * armt_create_memory(const llama_model & model, const llama_memory_params & params,
                                    const llama_cparams & cparams) {
    try {
        return new llama_memory_armt(static_cast<const llama_model_armt &>(model), params, cparams);
    } catch (const std::exception & error) {
        armt_set_error(0, error.what());
        throw;
    }
}

void armt_attach_context(llama_memory_i * memory, llama_context * lctx) {
    static_cast<llama_memory_armt *>(memory)->attach(lctx);
}
