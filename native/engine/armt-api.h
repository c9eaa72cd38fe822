#pragma once

// The exported interface of the ARMT engine in libllama: a table of functions behind one symbol, so that a separately
// compiled addon can find it with dlsym and check its version. All functions are thread-safe unless stated otherwise.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ARMT_API_VERSION 11

struct llama_context;

enum armt_schedule {
    ARMT_SCHEDULE_AUTO       = 0, // diagonal on a GPU if there is more than one segment, sequential on the CPU
    ARMT_SCHEDULE_SEQUENTIAL = 1, // segment after segment
    ARMT_SCHEDULE_DIAGONAL   = 2, // all cells with layer + segment = const in one graph (arXiv 2506.05229)
};

enum armt_segment_overflow {
    ARMT_SEGMENT_OVERFLOW_CLOSE  = 0, // a full segment is written to memory and the next one opened
    ARMT_SEGMENT_OVERFLOW_EXTEND = 1, // the open segment grows while decoding, up to open_segment_limit
    // like CLOSE, but a segment grows up to open_segment_limit after grow_segment; like CLOSE in all if the model's
    // segments go back into the segment before, or its positions run on
    ARMT_SEGMENT_OVERFLOW_ANSWER = 2,
};

// The number type in which A and z are stored between graph evaluations, which compute in float32
enum armt_state_type {
    ARMT_STATE_TYPE_F32  = 0,
    ARMT_STATE_TYPE_F16  = 1,
    ARMT_STATE_TYPE_BF16 = 2,
};

// How the layers' matrices are multiplied. The memory and its projections never change.
enum armt_precision {
    ARMT_PRECISION_AUTO = 0, // as the backend does for the weights' type
    // Both operands are rounded to e4m3, each row with a scale of its own, in products of 32 rows and more. Needs the
    // tuned CUDA backend and compute capability 8.9 or newer.
    ARMT_PRECISION_FP8 = 1,
};

// Products of a layer of the base model, as bits
enum armt_product {
    ARMT_PRODUCT_QKV     = 1 << 0,
    ARMT_PRODUCT_O       = 1 << 1, // the attention's output
    ARMT_PRODUCT_GATE_UP = 1 << 2,
    ARMT_PRODUCT_DOWN    = 1 << 3,
    ARMT_PRODUCT_ALL     = (1 << 4) - 1,
    // O in e4m3 gains no time and costs half a percent of perplexity, see docs/gpu.md
    ARMT_PRODUCT_DEFAULT = ARMT_PRODUCT_ALL - ARMT_PRODUCT_O,
};

struct armt_context_options {
    int32_t  schedule;           // enum armt_schedule
    int32_t  segment_overflow;   // enum armt_segment_overflow
    uint32_t segment_size;       // text tokens in a segment; 0: the model's
    uint32_t open_segment_limit; // tokens that an open segment can hold with EXTEND; 0: segment size + 2048
    uint32_t max_cells;          // cells (layers) batched in one product of a diagonal; 0: chosen by the engine
    int32_t  state_type;         // enum armt_state_type
    // sequences whose segments enter a diagonal that all sequences share; 0: chosen by the engine; -1: each sequence
    // has its own diagonals
    int32_t  texts_per_layer;
    int32_t  precision;    // enum armt_precision
    uint32_t fp8_products; // with FP8 the products in e4m3, a sum of enum armt_product; 0: DEFAULT
};

// Where the layers of a model go. A number below 0 leaves a field of llama_model_params as it is.
struct armt_placement {
    const char *         path;         // the model file, as llama.cpp gets it
    const char * const * rpc;          // RPC servers, host:port; their devices come before this machine's
    uint32_t             n_rpc;        // 0: the devices that llama.cpp chooses
    int32_t              n_gpu_layers; // layers on devices, the last ones first; one more: the output too
    int32_t              split_mode;   // enum llama_split_mode
    int32_t              main_gpu;     // the only device with LLAMA_SPLIT_MODE_NONE
    const float *        tensor_split; // how much of the layers each device gets, in proportion
    uint32_t             n_tensor_split;
};

// One device with layers of a context's model
struct armt_device_info {
    char     name[128]; // of ggml's device; of an RPC server host:port
    uint32_t layer0;    // layers layer0 .. layer1 - 1
    uint32_t layer1;
    uint32_t has_times; // 1 for RPC servers of this package
    uint64_t work_us;   // computing, since the process connected
    uint64_t wait_us;   // waiting for a command
};

struct armt_context_info {
    int32_t  schedule; // the schedule in use: SEQUENTIAL or DIAGONAL
    int32_t  segment_overflow;
    uint32_t segment_size;
    uint32_t open_segment_limit; // tokens that fit into an open segment
    uint32_t max_cells;
    uint32_t n_layer;
    uint32_t n_mem; // memory tokens, M
    uint32_t n_seq_max;
    uint32_t n_head;            // heads of the memory, h
    uint32_t d_key;             // K / h
    uint32_t d_value;           // D / h
    uint32_t use_denom;         // 1: z exists
    int32_t  state_type;        // enum armt_state_type
    uint32_t texts_per_layer;   // 0: each sequence has its own diagonals
    uint32_t fp8_products;      // products in e4m3, a sum of enum armt_product
    uint64_t memory_bytes;      // A and z of one sequence
    uint64_t total_bytes;       // all buffers that the context's memory holds: A, z, K/V, pipeline
    uint64_t n_graphs;          // graph evaluations
    uint64_t n_graphs_reused;   // of these, those that reused the graph of the evaluation before
    uint64_t n_graphs_replayed; // of these, those that the tuned CUDA backend replayed as a CUDA graph
    uint64_t n_graph_parts;     // parts in which they were computed: one for each run of nodes on the same device
    uint64_t n_fp8_computed;    // products that were computed in e4m3; one of several cells counts once
    uint64_t n_fp8_left;        // of fp8_products and 32 rows or more, but left in 16 bits
};

struct armt_sequence_stats {
    int64_t n_tokens;          // tokens, computed or pending
    int64_t segment_start;     // position of the open segment's first token
    int64_t n_open;            // tokens in the open segment, including n_pending
    int64_t n_pending;         // tokens that wait for their segment to fill
    int64_t n_segments;        // closed segments, including those in flight
    int64_t n_in_flight;       // closed segments that have not passed all layers
    int64_t n_graphs;          // graph evaluations that worked on this sequence
    int64_t n_graphs_reused;   // of these, those that reused the graph of the evaluation before
    int64_t n_graphs_replayed; // of these, those that the tuned CUDA backend replayed as a CUDA graph
    int64_t n_cells;           // computed cells (layer, segment), without those of the open segment
};

enum armt_trace_type {
    ARMT_TRACE_OPEN     = 0, // rows of open segments, through all layers
    ARMT_TRACE_DIAGONAL = 1, // cells of one diagonal; the youngest may belong to the open segment
};

// One graph evaluation of a traced context. A diagonal that sequences share has a record for each run of consecutive
// layers with cells of one sequence, all with the same times.
struct armt_trace_step {
    uint64_t start_us; // since the start of the trace
    uint64_t build_us; // part of time_us, until the inputs were set: building a graph that was not reused
    uint64_t time_us;  // until the result was available
    int64_t  segment;  // index, from 0, of the segment of layer0's cell; layer0 + i has segment - i
    int32_t  type;     // enum armt_trace_type
    int32_t  seq_id;   // first sequence
    uint32_t n_seqs;   // consecutive sequences in the step
    uint32_t n_text;   // text rows of each sequence or cell, padding of an open segment's cell included
    uint32_t n_mem;    // memory rows after the text
    uint32_t layer0;   // cells are in the layers layer0 .. layer1 - 1
    uint32_t layer1;
    uint32_t n_outputs; // rows whose logits were computed
    uint32_t reused;    // 1: reused the graph of the step before
    uint32_t replayed;  // 1: replayed as a CUDA graph
};

// Flag of llama_state_seq_get_size_ext and llama_state_seq_get_data_ext: saves the closed segments only, so that a
// sequence that loads the state starts with an empty segment. Not among the flags that llama.h defines.
#define ARMT_STATE_CLOSED_ONLY (1u << 16)

struct armt_api {
    uint32_t version; // ARMT_API_VERSION
    uint32_t size;    // sizeof(struct armt_api)

    // Sets the options of all contexts that are created for ARMT models from now on; NULL: the defaults. Returns false,
    // with a text in last_error, if a field is out of range. What depends on the model is checked when a context is
    // created, which then fails with a text in last_error.
    bool (*set_context_options)(const struct armt_context_options * options);

    // Loads ggml's RPC backend from a library, once. false: a text in last_error(0), as with the next two.
    bool (*load_rpc)(const char * library);

    // Runs an RPC server. Returns only if it cannot listen.
    bool (*serve_rpc)(const char * endpoint, const char * cache, uint32_t n_threads);

    // Sets where the model of a file goes when it is loaded, until forget_placement. Connects to the RPC servers, so
    // call it on a worker thread.
    bool (*set_placement)(const struct armt_placement * placement);
    // False if a server of it was lost since, with the reason in last_error(0).
    bool (*forget_placement)(const char * path);

    // The devices with layers, in the order of layers; fills at most n and returns their number. 0 if the context does
    // not exist. Asks RPC servers for their times, so call it on a worker thread, never during a llama_decode.
    uint32_t (*get_devices)(uint64_t id, struct armt_device_info * devices, uint32_t n);

    // false, with a text in last_error, if an RPC server of the context is gone. Tensors of a lost server are read as
    // zeros, so ask after a state was saved.
    bool (*check_devices)(uint64_t id);

    // Id of the newest ARMT context that still exists; 0 if there is none. Ids are never reused.
    uint64_t (*last_context_id)(void);

    // The context of an id; NULL if it is gone. Not safe against a concurrent llama_free of it.
    struct llama_context * (*get_context)(uint64_t id);

    // false: the context (or sequence) does not exist
    bool (*context_info)(uint64_t id, struct armt_context_info * info);
    bool (*sequence_stats)(uint64_t id, int32_t seq_id, struct armt_sequence_stats * stats);

    // Sets the segment sizes of the next prompt of an empty sequence: n_first tokens in the first segment, n_each in
    // the others, until n_total tokens have arrived; then the segment size again. For `right` and `center` alignment.
    // 1 <= n_first, n_each <= segment size. Clearing the sequence drops the plan. false: last_error says why.
    bool (*plan_segments)(uint64_t id, int32_t seq_id, uint64_t n_first, uint64_t n_each, uint64_t n_total);

    // Lets the open segment grow until it closes or its tokens up to this point are removed; with grows = false, not
    // any longer, which only holds for a segment that has not grown yet. For ARMT_SEGMENT_OVERFLOW_ANSWER. false:
    // last_error says why.
    bool (*grow_segment)(uint64_t id, int32_t seq_id, bool grows);

    // Computes what is pending, closes the open segment whatever its length (if it is not empty) and waits for the
    // result. Call it on a worker thread, never during a llama_decode of the same context. false: last_error says why.
    bool (*close_segment)(uint64_t id, int32_t seq_id);

    // Copies layer il's memory: A as [h][d_key][d_value] (row-major, the papers' [K, D]), z as [h][d_key] (z may be
    // NULL), with the papers' order of features. n_a and n_z: floats that fit into the buffers. Computes the segments
    // in flight first, so call it as close_segment. false: last_error says why.
    bool (*read_memory)(uint64_t id, int32_t seq_id, uint32_t il, float * a, size_t n_a, float * z, size_t n_z);

    // Loads a state that llama_state_seq_get_data_ext wrote, if it holds n_tokens tokens from position 0 on. Bytes
    // after the state are ignored. Call it on a worker thread, never during a llama_decode of the same context. false:
    // last_error says why, and the sequence is as before.
    bool (*load_state)(uint64_t id, int32_t seq_id, const uint8_t * data, size_t size, uint64_t n_tokens);

    // Records each graph evaluation of a context from now on, or stops; drops what was recorded before. While
    // recording, each evaluation waits for its result, so that times are those of the step. At most 2^20 steps are
    // kept. false: the context does not exist.
    bool (*set_trace)(uint64_t id, bool enabled);

    // Moves the oldest recorded steps, at most n, to the buffer and returns their number. n = 0: returns the number of
    // recorded steps. 0 if the context does not exist.
    size_t (*take_trace)(uint64_t id, struct armt_trace_step * steps, size_t n);

    // Returns the engine's last message once: of this context (id != 0), or of the calls without a context (id 0); ""
    // if there is none since the last call. Valid until the next call from this thread.
    const char * (*last_error)(uint64_t id);

    // Returns once why the last llama_decode with tokens of this sequence failed for it; "" if it did not. llama_decode
    // returns 0 if it succeeded for any sequence; the logits of the others are zeros then. Valid as last_error.
    const char * (*sequence_error)(uint64_t id, int32_t seq_id);

    // What llama.cpp takes at most. It asserts these bounds instead of reporting an error.
    uint32_t max_layers;
    uint32_t max_experts;
};

// clang-format off
// the only exported symbol
#if defined(_WIN32)
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
const struct armt_api * armt_get_api(void);
// clang-format on

#ifdef __cplusplus
}
#endif
