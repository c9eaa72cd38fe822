// The members of llama_context that run graphs of ARMT models. They replace the ubatch loop of llama_context::decode.

#include "armt-error.h"
#include "armt-memory.h"
#include "armt-schedule.h"

#include "llama-batch.h"
#include "llama-context.h"
#include "llama-impl.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

// The caller stopped the computation (llama_set_abort_callback)
struct armt_aborted : std::runtime_error {
    armt_aborted() : std::runtime_error("the evaluation was aborted") {}
};

// A device is gone, and with it layers of every sequence
struct armt_device_lost : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Why sequences failed in a step or a batch. The other sequences went on.
using armt_reasons = std::map<llama_seq_id, std::string>;

struct armt_failed : std::runtime_error {
    explicit armt_failed(armt_reasons reasons)
        : std::runtime_error(reasons.begin()->second), reasons(std::move(reasons)) {}

    armt_reasons reasons;
};

// Empties all sequences and throws armt_device_lost if the connection to an RPC server was lost.
static void check_devices(llama_memory_armt & mem) {
    try {
        mem.check_devices();
    } catch (const std::exception & error) {
        mem.clear(true);
        throw armt_device_lost(std::string(error.what()) + "; the context's sequences were cleared. Load the model " +
                               "again when the server is back");
    }
}

// Computes a step and puts its logits into their rows of the output buffer. If that fails, clears the step's sequences
// and throws armt_failed.
void llama_context::run_armt(armt_step & step) {
    auto & mem = static_cast<llama_memory_armt &>(*memory);
    mem.prepare_lanes(step);

    // what allow_reuse and graph_compute read; the graph's inputs come from the step
    const bool     shared = step.type == ARMT_STEP_SHARED;
    const uint32_t n_wide = shared ? *std::max_element(step.n_cells.begin(), step.n_cells.end()) : step.n_seqs;
    llama_ubatch   ubatch = {};
    ubatch.n_tokens       = step.n_rows() * n_wide;
    ubatch.n_seq_tokens   = step.n_rows();
    ubatch.n_seqs         = n_wide;
    ubatch.n_pos          = 1;

    const uint32_t n_outputs_all = n_outputs;
    const int32_t  n_reused_old  = n_reused;
    const uint64_t n_replays_old = mem.n_replays();
    n_outputs                    = step.outs.size();

    const bool traced = mem.trace.enabled();
    if (traced) {
        mem.trace.begin();
    }
    llama_memory_armt_context mctx(mem, step);
    ggml_status               status = GGML_STATUS_FAILED;
    const llm_graph_result *  res    = nullptr;
    std::string               reason = "the computation failed";
    try {
        res = process_ubatch(ubatch, LLM_GRAPH_TYPE_DEFAULT, &mctx, status);
    } catch (const std::exception & error) {
        reason = error.what();
    }
    n_outputs = n_outputs_all;
    if (res == nullptr) {
        gf_res_prev_active = nullptr; // the graph refers to this step
    }
    check_devices(mem);

    const std::vector<llama_seq_id> seq_ids = step.seq_ids();

    if (res == nullptr) {
        armt_reasons reasons;
        for (const llama_seq_id seq_id : seq_ids) {
            mem.seq_rm(seq_id, -1, -1); // A, z and K/V may be half written
            reasons[seq_id] = reason + "; the sequence was cleared";
        }
        if (status == GGML_STATUS_ABORTED) {
            throw armt_aborted();
        }
        throw armt_failed(reasons);
    }

    if (!step.outs.empty()) {
        const size_t   n_vocab = model.vocab.n_tokens();
        ggml_backend_t backend = ggml_backend_sched_get_tensor_backend(sched.get(), res->get_logits());
        for (size_t i = 0; i < step.outs.size();) {
            size_t n = 1; // rows that are adjacent in both buffers
            while (i + n < step.outs.size() && step.outs[i + n] == step.outs[i] + int32_t(n)) {
                ++n;
            }
            ggml_backend_tensor_get_async(backend, res->get_logits(), logits.data + step.outs[i] * n_vocab,
                                          i * n_vocab * sizeof(float), n * n_vocab * sizeof(float));
            i += n;
        }
    }

    const bool reused   = n_reused > n_reused_old;
    const bool replayed = mem.n_replays() > n_replays_old;
    mem.count_graph(reused, replayed, ggml_backend_sched_get_n_splits(sched.get()));
    mem.count_fp8(sched.get());
    if (traced) {
        // otherwise a GPU would still be working
        ggml_backend_sched_synchronize(sched.get());
        if (shared) {
            for (const llama_seq_id seq_id : seq_ids) {
                mem.trace.end_shared(mem.get_config(), step, seq_id, mem.sequence(seq_id), reused, replayed);
            }
        } else {
            armt_step all = step;
            if (step.type == ARMT_STEP_OPEN) {
                all.layer1 = mem.get_config().n_layer;
            }
            mem.trace.end(all, mem.sequence(step.seq_id).n_segments, reused, replayed);
        }
    }
    for (const llama_seq_id seq_id : seq_ids) {
        armt_sequence & seq = mem.sequence(seq_id);
        seq.finish_step(mem.get_config(), seq_ids.size() == 1 && !shared ? step : step.of_sequence(seq_id));
        seq.stats.n_graphs++;
        seq.stats.n_graphs_reused += reused ? 1 : 0;
        seq.stats.n_graphs_replayed += replayed ? 1 : 0;
        mem.publish_stats(seq_id);
    }
}

// Runs a step for one sequence. The failure of another that shares the step is left for that sequence's next batch.
static void run_for(llama_memory_armt & mem, llama_seq_id seq_id, const std::function<void()> & run) {
    try {
        run();
    } catch (const armt_failed & error) {
        for (const auto & [id, reason] : error.reasons) {
            armt_set_sequence_error(mem.get_id(), id, reason);
        }
        if (error.reasons.count(seq_id) > 0) {
            throw armt_failed({{seq_id, error.reasons.at(seq_id)}});
        }
    }
}

// Finds the sequences among these whose memory is no longer finite. Tokens without logits show it nowhere else, and it
// stays so.
//
// That is cheap: a batch of which a segment has passed all layers costs one wait for the device, and a copy of a column
// of A for each sequence, which is a few KiB. Steps do not wait, and batches within a segment do not either.
static void check_memories(llama_context & lctx, llama_memory_armt & mem, const std::vector<llama_seq_id> & seq_ids,
                           armt_reasons & reasons) {
    const auto wants_look = [&](llama_seq_id seq_id) { return mem.wants_look(seq_id); };
    if (std::none_of(seq_ids.begin(), seq_ids.end(), wants_look)) {
        return;
    }
    lctx.synchronize();
    for (const llama_seq_id seq_id : seq_ids) {
        if (wants_look(seq_id) && !mem.look(seq_id)) {
            reasons[seq_id] = mem.find_damage(seq_id);
        }
    }
    check_devices(mem); // a lost server's tensors are read as zeros
}

// The same, after steps without a batch. Clears these sequences and throws armt_failed if there are any.
static void require_memories(llama_context & lctx, llama_memory_armt & mem, const std::vector<llama_seq_id> & seq_ids) {
    armt_reasons reasons;
    check_memories(lctx, mem, seq_ids, reasons);
    for (const auto & [seq_id, reason] : reasons) {
        mem.wipe_sequence(seq_id);
    }
    if (!reasons.empty()) {
        throw armt_failed(reasons);
    }
}

void llama_context::close_armt(llama_seq_id seq_id) {
    auto &    mem = static_cast<llama_memory_armt &>(*memory);
    armt_step step;
    if (!mem.sequence(seq_id).fits(mem.get_config(), {}, true)) {
        throw std::runtime_error("no positions are left for the memory tokens of sequence " + std::to_string(seq_id) +
                                 ": the model's learned positions end after " +
                                 std::to_string(mem.get_config().n_position) + " rows");
    }
    while (armt_next_step(mem.get_config(), mem.all_sequences(), {seq_id}, true, step)) {
        mem.prepare(seq_id);
        run_for(mem, seq_id, [&] { run_armt(step); });
    }
    synchronize();
    check_devices(mem);
    require_memories(*this, mem, {seq_id});
}

// The sequences that seq_id stands for; -1: all
static std::vector<llama_seq_id> sequences_of(const llama_memory_armt & mem, llama_seq_id seq_id) {
    std::vector<llama_seq_id> ids;
    for (uint32_t s = 0; s < mem.n_seq_max(); ++s) {
        if (seq_id < 0 || seq_id == llama_seq_id(s)) {
            ids.push_back(llama_seq_id(s));
        }
    }
    return ids;
}

void armt_drain(llama_context & lctx, llama_seq_id seq_id) {
    auto &                          mem = static_cast<llama_memory_armt &>(*lctx.get_memory());
    const std::vector<llama_seq_id> ids = sequences_of(mem, seq_id);
    armt_step                       step;
    for (const llama_seq_id id : ids) {
        while (armt_next_flight_step(mem.get_config(), mem.all_sequences(), id, step)) {
            run_for(mem, id, [&] { lctx.run_armt(step); });
        }
    }
    lctx.synchronize();
    check_devices(mem);
    require_memories(lctx, mem, ids);
}

// Called before states are written
void llama_context::drain_armt(llama_seq_id seq_id) {
    auto & mem = static_cast<llama_memory_armt &>(*memory);
    try {
        armt_drain(*this, seq_id);
        for (const llama_seq_id id : sequences_of(mem, seq_id)) {
            mem.check_numbers(id);
        }
    } catch (const std::exception & error) {
        armt_set_error(mem.get_id(), error.what()); // llama.cpp only logs it
        throw;
    }
}

// Why a sequence cannot take these tokens of a batch; empty if it can
static std::string find_refusal(llama_memory_armt & mem, llama_seq_id seq_id, const llama_batch & batch,
                                const std::vector<int32_t> & tokens) {
    const armt_sequence & seq = mem.sequence(seq_id);
    llama_pos             pos = seq.empty() ? batch.pos[tokens[0]] : seq.pos_last() + 1;
    std::vector<bool>     outputs;
    for (const int32_t i : tokens) {
        if (batch.pos[i] != pos) {
            return "the batch has position " + std::to_string(batch.pos[i]) + " for sequence " +
                   std::to_string(seq_id) + ", whose next position is " + std::to_string(pos);
        }
        ++pos;
        outputs.push_back(batch.logits[i] != 0);
    }
    if (!seq.fits(mem.get_config(), outputs)) {
        if (mem.get_config().n_position > 0) {
            return "the model's learned positions run on from segment to segment and end after " +
                   std::to_string(mem.get_config().n_position) + " rows, memory tokens included; start a new sequence";
        }
        return "the open segment is full: it can grow to " + std::to_string(mem.get_config().n_segment_max) +
               " tokens (openSegmentLimit); raise the limit, or use segmentOverflow \"close\"";
    }
    return "";
}

// Appends the batch's tokens to their sequences, in the order of their positions, and returns the sequences. Those that
// cannot take theirs do not change and get a reason. If it throws, nothing has changed.
static std::vector<llama_seq_id> take_batch(llama_memory_armt & mem, const llama_batch & batch,
                                            std::vector<int32_t> & output_ids, armt_reasons & reasons) {
    std::map<llama_seq_id, std::vector<int32_t>> tokens_of;
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        if (batch.n_seq_id[i] != 1) {
            throw std::runtime_error("ARMT models do not support a token that belongs to several sequences; decode it "
                                     "for each of them, or copy the sequence");
        }
        if (!mem.has_sequence(batch.seq_id[i][0])) {
            throw std::runtime_error("this context has no sequence " + std::to_string(batch.seq_id[i][0]));
        }
        tokens_of[batch.seq_id[i][0]].push_back(i);
    }
    int32_t n_out = 0;
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        output_ids[i] = batch.logits[i] != 0 ? n_out++ : -1;
    }
    std::vector<llama_seq_id> seq_ids;
    for (const auto & [seq_id, tokens] : tokens_of) {
        armt_take_sequence_error(mem.get_id(), seq_id); // of an earlier batch
        const std::string refusal = find_refusal(mem, seq_id, batch, tokens);
        if (!refusal.empty()) {
            reasons[seq_id] = refusal;
            continue;
        }
        for (const int32_t i : tokens) {
            mem.sequence(seq_id).push(batch.token[i], batch.pos[i], output_ids[i]);
        }
        mem.publish_stats(seq_id);
        seq_ids.push_back(seq_id);
    }
    return seq_ids;
}

// The logits of sequences that failed, which nobody should use, become zeros instead of whatever the buffer holds.
static void clear_logits(const llama_batch & batch, const std::vector<int32_t> & output_ids,
                         const armt_reasons & reasons, float * logits, size_t n_vocab) {
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        if (output_ids[i] >= 0 && reasons.count(batch.seq_id[i][0]) > 0) {
            std::fill_n(logits + output_ids[i] * n_vocab, n_vocab, 0.0f);
        }
    }
}

// Whether a row of logits can be sampled from. A logit of -inf is a token that the model rules out.
static bool is_usable(const float * row, size_t n_vocab) {
    bool wrong = false;
    for (size_t i = 0; i < n_vocab; ++i) {
        wrong |= !(row[i] <= std::numeric_limits<float>::max()); // also true for NaN
    }
    return !wrong;
}

// Finds the sequences whose logits nobody can use.
static void check_logits(const llama_memory_armt & mem, const llama_batch & batch,
                         const std::vector<int32_t> & output_ids, const float * logits, size_t n_vocab,
                         armt_reasons & reasons) {
    const std::string servers = mem.servers();
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        const llama_seq_id seq_id = batch.seq_id[i][0];
        if (output_ids[i] >= 0 && reasons.count(seq_id) == 0 && !is_usable(logits + output_ids[i] * n_vocab, n_vocab)) {
            // of the last closed segment's memory, only the open segment's logits can show it
            reasons[seq_id] = mem.find_damage(seq_id);
            if (reasons[seq_id].empty()) {
                reasons[seq_id] = "the logits of position " + std::to_string(batch.pos[i]) +
                                  " are not finite: the model file has weights that are not, " +
                                  (servers.empty() ? "" : "an RPC server computed wrongly (" + servers + "), ") +
                                  "or the computation overflowed; the sequence was cleared";
            }
        }
    }
}

int llama_context::decode_armt() {
    auto &              mem   = static_cast<llama_memory_armt &>(*memory);
    const llama_batch & batch = balloc->get_batch();

    std::vector<llama_seq_id> seq_ids;
    const auto                fail = [&](int code, const char * what) {
        for (const llama_seq_id seq_id : seq_ids) {
            mem.sequence(seq_id).forget_outputs();
            mem.publish_stats(seq_id);
        }
        n_outputs = 0;
        armt_set_error(mem.get_id(), what);
        LLAMA_LOG_ERROR("decode_armt: %s\n", what);
        return code;
    };
    try {
        check_devices(mem);
        if (batch.token == nullptr) {
            throw std::runtime_error("ARMT models take tokens, not embeddings, as input");
        }
        if (cparams.embeddings || !sampling.samplers.empty()) {
            throw std::runtime_error(
                "ARMT models produce logits only; embeddings and backend samplers are not supported");
        }
        const uint32_t n_outputs_all = balloc->get_n_outputs();
        if (output_reserve(n_outputs_all) < n_outputs_all) {
            throw std::runtime_error("not enough memory for the logits of " + std::to_string(n_outputs_all) +
                                     " tokens");
        }
        armt_reasons reasons;
        seq_ids   = take_batch(mem, batch, output_ids, reasons);
        n_outputs = n_outputs_all;

        const bool full = reasons.size() > 0 && seq_ids.empty();

        armt_step step;
        while (armt_next_step(mem.get_config(), mem.all_sequences(), seq_ids, false, step)) {
            for (const llama_seq_id seq_id : step.seq_ids()) {
                mem.prepare(seq_id);
            }
            try {
                run_armt(step);
            } catch (const armt_failed & error) {
                for (const auto & [seq_id, reason] : error.reasons) {
                    reasons[seq_id] = reason;
                }
                seq_ids.erase(std::remove_if(seq_ids.begin(), seq_ids.end(),
                                             [&](llama_seq_id seq_id) { return reasons.count(seq_id) > 0; }),
                              seq_ids.end());
            }
        }
        armt_reasons unusable = reasons;
        check_memories(*this, mem, seq_ids, unusable);
        if (n_outputs > 0 && !seq_ids.empty()) {
            synchronize();
            check_devices(mem);
            check_logits(mem, batch, output_ids, logits.data, model.vocab.n_tokens(), unusable);
        }
        for (const auto & [seq_id, reason] : unusable) {
            if (reasons.emplace(seq_id, reason).second) {
                mem.wipe_sequence(seq_id);
                seq_ids.erase(std::find(seq_ids.begin(), seq_ids.end(), seq_id));
            }
        }
        for (const auto & [seq_id, reason] : reasons) {
            armt_set_sequence_error(mem.get_id(), seq_id, reason);
            LLAMA_LOG_ERROR("decode_armt: sequence %d: %s\n", seq_id, reason.c_str());
        }
        if (!reasons.empty() && seq_ids.empty()) {
            return fail(full ? 1 : -3, reasons.begin()->second.c_str());
        }
        if (!reasons.empty() && n_outputs > 0) {
            synchronize();
            clear_logits(batch, output_ids, reasons, logits.data, model.vocab.n_tokens());
        }
    } catch (const armt_aborted & error) {
        return fail(2, error.what());
    } catch (const std::exception & error) {
        return fail(-3, error.what());
    }
    return 0;
}
