#include "harness.h"

#include "armt-api.h"
#include "ggml-backend.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <sys/mman.h>
#include <unistd.h>

void fuzz_begin() {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    ggml_backend_load_all_from_path(ARMT_PREBUILT_DIR);
    llama_backend_init();
}

void fuzz_fail(const std::string & message) {
    fprintf(stderr, "%s\n", message.c_str());
    abort();
}

void fuzz_write(const std::string & path, const std::vector<uint8_t> & bytes) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
    if (!out.flush()) {
        fuzz_fail(path + " cannot be written");
    }
}

std::string fuzz_memory_file(const std::vector<uint8_t> & bytes) {
    static const int file = memfd_create("fuzz", 0);
    if (ftruncate(file, 0) != 0 || pwrite(file, bytes.data(), bytes.size(), 0) != ssize_t(bytes.size())) {
        fuzz_fail("the file in memory cannot be written");
    }
    return "/proc/self/fd/" + std::to_string(file);
}

llama_model * fuzz_load_model(const std::string & path, bool use_mmap) {
    llama_model_params params = llama_model_default_params();
    params.n_gpu_layers       = 0;
    params.load_mode          = use_mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
    return llama_model_load_from_file(path.c_str(), params);
}

llama_context * fuzz_create_context(llama_model * model, uint32_t n_seqs) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx                = 64 * n_seqs;
    params.n_batch              = 64;
    params.n_ubatch             = 64;
    params.n_seq_max            = n_seqs;
    params.n_threads            = 1;
    params.n_threads_batch      = 1;
    params.no_perf              = true;
    return llama_init_from_model(model, params);
}

int fuzz_decode(llama_context * context, llama_seq_id seq_id, const std::vector<llama_token> & tokens) {
    llama_batch     batch = llama_batch_init(int32_t(tokens.size()), 0, 1);
    const llama_pos first = llama_memory_seq_pos_max(llama_get_memory(context), seq_id) + 1;
    for (size_t i = 0; i < tokens.size(); ++i) {
        batch.token[i]     = tokens[i];
        batch.pos[i]       = first + llama_pos(i);
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = seq_id;
        batch.logits[i]    = 1;
    }
    batch.n_tokens   = int32_t(tokens.size());
    const int result = llama_decode(context, batch);
    llama_batch_free(batch);
    return result;
}

std::vector<float> fuzz_logits(llama_context * context, size_t n) {
    const float * logits  = llama_get_logits(context);
    const size_t  n_vocab = size_t(llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context))));
    return std::vector<float>(logits, logits + n * n_vocab);
}

std::vector<uint8_t> fuzz_save(llama_context * context, llama_seq_id seq_id) {
    const armt_api *     api = armt_get_api();
    std::vector<uint8_t> state(llama_state_seq_get_size(context, seq_id));
    if (state.empty()) {
        const std::string reason = api->last_error(api->last_context_id());
        if (reason.find("finite") != std::string::npos || reason.find("range of f16") != std::string::npos) {
            return state;
        }
    }
    if (state.empty() || llama_state_seq_get_data(context, state.data(), state.size(), seq_id) != state.size()) {
        fuzz_fail("a sequence cannot be saved");
    }
    return state;
}

std::vector<llama_token> fuzz_tokens(const llama_model * model, size_t n, uint32_t seed) {
    const uint32_t n_vocab = uint32_t(llama_vocab_n_tokens(llama_model_get_vocab(model)));

    std::vector<llama_token> tokens;
    for (uint32_t i = 0; i < n; ++i) {
        tokens.push_back(llama_token((seed + 7 * i * i + 3 * i) % n_vocab));
    }
    return tokens;
}
