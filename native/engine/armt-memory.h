#pragma once

#include "armt-api.h"
#include "armt-inputs.h"
#include "armt-model.h"
#include "armt-sequence.h"
#include "armt-trace.h"

#include "llama-memory.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

// The memory of a context for ARMT models. It stores state; armt-decode.cpp runs the graphs that change it.
//
// For each sequence it holds in tensors
//   - the associative memory of each layer, in float32 or the type of the option stateType. A and z lie side by side:
//     row j < D/h of a head is column j of A, row D/h is z. Rows of zeros pad them to a multiple of 4, so that the rows
//     of products with them are aligned for wide loads and stores;
//   - K and V of the open segment; before them, if the model's attention goes back that far, those of the last closed
//     segment's text;
//   - with the diagonal schedule, the inputs of the layers that segments in flight wait for;
// and the rest in an armt_sequence. None of it grows with the number of tokens.
class llama_memory_armt : public llama_memory_i {
public:
    llama_memory_armt(const llama_model_armt & model, const llama_memory_params & params,
                      const llama_cparams & cparams);
    ~llama_memory_armt() override;

    //
    // llama_memory_i
    //

    // never called, because decode_armt replaces the ubatch loop
    llama_memory_context_ptr init_batch(llama_batch_allocr & balloc, uint32_t n_ubatch, bool embd_all) override;
    llama_memory_context_ptr init_full() override;
    llama_memory_context_ptr init_update(llama_context * lctx, bool optimize) override;

    bool get_can_shift() const override { return false; }

    void clear(bool data) override;

    // Removes the end of the open segment, or the whole sequence. Anything else changes nothing and returns false.
    bool seq_rm(llama_seq_id seq_id, llama_pos p0, llama_pos p1) override;
    // Copies from the sequence's start only. A p1 within the open segment cuts the copy.
    void seq_cp(llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0, llama_pos p1) override;
    void seq_keep(llama_seq_id seq_id) override;
    // The next two change nothing and log an error, because closed segments are in the memory with their positions.
    void seq_add(llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos shift) override;
    void seq_div(llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d) override;

    // One before the start of the open segment: node-llama-cpp removes tokens only after this position
    llama_pos seq_pos_min(llama_seq_id seq_id) const override;
    llama_pos seq_pos_max(llama_seq_id seq_id) const override;

    std::map<ggml_backend_buffer_type_t, size_t> memory_breakdown() const override;

    // For sequences with nothing in flight; throws std::runtime_error otherwise (llama_context drains them first).
    // Flags other than ARMT_STATE_CLOSED_ONLY are ignored: without the open segment's K/V, its tokens would be lost.
    void state_write(llama_io_write_i & io, llama_seq_id seq_id, llama_state_seq_flags flags) const override;
    void state_read(llama_io_read_i & io, llama_seq_id seq_id, llama_state_seq_flags flags) override;

    // state_read refuses states that do not hold so many tokens from position 0 on; -1: it takes any number
    void expect_tokens(int64_t n_tokens) { n_tokens_expected = n_tokens; }

    //
    // the engine
    //

    void attach(llama_context * lctx);

    // Throws std::runtime_error that names the RPC server if the connection to one of the context's was lost. All
    // sequences are empty then, because each has layers there.
    void check_devices() const;

    // The RPC servers that compute, e.g. "a:50052, b:50052"; empty if there are none
    std::string servers() const;

    // as armt_api.get_devices
    uint32_t get_devices(armt_device_info * devices, uint32_t n) const;

    uint64_t            get_id() const { return id; }
    const armt_config & get_config() const { return config; }
    armt_context_info   get_info() const;
    llama_context *     get_context() const { return lctx; }

    uint32_t        n_seq_max() const { return uint32_t(sequences.size()); }
    bool            has_sequence(llama_seq_id seq_id) const { return seq_id >= 0 && size_t(seq_id) < sequences.size(); }
    armt_sequence & sequence(llama_seq_id seq_id) { return sequences.at(seq_id); }
    const std::vector<armt_sequence> & all_sequences() const { return sequences; }

    // Zeroes A and z of a sequence that was cleared. To be called before each step of it.
    void prepare(llama_seq_id seq_id);
    // Zeroes the K/V of shared diagonals before steps with fewer rows: those behind are masked, but may not be finite.
    void prepare_lanes(const armt_step & step);

    // For other threads, which must not access the sequences themselves
    armt_sequence_stats get_stats(llama_seq_id seq_id) const;
    void                publish_stats(llama_seq_id seq_id);

    // Counts a graph evaluation of the context.
    // n_parts: splits of the scheduler
    void count_graph(bool reused, bool replayed, int n_parts);

    // Takes over the backends' counts of products in e4m3.
    void count_fp8(ggml_backend_sched_t sched);

    // CUDA graphs that the layers' backend has replayed in this process; 0 if it does not count them
    uint64_t n_replays() const;

    // The record of the context's graph evaluations; off unless asked for
    armt_trace trace;

    // Copies layer il's memory into buffers of armt_api.read_memory's shapes.
    void read_memory(llama_seq_id seq_id, uint32_t il, float * a, float * z) const;

    // Whether segments have passed all layers since the last look
    bool wants_look(llama_seq_id seq_id) const;

    // Whether a sequence's memory may be finite, by a few of its numbers. What is not finite in one layer makes the
    // rows of the next segment so, and these all later layers, so the last layer shows it for all. The caller has
    // waited for the steps.
    bool look(llama_seq_id seq_id);

    // Why a sequence's memory cannot be used; empty if all of it is finite. The caller has waited for the steps.
    std::string find_damage(llama_seq_id seq_id) const;

    // Looks at all that a state would hold. Empties the sequence and throws std::runtime_error if some is not finite.
    void check_numbers(llama_seq_id seq_id);

    // Clears a sequence, and also what later steps would mask rather than overwrite: masking multiplies by 0.
    void wipe_sequence(llama_seq_id seq_id);

    //
    // tensors
    //

    ggml_type type_k() const { return groups[0].k->type; }
    ggml_type type_v() const { return groups[0].v->type; }

    // of A and z
    ggml_type type_state() const { return groups[0].az->type; }

    // {K/h, D/h (+ 1) padded, h, n_seqs} of a layer, or {.., .., h, n_cells} of consecutive layers
    ggml_tensor * view_memory_of_layer(ggml_context * ctx, uint32_t il, llama_seq_id seq_id, uint32_t n_seqs) const;
    ggml_tensor * view_memory_of_layers(ggml_context * ctx, uint32_t il, uint32_t n_cells, llama_seq_id seq_id) const;

    // A and z of all sequences and layers on a layer's device, one row for each, {(K/h)*rows*h, n_rows}; and the row of
    // one of them. Sequence -1 has rows that nobody uses. In shared diagonals only.
    ggml_tensor * view_memory_rows(ggml_context * ctx, uint32_t il) const;
    int32_t       memory_row(uint32_t il, llama_seq_id seq_id) const;

    // Plain RMT's state, {D, n_mem, n_seqs}
    ggml_tensor * view_state(ggml_context * ctx, llama_seq_id seq_id, uint32_t n_seqs) const;

    // {n_embd_kv, n_kv_max, n_seq_max, n_layers}, of all layers that are on the layer's device
    ggml_tensor * get_k(uint32_t il) const { return group_of(il).k; }
    ggml_tensor * get_v(uint32_t il) const { return group_of(il).v; }

    // bytes from the start of such a tensor to a sequence in a layer
    size_t kv_offset(const ggml_tensor * cache, uint32_t il, llama_seq_id seq_id) const;
    // rows from one sequence to the next (sequences), or from one layer to the next
    uint32_t n_kv_stride(bool sequences) const { return sequences ? config.n_kv_max : config.n_kv_max * n_seq_max(); }

    // Positions and mask of a whole segment's rows, for one sequence in one or more consecutive layers
    struct constants {
        ggml_tensor * pos;     // I32 {(n_sink + S + M)*n_layers}: positions in the segment
        ggml_tensor * kv_idxs; // I64 {(n_sink + S + M)*n_layers}: rows of the flat K/V cache, from the first layer's on
        ggml_tensor * kq_mask; // F16 {n_kv, n_sink + S + M}, where the segment before is whole too; see armt_mask
        ggml_tensor * kq_mask_window; // the same for layers with a window that cuts into a segment, or nullptr
    };
    // what the masks of all segments have in common
    armt_mask get_mask() const;

    // whether the base model's window cuts into a segment
    bool has_window() const;

    const constants & get_constants(uint32_t il) const { return group_of(il).whole; }

    // {D, n_rows, n_cells}: a lane's inputs of the layers il .. il + n_cells - 1, or their outputs, which are the next
    // layers' inputs
    ggml_tensor * view_inputs(ggml_context * ctx, uint32_t il, uint32_t n_cells, uint32_t n_rows, uint32_t lane) const;
    ggml_tensor * view_outputs(ggml_context * ctx, uint32_t il, uint32_t n_cells, uint32_t n_rows, uint32_t lane) const;
    // The same of the first lanes: {D, n_rows, n_lanes, n_cells}
    ggml_tensor * view_lanes(ggml_context * ctx, uint32_t il, uint32_t n_cells, uint32_t n_rows, uint32_t n_lanes,
                             bool outputs) const;

    // Where shared diagonals put K and V, which nobody needs after the step:
    // {n_embd_kv, n_kv_cell(), n_lanes, n_layers}
    ggml_tensor * get_lane_k(uint32_t il) const { return group_of(il).lane_k; }
    ggml_tensor * get_lane_v(uint32_t il) const { return group_of(il).lane_v; }
    uint32_t      n_kv_cell() const { return config.n_kv(config.n_sink + config.n_text_whole() + config.n_mem); }
    // as get_constants, for cells that follow each other in these tensors
    const constants & get_lane_constants(uint32_t il) const { return group_of(il).lanes; }

    uint32_t n_devices() const { return uint32_t(groups.size()); }

    // how many consecutive layers from il on, at most n_max, are on one device
    uint32_t n_same_device(uint32_t il, uint32_t n_max) const;

    // how many of these one batched product can serve
    uint32_t n_batched(uint32_t il, uint32_t n_max) const;

private:
    // The tensors of consecutive layers on one device
    struct layer_group {
        uint32_t      layer0;
        uint32_t      layer1;
        ggml_tensor * k;
        ggml_tensor * v;
        // type_state() {K/h, D/h (+ 1) padded, h*(layer1 - layer0), n_seq_max}, with shared diagonals one more for
        // cells of sequences that are gone; plain RMT's state, which the first group holds, is {D, n_mem padded, 1,
        // n_seq_max}
        ggml_tensor * az;
        // F32 {D, n_sink + S + M, layer1 - layer0 + 1, lanes or n_seq_max}: inputs, then the last layer's output;
        // diagonal schedule only
        ggml_tensor * x;
        ggml_tensor * lane_k; // with shared diagonals only
        ggml_tensor * lane_v;
        constants     whole;
        constants     lanes;

        uint32_t n_layers() const { return layer1 - layer0; }
    };

    const llama_model_armt & model;
    const armt_config        config;

    uint64_t        id   = 0;
    llama_context * lctx = nullptr;

    std::vector<layer_group>                                          groups;
    std::vector<std::pair<ggml_context_ptr, ggml_backend_buffer_ptr>> ctxs_bufs;

    std::vector<armt_sequence> sequences;

    uint32_t n_lane_text = 0; // text rows of the last shared diagonal

    uint64_t (*backend_replays)(void) = nullptr;

    mutable std::mutex               stats_mutex;
    uint64_t                         n_graphs          = 0;
    uint64_t                         n_graphs_reused   = 0;
    uint64_t                         n_graphs_replayed = 0;
    uint64_t                         n_graph_parts     = 0;
    uint64_t                         n_fp8_computed    = 0;
    uint64_t                         n_fp8_left        = 0;
    std::vector<armt_sequence_stats> published_stats;

    // rows of A and z, without the padding: D/h, and one more for z
    uint32_t            n_value_rows() const;
    const layer_group & group_of(uint32_t il) const;

    ggml_tensor * view_x(ggml_context * ctx, const layer_group & group, uint32_t i, uint32_t n, uint32_t n_rows,
                         uint32_t lane) const;

    // besides growth, why numbers of a sequence are not finite
    std::string other_reasons() const;

    bool is_layer_finite(llama_seq_id seq_id, uint32_t il) const;

    void create_tensors(ggml_type type_k, ggml_type type_v, ggml_type type_state, bool offload);
    void set_constants();
    void clear_sequence(llama_seq_id seq_id);
    void clear_lanes();
    void copy_tensors(llama_seq_id src, llama_seq_id dst);

    void write_sequence(llama_io_write_i & io, llama_seq_id seq_id, bool closed_only) const;

    // A part of a tensor, and what goes there
    struct tensor_part {
        ggml_tensor *        tensor;
        size_t               offset;
        std::vector<uint8_t> bytes;
    };

    struct sequence_state {
        armt_sequence            seq;
        std::vector<tensor_part> parts;
    };

    int64_t n_tokens_expected = -1;

    // Reads and checks a state. Nothing changes.
    sequence_state read_sequence(llama_io_read_i & io, llama_seq_id seq_id) const;
    void           set_sequence(llama_seq_id seq_id, const sequence_state & state);

    std::vector<uint32_t> state_sizes() const;
    std::vector<uint32_t> read_sizes(llama_io_read_i & io) const;
    uint32_t              state_overflow() const; // enum armt_segment_overflow

    // Calls fn(tensor, offset, size) for each range of K/V that later steps see.
    template <typename F> void each_kv(const armt_sequence & seq, llama_seq_id seq_id, F fn) const;

    // Calls fn(tensor, offset, size) for each range of a sequence's A and z, without the padding.
    template <typename F> void each_memory(llama_seq_id seq_id, F fn) const;
};

// Brings a sequence's segments in flight through all layers; -1: those of all sequences. Throws std::runtime_error if a
// step fails, or if the memory is not finite then. In armt-decode.cpp.
void armt_drain(llama_context & lctx, llama_seq_id seq_id);

// Carries a step to the graph builder.
class llama_memory_armt_context : public llama_memory_context_i {
public:
    llama_memory_armt_context(llama_memory_armt & memory, const armt_step & step)
        : memory(memory), step(step), trace(memory.trace) {}
    llama_memory_armt_context(llama_memory_armt & memory, llama_memory_status status)
        : memory(memory), step(reserve), trace(memory.trace), status(status) {}

    bool                 next() override { return false; }
    bool                 apply() override { return true; }
    const llama_ubatch & get_ubatch() const override { return ubatch; }
    llama_memory_status  get_status() const override { return status; }

    const llama_memory_armt & memory;
    const armt_step &         step;
    armt_trace &              trace; // the graph's inputs mark the time in it

private:
    armt_step           reserve;
    llama_ubatch        ubatch = {};
    llama_memory_status status = LLAMA_MEMORY_STATUS_SUCCESS;
};
