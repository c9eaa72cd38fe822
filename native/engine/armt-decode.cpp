// The members of llama_context that run graphs of ARMT models. They replace the ubatch loop of llama_context::decode.

#include "armt-error.h"
#include "armt-memory.h"

#include "llama-batch.h"
#include "llama-context.h"
#include "llama-impl.h"

#include <algorithm>
#include <stdexcept>

// The caller stopped the computation (llama_set_abort_callback)
struct armt_aborted : std::runtime_error {
    armt_aborted() : std::runtime_error("the evaluation was aborted") {}
};

// Computes a step and puts its logits into their rows of the output buffer. If that fails, clears the step's sequences
// and throws.
void llama_context::run_armt(armt_step & step) {
    auto & mem = static_cast<llama_memory_armt &>(*memory);

    // what allow_reuse and graph_compute read; the graph's inputs come from the step
    llama_ubatch ubatch = {};
    ubatch.n_tokens     = step.n_rows() * step.n_seqs;
    ubatch.n_seq_tokens = step.n_rows();
    ubatch.n_seqs       = step.n_seqs;
    ubatch.n_pos        = 1;

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
    if (res != nullptr && mem.type_state() == GGML_TYPE_F16 && step.n_mem > 0) {
        ggml_backend_sched_synchronize(sched.get());
        const int32_t il = mem.find_overflow(step);
        if (il >= 0) {
            reason = "the memory of layer " + std::to_string(il) +
                     " has left the range of f16; create the context with the stateType bf16 or f32";
            res = nullptr;
        }
    }
    if (res == nullptr) {
        // A, z and K/V may be half written
        for (uint32_t is = 0; is < step.n_seqs; ++is) {
            mem.seq_rm(step.seq_id + is, -1, -1);
        }
        // the graph refers to this step
        gf_res_prev_active = nullptr;
        if (status == GGML_STATUS_ABORTED) {
            throw armt_aborted();
        }
        throw std::runtime_error(reason + "; the sequence was cleared");
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
    mem.count_graph(reused, replayed);
    if (traced) {
        // otherwise a GPU would still be working
        ggml_backend_sched_synchronize(sched.get());
        armt_step all = step;
        if (step.type == ARMT_STEP_OPEN) {
            all.layer1 = mem.get_config().n_layer;
        }
        mem.trace.end(all, mem.sequence(step.seq_id).n_segments, reused, replayed);
    }
    for (uint32_t is = 0; is < step.n_seqs; ++is) {
        armt_sequence & seq = mem.sequence(step.seq_id + is);
        armt_step       own = step.n_seqs == 1 ? step : step.of_sequence(is);
        seq.finish_step(mem.get_config(), own);
        seq.stats.n_graphs++;
        seq.stats.n_graphs_reused += reused ? 1 : 0;
        seq.stats.n_graphs_replayed += replayed ? 1 : 0;
        mem.publish_stats(step.seq_id + is);
    }
}

void llama_context::close_armt(llama_seq_id seq_id) {
    auto &    mem = static_cast<llama_memory_armt &>(*memory);
    armt_step step;
    while (mem.sequence(seq_id).next_step(mem.get_config(), step, true)) {
        step.seq_id = seq_id;
        mem.prepare(seq_id);
        run_armt(step);
    }
    synchronize();
}

void llama_context::drain_armt(llama_seq_id seq_id) {
    auto &    mem = static_cast<llama_memory_armt &>(*memory);
    armt_step step;
    for (uint32_t s = 0; s < mem.n_seq_max(); ++s) {
        while ((seq_id < 0 || seq_id == llama_seq_id(s)) && mem.sequence(s).next_flight_step(mem.get_config(), step)) {
            step.seq_id = llama_seq_id(s);
            run_armt(step);
        }
    }
    synchronize();
}

// Appends the batch's tokens to their sequences, in the order of their positions. If it throws, nothing has changed.
static std::vector<llama_seq_id> take_batch(llama_memory_armt & mem, const llama_batch & batch,
                                            std::vector<int32_t> & output_ids) {
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
    for (const auto & [seq_id, tokens] : tokens_of) {
        const armt_sequence & seq = mem.sequence(seq_id);
        llama_pos             pos = seq.empty() ? batch.pos[tokens[0]] : seq.pos_last() + 1;
        std::vector<bool>     outputs;
        for (const int32_t i : tokens) {
            if (batch.pos[i] != pos) {
                throw std::runtime_error("the batch has position " + std::to_string(batch.pos[i]) + " for sequence " +
                                         std::to_string(seq_id) + ", whose next position is " + std::to_string(pos));
            }
            ++pos;
            outputs.push_back(batch.logits[i] != 0);
        }
        if (!seq.fits(mem.get_config(), outputs)) {
            throw std::length_error("the open segment is full: it can grow to " +
                                    std::to_string(mem.get_config().n_segment_max) +
                                    " tokens (openSegmentLimit); raise the limit, or use segmentOverflow \"close\"");
        }
    }

    int32_t n_out = 0;
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        output_ids[i] = batch.logits[i] != 0 ? n_out++ : -1;
    }
    std::vector<llama_seq_id> seq_ids;
    for (const auto & [seq_id, tokens] : tokens_of) {
        for (const int32_t i : tokens) {
            mem.sequence(seq_id).push(batch.token[i], batch.pos[i], output_ids[i]);
        }
        mem.publish_stats(seq_id);
        seq_ids.push_back(seq_id);
    }
    return seq_ids;
}

// The next step of sequence seq_ids[i], shared with the sequences after it that need the same step. False if there is
// none.
static bool next_shared_step(llama_memory_armt & mem, const std::vector<llama_seq_id> & seq_ids, size_t i,
                             armt_step & step) {
    const armt_config & config = mem.get_config();
    if (!mem.sequence(seq_ids[i]).next_step(config, step, false)) {
        return false;
    }
    step.seq_id               = seq_ids[i];
    const uint32_t n_rows_max = config.n_sink + config.n_rows_max + config.n_mem;
    if (step.n_mem > 0 && config.n_prev_max > 0) { // build_keep_text handles one sequence
        return true;
    }
    for (size_t j = i + 1;
         j < seq_ids.size() && step.type == ARMT_STEP_OPEN && (step.n_seqs + 1) * step.n_rows() <= n_rows_max; ++j) {
        armt_step other;
        if (seq_ids[j] != step.seq_id + llama_seq_id(step.n_seqs) ||
            !mem.sequence(seq_ids[j]).next_step(config, other, false) || !step.can_share(other)) {
            break;
        }
        step.share(other);
    }
    return true;
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
        seq_ids   = take_batch(mem, batch, output_ids);
        n_outputs = n_outputs_all;

        armt_step step;
        for (size_t i = 0; i < seq_ids.size();) {
            if (!next_shared_step(mem, seq_ids, i, step)) {
                ++i;
                continue;
            }
            for (uint32_t is = 0; is < step.n_seqs; ++is) {
                mem.prepare(step.seq_id + is);
            }
            run_armt(step);
        }
    } catch (const std::length_error & error) {
        return fail(1, error.what());
    } catch (const armt_aborted & error) {
        return fail(2, error.what());
    } catch (const std::exception & error) {
        return fail(-3, error.what());
    }
    return 0;
}
