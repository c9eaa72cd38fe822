// Saving and loading of sequences. A sequence is stored as header (since version 2 with the type of A and z, and
// n_prev), counts, pending tokens, memory, K/V rows of the open segment (before them those of the segment before), end
// mark.

#include "armt-error.h"
#include "armt-memory.h"

#include "llama-impl.h"
#include "llama-io.h"

#include <stdexcept>

static constexpr uint32_t STATE_MAGIC   = 0x746d7261; // "armt"
static constexpr uint32_t STATE_VERSION = 2;
// At the end of a file llama_file returns nothing and reports no error, so only an end mark shows that the state is
// complete.
static constexpr uint32_t STATE_END = 0x21646e65; // "end!"

template <typename T> static void write_value(llama_io_write_i & io, T value) {
    io.write(&value, sizeof(value));
}

template <typename T> static T read_value(llama_io_read_i & io) {
    T value = {};
    io.read(&value, sizeof(value));
    return value;
}

// What two contexts need to have in common to exchange states
std::vector<uint32_t> llama_memory_armt::state_sizes() const {
    return {config.n_layer,       config.n_segment,   config.n_mem,      config.extend ? 1u : 0u,
            config.n_segment_max, uint32_t(type_k()), uint32_t(type_v())};
}

void llama_memory_armt::state_write(llama_io_write_i & io, llama_seq_id seq_id, llama_state_seq_flags flags) const {
    const bool closed_only = (flags & ARMT_STATE_CLOSED_ONLY) != 0;
    if (seq_id >= 0) {
        if (!has_sequence(seq_id)) {
            throw std::runtime_error("this context has no sequence " + std::to_string(seq_id));
        }
        write_sequence(io, seq_id, closed_only);
        return;
    }
    write_value<uint32_t>(io, n_seq_max());
    for (uint32_t s = 0; s < n_seq_max(); ++s) {
        write_sequence(io, s, closed_only);
    }
}

void llama_memory_armt::state_read(llama_io_read_i & io, llama_seq_id seq_id, llama_state_seq_flags) {
    try {
        if (seq_id >= 0) {
            if (!has_sequence(seq_id)) {
                throw std::runtime_error("this context has no sequence " + std::to_string(seq_id));
            }
            read_sequence(io, seq_id);
            return;
        }
        const uint32_t n_seqs = read_value<uint32_t>(io);
        if (n_seqs != n_seq_max()) {
            throw std::runtime_error("the state holds " + std::to_string(n_seqs) + " sequences, but this context has " +
                                     std::to_string(n_seq_max()));
        }
        for (uint32_t s = 0; s < n_seqs; ++s) {
            read_sequence(io, s);
        }
    } catch (const std::exception & error) {
        armt_set_error(id, error.what());
        throw;
    }
}

template <typename F> void llama_memory_armt::each_memory(llama_seq_id seq_id, F fn) const {
    for (const layer_group & group : groups) {
        for (int64_t i = 0; i < group.az->ne[2]; ++i) {
            fn(group.az, seq_id * group.az->nb[3] + i * group.az->nb[2], n_value_rows() * group.az->nb[1]);
        }
    }
}

template <typename F> void llama_memory_armt::each_kv(const armt_sequence & seq, llama_seq_id seq_id, F fn) const {
    const uint32_t n_prev = config.n_prev_max > 0 ? seq.n_prev : 0;
    for (uint32_t il = 0; il < config.n_layer; ++il) {
        for (ggml_tensor * cache : {get_k(il), get_v(il)}) {
            const size_t start = kv_offset(cache, il, seq_id);
            if (n_prev > 0) {
                fn(cache, start, n_prev * cache->nb[1]);
            }
            if (seq.n_open > 0) {
                fn(cache, start + config.n_prev_max * cache->nb[1], seq.n_cached(config) * cache->nb[1]);
            }
        }
    }
}

static void write_counts(llama_io_write_i & io, const armt_sequence & seq) {
    write_value<int32_t>(io, seq.pos_first);
    write_value<int32_t>(io, seq.pos_open);
    write_value<uint32_t>(io, seq.n_open);
    write_value<uint64_t>(io, seq.n_segments);
    write_value<uint32_t>(io, seq.first_output);
    write_value<uint64_t>(io, seq.plan.n_first);
    write_value<uint64_t>(io, seq.plan.n_each);
    write_value<uint64_t>(io, seq.plan.n_total);
    write_value<uint8_t>(io, seq.stale);
    write_value<uint32_t>(io, uint32_t(seq.pending.size()));
    for (const armt_pending & token : seq.pending) {
        write_value<int32_t>(io, token.token);
    }
}

// Throws if the counts contradict each other, so that later steps can rely on them.
static armt_sequence read_counts(llama_io_read_i & io, const armt_config & config, uint32_t n_vocab) {
    armt_sequence seq;
    seq.pos_first    = read_value<int32_t>(io);
    seq.pos_open     = read_value<int32_t>(io);
    seq.n_open       = read_value<uint32_t>(io);
    seq.n_segments   = read_value<uint64_t>(io);
    seq.first_output = read_value<uint32_t>(io);
    seq.plan.n_first = read_value<uint64_t>(io);
    seq.plan.n_each  = read_value<uint64_t>(io);
    seq.plan.n_total = read_value<uint64_t>(io);
    seq.stale        = read_value<uint8_t>(io) != 0;

    const uint32_t n_pending = read_value<uint32_t>(io);
    const auto     is_size   = [&](uint64_t n) { return n >= 1 && n <= config.n_segment; };
    const bool     plan_ok   = seq.plan.n_total == 0 || (is_size(seq.plan.n_first) && is_size(seq.plan.n_each));
    const bool     start_ok =
        seq.pos_first >= 0 && seq.pos_open >= seq.pos_first && (seq.n_segments > 0 || seq.pos_open == seq.pos_first);
    if (!plan_ok || !start_ok || seq.n_open > config.n_segment_max || n_pending > config.n_segment_max ||
        seq.n_open + n_pending > seq.capacity(config)) {
        throw std::runtime_error("the state is damaged: its counts contradict each other");
    }
    for (uint32_t i = 0; i < n_pending; ++i) {
        const int32_t token = read_value<int32_t>(io);
        if (token < 0 || uint32_t(token) >= n_vocab) {
            throw std::runtime_error("the state is damaged: token id " + std::to_string(token) + " is out of range");
        }
        seq.pending.push_back({token, -1});
    }
    return seq;
}

void llama_memory_armt::write_sequence(llama_io_write_i & io, llama_seq_id seq_id, bool closed_only) const {
    // a state holds no in-flight segments, because their activations would be most of it
    if (sequences[seq_id].n_in_flight() > 0) {
        throw std::runtime_error("sequence " + std::to_string(seq_id) + " still has segments in flight");
    }
    const armt_sequence seq = closed_only ? sequences[seq_id].closed_part() : sequences[seq_id];
    write_value(io, STATE_MAGIC);
    write_value(io, STATE_VERSION);
    io.write_string(model.armt.fingerprint);
    for (const uint32_t size : state_sizes()) {
        write_value(io, size);
    }
    write_value<uint32_t>(io, uint32_t(type_state()));
    write_value<uint32_t>(io, seq.n_prev);
    write_counts(io, seq);
    if (!seq.stale) {
        each_memory(seq_id, [&](ggml_tensor * az, size_t offset, size_t size) { io.write_tensor(az, offset, size); });
    }
    each_kv(seq, seq_id,
            [&](ggml_tensor * cache, size_t offset, size_t size) { io.write_tensor(cache, offset, size); });
    write_value(io, STATE_END);
}

void llama_memory_armt::read_sequence(llama_io_read_i & io, llama_seq_id seq_id) {
    if (read_value<uint32_t>(io) != STATE_MAGIC) {
        throw std::runtime_error("this is not a state of an ARMT model");
    }
    const uint32_t version = read_value<uint32_t>(io);
    if (version < 1 || version > STATE_VERSION) {
        throw std::runtime_error("the state has format " + std::to_string(version) +
                                 ", but this version reads formats 1 to " + std::to_string(STATE_VERSION));
    }
    std::string fingerprint;
    io.read_string(fingerprint);
    if (fingerprint != model.armt.fingerprint) {
        throw std::runtime_error(
            "the state belongs to another model; load it with the model file that it was saved with");
    }
    const std::vector<uint32_t> sizes = state_sizes();
    for (const uint32_t size : sizes) {
        if (read_value<uint32_t>(io) != size) {
            throw std::runtime_error("the state belongs to a context with another segment size, segment overflow or "
                                     "K/V type; create the context with the same options");
        }
    }
    const uint32_t type = version == 1 ? uint32_t(GGML_TYPE_F32) : read_value<uint32_t>(io);
    if (type != uint32_t(type_state())) {
        const char * name = type < GGML_TYPE_COUNT ? ggml_type_name(ggml_type(type)) : "unknown";
        throw std::runtime_error(std::string("the state belongs to a context whose stateType is ") + name +
                                 ", and this context's is " + ggml_type_name(type_state()) +
                                 "; create the context with the same options");
    }
    const uint32_t n_prev = version == 1 ? 0 : read_value<uint32_t>(io);
    armt_sequence  seq    = read_counts(io, config, model.vocab.n_tokens());
    if (n_prev > config.n_segment_max || (config.n_prev_max > 0 && (n_prev > 0) != (seq.n_segments > 0))) {
        throw std::runtime_error("the state is damaged: its counts contradict each other");
    }
    seq.n_prev = n_prev;

    // io writes the tensors when it is done, even after an error, so the sequence counts as cleared until then
    clear_sequence(seq_id);
    if (!seq.stale) {
        each_memory(seq_id, [&](ggml_tensor * az, size_t offset, size_t size) { io.read_tensor(az, offset, size); });
    }
    each_kv(seq, seq_id, [&](ggml_tensor * cache, size_t offset, size_t size) { io.read_tensor(cache, offset, size); });
    if (read_value<uint32_t>(io) != STATE_END) {
        throw std::runtime_error("the state is damaged: it ends too early");
    }
    sequences[seq_id] = seq;
    publish_stats(seq_id);
}
