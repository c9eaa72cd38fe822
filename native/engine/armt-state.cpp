// Saving and loading of sequences. A sequence is stored as header (since version 2 with the type of A and z, and
// n_prev), counts, pending tokens, text to read again, memory, K/V rows of the open segment (before them those of the
// segment before), end mark.

#include "armt-error.h"
#include "armt-memory.h"

#include "llama-context.h"
#include "llama-impl.h"
#include "llama-io.h"

#include <cstring>
#include <limits>
#include <stdexcept>

static constexpr uint32_t STATE_MAGIC   = 0x746d7261; // "armt"
static constexpr uint32_t STATE_VERSION = 2;
// At the end of a file llama_file returns nothing and reports no error, so only an end mark shows that the state is
// complete.
static constexpr uint32_t STATE_END = 0x21646e65; // "end!"

// Places in state_sizes()
static constexpr size_t STATE_OVERFLOW = 3;
static constexpr size_t STATE_LIMIT    = 4;

static constexpr const char * STATE_ENDED       = "the state is damaged: it ends too early";
static constexpr const char * STATE_CONTRADICTS = "the state is damaged: its counts contradict each other";

template <typename T> static void write_value(llama_io_write_i & io, T value) {
    io.write(&value, sizeof(value));
}

template <typename T> static T read_value(llama_io_read_i & io) {
    T value = {};
    io.read(&value, sizeof(value));
    return value;
}

// What two contexts need to have in common to exchange states. With or without growing answers, equal tokens leave
// equal states, so only the length of the open segment has to fit there.
std::vector<uint32_t> llama_memory_armt::state_sizes() const {
    return {config.n_layer,       config.n_segment,   config.n_mem,      state_overflow(),
            config.n_segment_max, uint32_t(type_k()), uint32_t(type_v())};
}

uint32_t llama_memory_armt::state_overflow() const {
    return config.grows_if_told ? ARMT_SEGMENT_OVERFLOW_ANSWER
           : config.extend      ? ARMT_SEGMENT_OVERFLOW_EXTEND
                                : ARMT_SEGMENT_OVERFLOW_CLOSE;
}

// Returns the sizes of the context that wrote the state.
std::vector<uint32_t> llama_memory_armt::read_sizes(llama_io_read_i & io) const {
    std::vector<uint32_t> wanted = state_sizes();
    std::vector<uint32_t> sizes;
    for (size_t i = 0; i < wanted.size(); ++i) {
        sizes.push_back(read_value<uint32_t>(io));
    }
    const auto closes = [](uint32_t overflow) {
        return overflow == ARMT_SEGMENT_OVERFLOW_CLOSE || overflow == ARMT_SEGMENT_OVERFLOW_ANSWER;
    };
    if (closes(sizes[STATE_OVERFLOW]) && closes(wanted[STATE_OVERFLOW])) {
        wanted[STATE_OVERFLOW] = sizes[STATE_OVERFLOW];
        wanted[STATE_LIMIT]    = sizes[STATE_LIMIT];
    }
    if (sizes != wanted) {
        throw std::runtime_error("the state belongs to a context with another segment size, segment overflow or "
                                 "K/V type; create the context with the same options");
    }
    return sizes;
}

void llama_memory_armt::state_write(llama_io_write_i & io, llama_seq_id seq_id, llama_state_seq_flags flags) const {
    const bool closed_only = (flags & ARMT_STATE_CLOSED_ONLY) != 0;
    if (seq_id >= 0) {
        if (!has_sequence(seq_id)) {
            throw std::runtime_error("this context has no sequence " + std::to_string(seq_id));
        }
        write_sequence(io, seq_id, closed_only);
        check_devices(); // a lost server's tensors are read as zeros
        return;
    }
    write_value<uint32_t>(io, n_seq_max());
    for (uint32_t s = 0; s < n_seq_max(); ++s) {
        write_sequence(io, s, closed_only);
    }
    check_devices();
}

// All or nothing: the sequences change only after everything has been read and checked.
void llama_memory_armt::state_read(llama_io_read_i & io, llama_seq_id seq_id, llama_state_seq_flags flags) {
    try {
        if (flags & LLAMA_STATE_SEQ_FLAGS_ON_DEVICE) {
            throw std::runtime_error("the states of ARMT models cannot stay on the device");
        }
        if (seq_id >= 0) {
            if (!has_sequence(seq_id)) {
                throw std::runtime_error("this context has no sequence " + std::to_string(seq_id));
            }
            set_sequence(seq_id, read_sequence(io, seq_id));
            check_devices();
            return;
        }
        const uint32_t n_seqs = read_value<uint32_t>(io);
        if (n_seqs != n_seq_max()) {
            throw std::runtime_error("the state holds " + std::to_string(n_seqs) + " sequences, but this context has " +
                                     std::to_string(n_seq_max()));
        }
        std::vector<sequence_state> states;
        for (uint32_t s = 0; s < n_seqs; ++s) {
            states.push_back(read_sequence(io, s));
        }
        for (uint32_t s = 0; s < n_seqs; ++s) {
            set_sequence(s, states[s]);
        }
        check_devices();
    } catch (const std::exception & error) {
        // what llama.cpp says of a buffer, and of a file on Windows; elsewhere, it reads past the end of a file
        const bool ended = strncmp(error.what(), "unexpectedly reached end of", 27) == 0;
        armt_set_error(id, ended ? STATE_ENDED : error.what());
        throw;
    }
}

template <typename F> void llama_memory_armt::each_memory(llama_seq_id seq_id, F fn) const {
    for (const layer_group & group : groups) {
        if (model.armt.recurrent && group.layer0 > 0) {
            break;
        }
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

void llama_memory_armt::check_numbers(llama_seq_id seq_id) {
    armt_sequence & seq = sequences[seq_id];
    // Saving asks twice: for the size of the state, and for the state. node-llama-cpp also asks for the size of a new
    // context's state, on Node's own thread, which must not wait for devices.
    if (seq.checked || (seq.n_segments == 0 && seq.n_open == 0)) {
        return;
    }
    std::string damage = find_damage(seq_id);
    each_kv(seq, seq_id, [&](ggml_tensor * cache, size_t offset, size_t size) {
        if (!damage.empty()) {
            return;
        }
        std::vector<uint8_t> bytes(size);
        ggml_backend_tensor_get(cache, bytes.data(), offset, size);
        if (!ggml_validate_row_data(cache->type, bytes.data(), size)) {
            damage = "the keys and values of the open segment are not finite: the computation overflowed, " +
                     other_reasons() + "; the sequence was cleared";
        }
    });
    if (!damage.empty()) {
        wipe_sequence(seq_id);
        throw std::runtime_error(damage);
    }
    seq.checked = true;
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

static llama_token read_token(llama_io_read_i & io, uint32_t n_vocab) {
    const int32_t token = read_value<int32_t>(io);
    if (token < 0 || uint32_t(token) >= n_vocab) {
        throw std::runtime_error("the state is damaged: token id " + std::to_string(token) + " is out of range");
    }
    return token;
}

// Throws if the counts contradict each other, so that later steps can rely on them.
// n_written_max: tokens that an open segment can have in the context that wrote the state
// same_overflow: whether that context has the same segment overflow; first_output means something else otherwise
static armt_sequence read_counts(llama_io_read_i & io, const armt_config & config, uint32_t n_vocab,
                                 uint32_t n_written_max, bool same_overflow) {
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
    const uint64_t n_text    = uint64_t(seq.n_open) + n_pending;
    if (n_text > config.n_segment_max && n_text <= n_written_max) {
        throw std::runtime_error("the open segment of the state has " + std::to_string(n_text) +
                                 " tokens, and one of this context at most " + std::to_string(config.n_segment_max) +
                                 "; create the context with segmentOverflow \"answer\" and a larger openSegmentLimit");
    }
    const auto is_size = [&](uint64_t n) { return n >= 1 && n <= config.n_segment; };
    const bool plan_ok = seq.plan.n_total == 0 || (is_size(seq.plan.n_first) && is_size(seq.plan.n_each));
    // a segment has one token at least, and the last position is one too
    const bool start_ok = seq.pos_first >= 0 && seq.pos_open >= seq.pos_first &&
                          seq.n_segments <= uint64_t(seq.pos_open - seq.pos_first) &&
                          (seq.n_segments > 0 || seq.pos_open == seq.pos_first);
    if (!plan_ok || !start_ok) {
        throw std::runtime_error(STATE_CONTRADICTS);
    }
    if (config.grows_if_told) {
        // it has grown exactly if it is longer than a segment, and a forged value could let it shrink unnoticed
        const uint32_t size = seq.segment_size(config);
        seq.first_output    = n_text > size ? size : UINT32_MAX;
    } else if (!same_overflow) {
        seq.first_output = UINT32_MAX;
    }
    if (seq.n_open > config.n_segment_max || n_pending > config.n_segment_max || n_text > seq.capacity(config) ||
        int64_t(seq.pos_open) + seq.n_open + n_pending > std::numeric_limits<llama_pos>::max()) {
        throw std::runtime_error(STATE_CONTRADICTS);
    }
    for (uint32_t i = 0; i < n_pending; ++i) {
        seq.pending.push_back({read_token(io, n_vocab), -1});
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
    for (const auto * text : {&seq.reread, &seq.open_text}) {
        for (const llama_token token : *text) {
            write_value<int32_t>(io, token);
        }
    }
    if (!seq.stale) {
        each_memory(seq_id, [&](ggml_tensor * az, size_t offset, size_t size) { io.write_tensor(az, offset, size); });
    }
    each_kv(seq, seq_id,
            [&](ggml_tensor * cache, size_t offset, size_t size) { io.write_tensor(cache, offset, size); });
    write_value(io, STATE_END);
}

llama_memory_armt::sequence_state llama_memory_armt::read_sequence(llama_io_read_i & io, llama_seq_id seq_id) const {
    if (read_value<uint32_t>(io) != STATE_MAGIC) {
        throw std::runtime_error("this is not a state of an ARMT model");
    }
    const uint32_t version = read_value<uint32_t>(io);
    if (version < 1 || version > STATE_VERSION) {
        throw std::runtime_error("the state has format " + std::to_string(version) +
                                 ", but this version reads formats 1 to " + std::to_string(STATE_VERSION));
    }
    // read_string would allocate whatever length the state claims
    std::string fingerprint(model.armt.fingerprint.size(), ' ');
    const bool  same_length = read_value<uint32_t>(io) == fingerprint.size();
    if (same_length) {
        io.read(&fingerprint[0], fingerprint.size());
    }
    if (!same_length || fingerprint != model.armt.fingerprint) {
        throw std::runtime_error(
            "the state belongs to another model; load it with the model file that it was saved with");
    }
    const std::vector<uint32_t> sizes = read_sizes(io);
    const uint32_t              type  = version == 1 ? uint32_t(GGML_TYPE_F32) : read_value<uint32_t>(io);
    if (type != uint32_t(type_state())) {
        const char * name = type < GGML_TYPE_COUNT ? ggml_type_name(ggml_type(type)) : "unknown";
        throw std::runtime_error(std::string("the state belongs to a context whose stateType is ") + name +
                                 ", and this context's is " + ggml_type_name(type_state()) +
                                 "; create the context with the same options");
    }
    const uint32_t n_prev = version == 1 ? 0 : read_value<uint32_t>(io);
    armt_sequence  seq =
        read_counts(io, config, model.vocab.n_tokens(), sizes[STATE_LIMIT], sizes[STATE_OVERFLOW] == state_overflow());
    if (n_prev > config.n_segment_max || (config.n_prev_max > 0 && (n_prev > 0) != (seq.n_segments > 0))) {
        throw std::runtime_error(STATE_CONTRADICTS);
    }
    const int64_t n_tokens = seq.empty() ? 0 : int64_t(seq.pos_last()) - seq.pos_first + 1;
    if (n_tokens_expected >= 0 && (n_tokens != n_tokens_expected || (n_tokens > 0 && seq.pos_first != 0))) {
        throw std::runtime_error("the state is damaged: it holds " + std::to_string(n_tokens) +
                                 " tokens from position " + std::to_string(seq.pos_first) + " on, instead of " +
                                 std::to_string(n_tokens_expected) + " from position 0 on");
    }
    seq.n_prev = n_prev;
    if (config.n_reread_max > 0) {
        if (n_prev > config.n_reread_max || (n_prev > 0) != (seq.n_segments > 0)) {
            throw std::runtime_error(STATE_CONTRADICTS);
        }
        for (uint32_t i = 0; i < n_prev; ++i) {
            seq.reread.push_back(read_token(io, model.vocab.n_tokens()));
        }
        for (uint32_t i = 0; i < seq.n_open; ++i) {
            seq.open_text.push_back(read_token(io, model.vocab.n_tokens()));
        }
    }

    // io.read_tensor would write into the tensors even if a later part is wrong. The sizes are the context's own.
    sequence_state state;
    state.seq       = seq;
    const auto read = [&](ggml_tensor * t, size_t offset, size_t size) {
        state.parts.push_back({t, offset, std::vector<uint8_t>(size)});
        std::vector<uint8_t> & bytes = state.parts.back().bytes;
        io.read(bytes.data(), size);
        if (!ggml_validate_row_data(t->type, bytes.data(), size)) {
            throw std::runtime_error("the state is damaged: it has numbers that are not finite");
        }
    };
    if (!seq.stale) {
        each_memory(seq_id, read);
    }
    each_kv(seq, seq_id, read);
    if (read_value<uint32_t>(io) != STATE_END) {
        throw std::runtime_error(STATE_ENDED);
    }
    return state;
}

void llama_memory_armt::set_sequence(llama_seq_id seq_id, const sequence_state & state) {
    lctx->synchronize();
    clear_sequence(seq_id);
    for (const tensor_part & part : state.parts) {
        ggml_backend_tensor_set(part.tensor, part.bytes.data(), part.offset, part.bytes.size());
    }
    sequences[seq_id]          = state.seq;
    sequences[seq_id].n_looked = state.seq.n_passed();
    sequences[seq_id].checked  = true;
    publish_stats(seq_id);
}
