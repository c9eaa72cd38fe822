#include "armt-graph.h"

#include "armt-hooks.h"

#include <algorithm>
#include <array>
#include <stdexcept>

static const llama_memory_armt_context & check_context(const llama_memory_context_i * mctx) {
    if (mctx == nullptr) {
        throw std::runtime_error("the context of an ARMT model has no memory");
    }
    return *static_cast<const llama_memory_armt_context *>(mctx);
}

armt_graph::armt_graph(const llama_model_armt & model, const llm_graph_params & params)
    : llm_graph_context(params), model(model), memory(check_context(params.mctx).memory),
      trace(check_context(params.mctx).trace) {
    const armt_step & step = check_context(params.mctx).step;
    // clang-format off
    switch (step.type) {
        case ARMT_STEP_OPEN:     build_open(step);     break;
        case ARMT_STEP_DIAGONAL: build_diagonal(step); break;
        case ARMT_STEP_SHARED:   build_shared(step);   break;
        case ARMT_STEP_RESERVE:  build_reserve();      break;
    }
    // clang-format on
}

// All graphs in one, so that the compute buffers fit each of them and never grow.
void armt_graph::build_reserve() {
    const armt_config & config = memory.get_config();
    const uint32_t      n_out  = std::min<uint32_t>(n_outputs, config.n_rows_max);

    armt_step step;
    step.type     = ARMT_STEP_OPEN;
    step.n_text   = config.n_reread_max + config.n_rows_max;
    step.n_mem    = config.n_mem;
    step.n_sink   = config.n_sink;
    step.n_kv     = config.n_kv_max;
    step.whole    = false;
    step.out_rows = std::vector<uint32_t>(n_out);
    build_open(step);

    if (config.diagonal) {
        step.type                = ARMT_STEP_DIAGONAL;
        step.n_text              = config.n_text_whole();
        step.layer1              = config.n_layer;
        step.inject              = true;
        step.oldest_has_own_mask = config.n_prev_max > 0;
        step.n_kv                = config.n_kv(step.n_rows());
        step.first_in_layer.resize(config.n_layer);
        step.out_rows.resize(std::min(n_out, config.n_segment));
        build_diagonal(step);
    }
    if (config.n_lanes > 0) {
        step.type = ARMT_STEP_SHARED;
        step.entering.resize(config.n_lanes);
        step.n_cells.resize(config.n_layer, config.n_lanes);
        step.cells.resize(size_t(config.n_layer) * config.n_lanes);
        step.out_rows.resize(std::min(n_out, config.n_segment * config.n_lanes));
        build_shared(step);
    }
}

uint32_t armt_graph_max_nodes(const llama_memory_i & memory) {
    const armt_config & config = static_cast<const llama_memory_armt &>(memory).get_config();
    // Each has at most 162 nodes a layer: those of Gemma 3 with two memory heads and an attention that sees the segment
    // before. A llama has 105.
    const uint32_t n_graphs = 1 + (config.diagonal ? 1 : 0) + (config.n_lanes > 0 ? 1 : 0);
    return 1024 + 176 * n_graphs * config.n_layer;
}

void armt_graph::build_inputs(const armt_step & step, uint32_t n_batch, bool trim) {
    auto input = std::make_unique<llm_graph_input_armt>(step, trace, memory);

    // The allocator places tensors one after the other. On a CPU whose vectors fill a cache line, activations that do
    // not start at a line cost 15 % of the speed. So inputs fill whole lines, and the graph uses a view.
    const auto make = [&](const char * name, ggml_type type, std::array<int64_t, 4> ne) {
        const int64_t n     = ne[0] * ne[1] * ne[2] * ne[3];
        ggml_tensor * lines = ggml_new_tensor_1d(ctx0, type, GGML_PAD(n, 64 / ggml_type_size(type)));
        ggml_set_input(lines);
        cb(lines, name, -1);
        ggml_tensor * used = ggml_view_1d(ctx0, lines, n, 0);
        return ggml_reshape_4d(ctx0, used, ne[0], ne[1], ne[2], ne[3]);
    };
    const int64_t n_rows = step.n_rows();
    const int64_t n_out  = step.out_rows.size();
    const bool    open   = step.type == ARMT_STEP_OPEN;
    const bool    shared = step.type == ARMT_STEP_SHARED;
    const bool    takes  = shared ? !step.entering.empty() : open || step.inject;

    if (step.n_text > 0 && takes) {
        input->tokens = make("inp_tokens", GGML_TYPE_I32, {int64_t(step.n_text) * step.n_taken(), 1, 1, 1});
    }
    if (model.armt.base.n_position != 0 && takes) {
        input->table_pos = make("inp_table_pos", GGML_TYPE_I32, {n_rows * step.n_taken(), 1, 1, 1});
        input->continues = model.armt.base.continues;
        if (model.armt.base.wrap_positions) {
            input->n_wrap = model.armt.base.n_position;
        }
    }
    if (!step.whole) {
        input->pos = make("inp_pos", GGML_TYPE_I32, {n_rows * (n_batch + (step.oldest_has_own_mask ? 1 : 0)), 1, 1, 1});
        input->kq_mask     = make("inp_kq_mask", GGML_TYPE_F16,
                                  {step.n_kv, n_rows, 1, step.oldest_has_own_mask ? 2 : int64_t(step.n_seqs)});
        input->kv_idxs     = make("inp_kv_idxs", GGML_TYPE_I64, {n_rows * n_batch, 1, 1, 1});
        input->mask        = memory.get_mask();
        input->n_kv_stride = shared ? memory.n_kv_cell() : memory.n_kv_stride(open);
        if (memory.has_window()) {
            const ggml_tensor * mask = input->kq_mask;
            input->kq_mask_window =
                make("inp_kq_mask_window", GGML_TYPE_F16, {mask->ne[0], mask->ne[1], mask->ne[2], mask->ne[3]});
        }
    }
    if (step.n_mem > 0 && model.armt.previous_positions == ARMT_PREVIOUS_APART && model.armt.sees_previous) {
        input->shift_back = make("inp_shift_back", GGML_TYPE_I32, {memory.get_config().n_segment, 2, 1, 1});
    }
    if (!open && model.armt.use_denom && model.armt.correction) {
        const int64_t n_cells = shared ? step.cells.size() : step.layer1 - step.layer0;
        input->not_first      = make("inp_not_first", GGML_TYPE_F32, {1, 1, 1, n_cells});
    }
    if (shared) {
        input->az_rows = make("inp_az_rows", GGML_TYPE_I32, {int64_t(step.cells.size()), 1, 1, 1});
    }
    if (trim) {
        input->last_ids = make("inp_last_ids", GGML_TYPE_I32, {n_out + int64_t(step.n_mem) * step.n_last(), 1, 1, 1});
    } else if (n_out > 0) {
        input->out_ids = make("inp_out_ids", GGML_TYPE_I32, {n_out, 1, 1, 1});
    }
    inp = static_cast<llm_graph_input_armt *>(res->add_input(std::move(input)));
}

armt_graph::rows_info armt_graph::view_rows_info(const armt_step & step, cells c, int64_t n_total) {
    // no view of all of an input, because the scheduler copies each view to the GPU separately
    const auto of_rows = [&](ggml_tensor * t) {
        return ggml_nelements(t) == n_total ? t : ggml_view_1d(ctx0, t, n_total, 0);
    };
    const bool window = memory.has_window() && model.armt.base.is_windowed(c.il);
    if (step.whole) {
        const auto & constants =
            step.type == ARMT_STEP_SHARED ? memory.get_lane_constants(c.il) : memory.get_constants(c.il);
        return {of_rows(constants.pos), of_rows(constants.kv_idxs),
                window ? constants.kq_mask_window : constants.kq_mask};
    }
    ggml_tensor * mask = window ? inp->kq_mask_window : inp->kq_mask;
    if (!step.oldest_has_own_mask) {
        return {of_rows(inp->pos), of_rows(inp->kv_idxs), mask};
    }
    const bool    oldest = c.il + c.n == step.layer1;
    ggml_tensor * plane  = ggml_view_4d(ctx0, mask, mask->ne[0], mask->ne[1], 1, 1, mask->nb[1], mask->nb[2],
                                        mask->nb[3], oldest ? mask->nb[3] : 0);
    ggml_tensor * pos =
        ggml_view_1d(ctx0, inp->pos, n_total, oldest ? (inp->pos->ne[0] - n_total) * inp->pos->nb[0] : 0);
    return {pos, of_rows(inp->kv_idxs), plane};
}

ggml_tensor * armt_graph::build_token_rows() {
    if (model.input_embd != nullptr) {
        return ggml_get_rows(ctx0, model.input_embd, inp->tokens);
    }
    if (model.output_is_tied) {
        // The embeddings are on the CPU. Tied ones are on the last device too, as the output's weights. If that is also
        // the first, the step can be one graph.
        ggml_tensor *            rows = ggml_get_rows(ctx0, model.output, inp->tokens);
        const ggml_backend_dev_t dev  = model.dev_output();
        if (dev != nullptr && dev == model.dev_layer(0) && ggml_backend_dev_supports_op(dev, rows)) {
            return rows;
        }
    }
    return ggml_get_rows(ctx0, model.tok_embd, inp->tokens);
}

ggml_tensor * armt_graph::build_learned_rows(int64_t first, int64_t n, int64_t n_batch, const char * name) {
    ggml_tensor * rows =
        ggml_view_2d(ctx0, model.memory_embd, n_embd, n, model.memory_embd->nb[1], first * model.memory_embd->nb[1]);
    rows = ggml_cast(ctx0, rows, GGML_TYPE_F32);
    if (n_batch > 1) {
        rows = ggml_repeat_4d(ctx0, rows, n_embd, n, n_batch, 1);
    }
    cb(rows, name, -1);
    return rows;
}

ggml_tensor * armt_graph::build_state_rows(const armt_step & step) {
    if (step.first) {
        return build_learned_rows(0, model.armt.n_mem, step.n_seqs, "memory_embd");
    }
    ggml_tensor * rows = build_memory(ggml_cont(ctx0, memory.view_state(ctx0, step.seq_id, step.n_seqs)));
    cb(rows, "state", -1);
    return rows;
}

void armt_graph::build_state_write(const armt_step & step, ggml_tensor * rows) {
    ggml_tensor * cur = build_norm(rows, model.output_norm, model.output_norm_b,
                                   model.armt.base.layer_norm ? LLM_NORM : LLM_NORM_RMS, -1);
    cur               = ggml_reshape_3d(ctx0, cur, n_embd, step.n_mem, step.n_seqs);
    ggml_build_forward_expand(gf, ggml_cpy(ctx0, cur, memory.view_state(ctx0, step.seq_id, step.n_seqs)));
}

armt_graph::table_rows armt_graph::build_table_rows() {
    table_rows rows = {inp->tokens == nullptr ? nullptr : build_token_rows(), nullptr};
    if (inp->table_pos != nullptr) {
        rows.positions = ggml_get_rows(ctx0, model.position_embd, inp->table_pos);
        cb(rows.positions, "position_embd", -1);
    }
    // What the CPU looks up comes first: the scheduler lets the CPU wait for the device whose nodes precede its own.
    for (ggml_tensor * cur : {rows.tokens, rows.positions}) {
        if (memory.n_devices() > 1 && cur != nullptr && cur->src[0] != model.input_embd) {
            ggml_build_forward_expand(gf, cur);
            n_placed = ggml_graph_n_nodes(gf); // where its weights are
        }
    }
    return rows;
}

ggml_tensor * armt_graph::build_embeddings(const armt_step & step, const table_rows & rows) {
    ggml_tensor * cur = nullptr;
    if (rows.tokens != nullptr) {
        cur = ggml_reshape_3d(ctx0, rows.tokens, n_embd, step.n_text, step.n_taken());
        if (model.armt.base.embedding_scale != 1.0f) {
            cur = ggml_scale(ctx0, cur, model.armt.base.embedding_scale);
        }
        cb(cur, "inp_embd", -1);
    }
    if (step.n_sink > 0) {
        ggml_tensor * before = model.armt.recurrent
                                   ? build_state_rows(step)
                                   : build_learned_rows(model.armt.n_mem, step.n_sink, step.n_taken(), "sink_embd");
        cur                  = ggml_concat(ctx0, before, cur, 1);
    }
    if (step.n_mem > 0) {
        ggml_tensor * mem = model.armt.recurrent ? build_state_rows(step)
                                                 : build_learned_rows(0, step.n_mem, step.n_taken(), "memory_embd");
        cur               = cur == nullptr ? mem : ggml_concat(ctx0, cur, mem, 1);
    }
    if (rows.positions != nullptr) {
        cur = ggml_add(ctx0, ggml_reshape_3d(ctx0, rows.positions, n_embd, cur->ne[1], cur->ne[2]), cur);
    }
    return cur;
}

ggml_tensor * armt_graph::build_last_rows(ggml_tensor * x) {
    return ggml_get_rows(ctx0, ggml_reshape_2d(ctx0, x, x->ne[0], x->ne[1] * x->ne[2]), inp->last_ids);
}

void armt_graph::build_open(const armt_step & step) {
    const int64_t n_out = step.out_rows.size();
    const int64_t n_mem = int64_t(step.n_mem) * step.n_seqs;

    build_inputs(step, step.n_seqs, n_out + n_mem > 0);

    ggml_tensor * cur = build_embeddings(step, build_table_rows());
    for (uint32_t il = 0; il < n_layer; ++il) {
        const cells c = {il, 1};

        if (model.armt.disjoint && il > 0 && step.n_mem > 0) {
            ggml_tensor * mem = build_learned_rows(0, step.n_mem, step.n_seqs, "memory_embd");
            cur               = step.n_text == 0
                                    ? mem
                                    : ggml_concat(
                                          ctx0, ggml_view_3d(ctx0, cur, n_embd, step.n_text, step.n_seqs, cur->nb[1], cur->nb[2], 0),
                                          mem, 1);
        }
        const bool    associative = !model.armt.recurrent;
        ggml_tensor * store = associative ? memory.view_memory_of_layer(ctx0, il, step.seq_id, step.n_seqs) : nullptr;
        ggml_tensor * az    = associative ? build_memory(store) : nullptr;
        if (!step.first && associative) {
            cur = build_read(c, cur, az, false);
        }
        ggml_tensor * attn = build_attn(step, c, cur);
        if (il + 1 == n_layer) {
            if (n_out + n_mem == 0) { // a part of a segment that only leaves its K/V
                place_nodes(model.dev_layer(il));
                break;
            }
            attn = build_last_rows(attn);
            cur  = build_last_rows(cur);
        }
        cur = build_layer_end(c, attn, cur);
        if (memory.n_devices() > 1) {
            ggml_build_forward_expand(gf, cur);
        }
        if (step.n_mem > 0 && associative) {
            ggml_tensor * rows = il + 1 == n_layer
                                     ? ggml_view_3d(ctx0, cur, n_embd, step.n_mem, step.n_seqs, cur->nb[1],
                                                    step.n_mem * cur->nb[1], n_out * cur->nb[1])
                                     : ggml_view_3d(ctx0, cur, n_embd, step.n_mem, step.n_seqs, cur->nb[1], cur->nb[2],
                                                    (step.n_sink + step.n_text) * cur->nb[1]);
            build_write(c, rows, az, store, step.first, nullptr);
        }
        place_nodes(model.dev_layer(il));
    }
    if (n_mem > 0 && model.armt.recurrent) {
        build_state_write(step, ggml_view_2d(ctx0, cur, n_embd, n_mem, cur->nb[1], n_out * cur->nb[1]));
    }
    if (n_out > 0) {
        build_logits(n_mem == 0 ? cur : ggml_view_2d(ctx0, cur, n_embd, n_out, cur->nb[1], 0));
    }
}

armt_graph::cells armt_graph::closed_cells(const armt_step & step, cells c) const {
    return step.open_cell && c.il == step.layer0 ? cells{c.il + 1, c.n - 1} : c;
}

void armt_graph::build_diagonal(const armt_step & step) {
    // Batches are as wide as the stacks allow. The last layers come first, because a cell's output overwrites the next
    // layer's input, which that layer's cell must have read.
    std::vector<cells> batches;
    uint32_t           n_widest = 0;
    for (uint32_t il = step.layer0; il < step.layer1;) {
        // the oldest cell is a batch of its own if it has its own mask
        const uint32_t end = step.oldest_has_own_mask && il + 1 < step.layer1 ? step.layer1 - 1 : step.layer1;
        const uint32_t n   = memory.n_batched(il, end - il);
        batches.push_back({il, n});
        n_widest = std::max(n_widest, n);
        il += n;
    }
    std::reverse(batches.begin(), batches.end());

    const int64_t n_rows = step.n_rows();
    const int64_t n_out  = step.out_rows.size();
    // a batched product computes all rows of all its cells, so only a single last cell can be trimmed
    const bool trim = batches.front().il + 1 == n_layer;
    build_inputs(step, n_widest, trim);

    const table_rows rows   = step.inject ? build_table_rows() : table_rows{};
    const auto       inject = [&] {
        ggml_build_forward_expand(
                  gf, ggml_cpy(ctx0, build_embeddings(step, rows), memory.view_inputs(ctx0, 0, 1, n_rows, step.lane)));
    };
    // The first device comes last. The others need not wait for the embeddings.
    const bool injects_last = memory.n_devices() > 1;
    if (step.inject && !injects_last) {
        inject();
    }
    for (const cells & c : batches) {
        if (step.inject && injects_last && c.il == 0) {
            inject();
        }
        build_fetch(step, c);
        if (model.armt.disjoint) {
            build_disjoint(step, c);
        }
        ggml_tensor * store = memory.view_memory_of_layers(ctx0, c.il, c.n, step.seq_id);
        ggml_tensor * az    = build_memory(store);

        ggml_tensor * cur  = build_read(c, memory.view_inputs(ctx0, c.il, c.n, n_rows, step.lane), az, true);
        ggml_tensor * attn = build_attn(step, c, cur);

        if (trim && c.il + 1 == n_layer) {
            cur = build_layer_end(c, build_last_rows(attn), build_last_rows(cur));
            build_write_closed(step, c, cur, n_out, az, store);
            place_nodes(model.dev_layer(c.il));
            if (n_out > 0) {
                build_logits(ggml_view_2d(ctx0, cur, n_embd, n_out, cur->nb[1], 0));
            }
            continue;
        }

        // the outputs overwrite the next layers' inputs, which those have read by now
        cur = build_layer_end(c, attn, cur, memory.view_outputs(ctx0, c.il, c.n, n_rows, step.lane));
        ggml_build_forward_expand(gf, cur);
        build_write_closed(step, c, cur, step.n_sink + step.n_text, az, store);
        place_nodes(model.dev_layer(c.il));

        if (c.il + c.n == n_layer && n_out > 0) {
            ggml_tensor * last = ggml_view_2d(ctx0, cur, n_embd, n_rows, cur->nb[1], (c.n - 1) * cur->nb[2]);
            build_logits(ggml_get_rows(ctx0, last, inp->out_ids));
        }
    }
}

void armt_graph::build_shared(const armt_step & step) {
    // Batches of consecutive layers with equally many cells, the last layers first, as in build_diagonal
    struct batch {
        cells    c;
        uint32_t first; // of its cells among the step's
    };
    std::vector<batch> batches;
    uint32_t           n_widest = 0;
    for (uint32_t il = step.layer0, first = 0; il < step.layer1;) {
        const uint32_t n_texts = step.n_cells[il - step.layer0];
        uint32_t       end     = il + 1;
        while (end < step.layer1 && step.n_cells[end - step.layer0] == n_texts) {
            ++end;
        }
        const uint32_t n = n_texts == 0 ? end - il : memory.n_batched(il, end - il);
        if (n_texts > 0) {
            batches.push_back({{il, n, n_texts}, first});
        }
        n_widest = std::max(n_widest, n * n_texts);
        first += n * n_texts;
        il += n;
    }
    std::reverse(batches.begin(), batches.end());

    const int64_t n_rows = step.n_rows();
    const int64_t n_out  = step.out_rows.size();
    const bool    trim   = batches.front().c.il + 1 == n_layer;
    build_inputs(step, n_widest, trim);

    if (!step.entering.empty()) {
        ggml_build_forward_expand(gf, ggml_cpy(ctx0, build_embeddings(step, build_table_rows()),
                                               memory.view_lanes(ctx0, 0, 1, n_rows, step.n_taken(), false)));
    }
    for (const auto & [c, first] : batches) {
        const int64_t n_cells = int64_t(c.n) * c.n_texts;

        // {all of a layer's A and z, n_cells} => {K/h, D/h (+ 1) padded, h, n_cells}
        ggml_tensor * memories = memory.view_memory_rows(ctx0, c.il);
        ggml_tensor * rows     = inp->az_rows;
        if (n_cells < rows->ne[0]) {
            rows = ggml_view_1d(ctx0, rows, n_cells, first * rows->nb[0]);
        }
        const ggml_tensor * like = memory.view_memory_of_layer(ctx0, c.il, 0, 1);
        ggml_tensor *       az   = ggml_get_rows(ctx0, memories, rows);
        az                       = ggml_reshape_4d(ctx0, az, like->ne[0], like->ne[1], like->ne[2], n_cells);
        cb(az, "memory_of_cells", c.il);

        // the layers' inputs: one lane's are adjacent in the memory, those of several are copied
        const bool    apart = c.n_texts > 1;
        ggml_tensor * x     = memory.view_inputs(ctx0, c.il, c.n, n_rows, 0);
        if (apart) {
            x = ggml_cont_3d(ctx0, memory.view_lanes(ctx0, c.il, c.n, n_rows, c.n_texts, false), n_embd,
                             n_rows * c.n_texts, c.n);
        }
        ggml_tensor * cur  = build_read(c, x, az, true);
        ggml_tensor * attn = build_attn(step, c, cur);

        const bool    is_last = trim && c.il + 1 == n_layer;
        ggml_tensor * mem     = nullptr;
        if (is_last) {
            cur = build_layer_end(c, build_last_rows(attn), build_last_rows(cur));
            mem =
                ggml_view_3d(ctx0, cur, n_embd, step.n_mem * c.n_texts, 1, cur->nb[1], cur->nb[2], n_out * cur->nb[1]);
        } else {
            // the outputs overwrite the next layers' inputs, which those have read by now
            cur = build_layer_end(c, attn, cur,
                                  apart ? memory.view_lanes(ctx0, c.il, c.n, n_rows, c.n_texts, true)
                                        : memory.view_outputs(ctx0, c.il, c.n, n_rows, 0));
            ggml_build_forward_expand(gf, cur);
            const size_t first_row = (step.n_sink + step.n_text) * cur->nb[1];
            mem = ggml_view_4d(ctx0, cur, n_embd, step.n_mem, cur->ne[2], cur->ne[3], cur->nb[1], cur->nb[2],
                               cur->nb[3], first_row);
        }
        ggml_tensor * not_first = inp->not_first;
        if (not_first != nullptr) {
            not_first = ggml_view_4d(ctx0, not_first, 1, 1, 1, n_cells, not_first->nb[1], not_first->nb[2],
                                     not_first->nb[3], first * not_first->nb[3]);
        }
        build_write(c, mem, az, az, false, not_first);
        ggml_build_forward_expand(
            gf, ggml_set_rows(ctx0, memories, ggml_reshape_2d(ctx0, az, memories->ne[0], n_cells), rows));
        if (c.il + c.n < n_layer || n_out == 0) {
            continue;
        }
        if (is_last) {
            build_logits(ggml_view_2d(ctx0, cur, n_embd, n_out, cur->nb[1], 0));
        } else {
            const size_t  layer = apart ? cur->nb[3] : cur->nb[2];
            ggml_tensor * last =
                ggml_view_3d(ctx0, cur, n_embd, n_rows, c.n_texts, cur->nb[1], cur->nb[2], (c.n - 1) * layer);
            last = ggml_cont_2d(ctx0, last, n_embd, n_rows * c.n_texts);
            build_logits(ggml_get_rows(ctx0, last, inp->out_ids));
        }
    }
}

// Their inputs' memory rows become the learned ones. The layer before has written the old ones to its memory.
void armt_graph::build_disjoint(const armt_step & step, cells c) {
    const uint32_t il = std::max(c.il, 1u);
    if (il >= c.il + c.n) {
        return;
    }
    const int64_t n    = c.il + c.n - il;
    ggml_tensor * x    = memory.view_inputs(ctx0, il, n, step.n_rows(), step.lane);
    ggml_tensor * rows = ggml_view_3d(ctx0, x, n_embd, step.n_mem, n, x->nb[1], x->nb[2], step.n_text * x->nb[1]);
    ggml_build_forward_expand(gf, ggml_cpy(ctx0, build_learned_rows(0, step.n_mem, n, "memory_embd"), rows));
}

void armt_graph::build_write_closed(const armt_step & step, cells c, ggml_tensor * x, uint32_t first_row,
                                    ggml_tensor * az, ggml_tensor * store) {
    const cells    w    = closed_cells(step, c);
    const uint32_t skip = w.il - c.il;
    if (w.n == 0) {
        return;
    }
    const auto of_closed = [&](ggml_tensor * t) {
        return skip == 0 ? t
                         : ggml_view_4d(ctx0, t, t->ne[0], t->ne[1], t->ne[2], w.n, t->nb[1], t->nb[2], t->nb[3],
                                        skip * t->nb[3]);
    };
    ggml_tensor * rows =
        ggml_view_3d(ctx0, x, n_embd, step.n_mem, w.n, x->nb[1], x->nb[2], skip * x->nb[2] + first_row * x->nb[1]);
    ggml_tensor * all       = inp->not_first;
    ggml_tensor * not_first = all == nullptr ? nullptr
                                             : ggml_view_4d(ctx0, all, 1, 1, 1, w.n, all->nb[1], all->nb[2], all->nb[3],
                                                            (w.il - step.layer0) * all->nb[3]);
    ggml_tensor * from      = of_closed(az);
    build_write(w, rows, from, az == store ? from : of_closed(store), false, not_first);
}

// If the layer before is on another device, the cell's input is still there, from the step before. The copy waits for
// that device to end that step. It begins no other before, since the last device is the first in the graph. So all
// devices work at the same time, and each has one part of the graph.
void armt_graph::build_fetch(const armt_step & step, cells c) {
    if (c.il > 0 && memory.n_same_device(c.il - 1, 2) == 1) {
        ggml_tensor * from = memory.view_outputs(ctx0, c.il - 1, 1, step.n_rows(), step.lane);
        ggml_build_forward_expand(gf,
                                  ggml_cpy(ctx0, from, memory.view_inputs(ctx0, c.il, 1, step.n_rows(), step.lane)));
    }
}

void armt_graph::place_nodes(ggml_backend_dev_t dev) {
    const int n_nodes = ggml_graph_n_nodes(gf);
    if (memory.n_devices() > 1 && cparams.offload_kqv) {
        ggml_backend_t backend = nullptr;
        for (int i = 0; i < ggml_backend_sched_get_n_backends(sched); ++i) {
            if (ggml_backend_get_device(ggml_backend_sched_get_backend(sched, i)) == dev) {
                backend = ggml_backend_sched_get_backend(sched, i);
            }
        }
        for (int i = n_placed; i < n_nodes && backend != nullptr; ++i) {
            ggml_tensor * node = ggml_graph_node(gf, i);
            // a node that writes into a tensor of the memory belongs to its device
            if (node->view_src == nullptr && ggml_backend_supports_op(backend, node)) {
                ggml_backend_sched_set_tensor_backend(sched, node, backend);
            }
        }
    }
    n_placed = n_nodes;
}

void armt_graph::build_logits(ggml_tensor * rows) {
    ggml_tensor * cur = build_norm(rows, model.output_norm, model.output_norm_b,
                                   model.armt.base.layer_norm ? LLM_NORM : LLM_NORM_RMS, -1);
    cb(cur, "result_norm", -1);
    res->t_embd = cur;

    cur = ggml_mul_mat(ctx0, model.output, cur);
    cb(cur, "result_output", -1);
    res->t_logits = cur;

    ggml_build_forward_expand(gf, cur);
    place_nodes(model.dev_output());
}
