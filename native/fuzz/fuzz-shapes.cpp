// Hyper-parameters and shapes of tensors. An input is a list of choices, from which a well-formed GGUF file is built.
// Its tensors fit its keys, except for a few that are changed at the end. So most files pass the parser, and many the
// loader.
//
// With ARMT_FUZZ_FILE, the model is written into that file instead.

#include "gguf-builder.h"
#include "harness.h"

#include "armt-api.h"

#include <cstdlib>

extern "C" int LLVMFuzzerInitialize(int *, char ***) {
    fuzz_begin();
    return 0;
}

static llama_context * create_context(llama_model * model, choices & choose) {
    armt_context_options options = {};
    options.schedule             = int32_t(choose.below(3));
    options.segment_overflow     = int32_t(choose.below(3));
    options.segment_size         = choose.number({0, 0, 0, 1, 2, 5});
    options.max_cells            = choose.number({0, 0, 1, 2});
    options.state_type           = int32_t(choose.below(3));
    const armt_api * api         = armt_get_api();
    return api->set_context_options(&options) ? fuzz_create_context(model, 2) : nullptr;
}

static std::string bytes_of(const std::vector<float> & numbers) {
    return std::string(reinterpret_cast<const char *>(numbers.data()), numbers.size() * sizeof(float));
}

// The bytes of the logits, since numbers that are not finite equal nothing
static std::string read_more(llama_context * context, llama_seq_id seq_id) {
    constexpr size_t n  = 5;
    const bool       ok = fuzz_decode(context, seq_id, fuzz_tokens(llama_get_model(context), n, 4)) == 0;
    return ok ? bytes_of(fuzz_logits(context, n)) : std::string();
}

// Computing may fail, but what was computed can be saved, copied, loaded and removed.
static void use_context(llama_context * context, choices & choose) {
    const llama_model * model  = llama_get_model(context);
    llama_memory_t      memory = llama_get_memory(context);
    for (uint32_t i = 0; i < 3; ++i) {
        fuzz_decode(context, llama_seq_id(choose.below(2)), fuzz_tokens(model, 1 + choose.below(24), i));
    }
    const std::vector<uint8_t> state = fuzz_save(context, 0);
    if (state.empty()) {
        return; // its numbers are not finite
    }
    if (llama_state_seq_set_data(context, state.data(), state.size(), 1) == 0) {
        fuzz_fail("a saved state is refused");
    }
    const std::string first = read_more(context, 0);
    if (read_more(context, 1) != first) {
        fuzz_fail("a loaded sequence does not give the logits of the one that was saved");
    }
    const armt_api * api = armt_get_api();
    const uint64_t   id  = api->last_context_id();
    if (api->grow_segment(id, 0, choose.flag())) {
        for (int i = 0; i < 4; ++i) {
            fuzz_decode(context, 0, fuzz_tokens(model, 1, 6));
        }
        fuzz_save(context, 0);
    }
    api->close_segment(id, 1);
    llama_memory_seq_rm(memory, 0, llama_pos(choose.below(24)), -1);
    fuzz_decode(context, 0, fuzz_tokens(model, 1, 5));
    llama_memory_seq_rm(memory, 0, -1, -1);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    choices                    choose(data, size);
    const bool                 use_mmap = choose.flag();
    const std::vector<uint8_t> file     = build_gguf(choose);
    if (const char * path = getenv("ARMT_FUZZ_FILE")) {
        fuzz_write(path, file);
        return 0;
    }
    llama_model * model = fuzz_load_model(fuzz_memory_file(file), use_mmap);
    if (model == nullptr) {
        return 0;
    }
    if (llama_context * context = create_context(model, choose)) {
        use_context(context, choose);
        llama_free(context);
    }
    llama_model_free(model);
    return 0;
}
