// Saved states of a sequence. Whatever is loaded, a refused state changes nothing, an accepted one can be worked with,
// and a good state that is loaded next gives the same logits as ever.
//
// ARMT_FUZZ_MODEL is the file of the model. With ARMT_FUZZ_SEEDS, states are written into that folder instead.

#include "harness.h"

#include <cstdlib>

static llama_model *   model   = nullptr;
static llama_context * context = nullptr;

static std::vector<uint8_t> good;
static std::vector<float>   expected;

// Tokens that the good state holds: more than two segments of the model
static constexpr size_t N_HELD = 11;

// Tokens that are read after it, up to the end of a segment and beyond
static constexpr size_t N_PROBE = 6;

// Bytes after a state are ignored.
static bool load(llama_seq_id seq_id, const uint8_t * data, size_t size) {
    return llama_state_seq_set_data(context, data, size, seq_id) != 0;
}

static void clear() {
    llama_memory_clear(llama_get_memory(context), false);
}

static std::vector<float> probe() {
    if (fuzz_decode(context, 0, fuzz_tokens(model, N_PROBE, 5)) != 0) {
        fuzz_fail("a good state cannot be continued");
    }
    return fuzz_logits(context, N_PROBE);
}

static void write_seeds(const std::string & folder) {
    for (size_t n = 0; n <= N_HELD; ++n) {
        clear();
        if (n > 0) {
            fuzz_decode(context, 0, fuzz_tokens(model, n, 1));
        }
        fuzz_write(folder + "/state-" + std::to_string(n), fuzz_save(context, 0));
    }
}

extern "C" int LLVMFuzzerInitialize(int *, char ***) {
    fuzz_begin();
    const char * file = getenv("ARMT_FUZZ_MODEL");
    model             = file == nullptr ? nullptr : fuzz_load_model(file, false);
    context           = model == nullptr ? nullptr : fuzz_create_context(model, 2);
    if (context == nullptr) {
        fuzz_fail("ARMT_FUZZ_MODEL has to be the file of an ARMT model");
    }
    if (const char * folder = getenv("ARMT_FUZZ_SEEDS")) {
        write_seeds(folder);
        exit(0);
    }
    fuzz_decode(context, 0, fuzz_tokens(model, N_HELD, 1));
    good     = fuzz_save(context, 0);
    expected = probe();
    return 0;
}

// What a program may do with a sequence next; computing may fail, since the numbers may be huge.
static void use_sequence() {
    llama_memory_t memory = llama_get_memory(context);
    llama_memory_seq_cp(memory, 0, 1, -1, -1);
    fuzz_decode(context, 0, fuzz_tokens(model, 3, 2));
    fuzz_decode(context, 1, fuzz_tokens(model, 9, 3));
    const llama_pos last = llama_memory_seq_pos_max(memory, 0);
    llama_memory_seq_rm(memory, 0, last, -1);
    fuzz_decode(context, 0, fuzz_tokens(model, 1, 4));
    fuzz_save(context, 0);
    fuzz_save(context, 1);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    clear();
    if (!load(0, good.data(), good.size())) {
        fuzz_fail("a good state is refused");
    }
    if (load(0, data, size)) {
        if (fuzz_save(context, 0).empty()) {
            fuzz_fail("a loaded state cannot be saved");
        }
        use_sequence();
    } else if (fuzz_save(context, 0) != good) {
        fuzz_fail("a refused state has changed its sequence");
    }
    if (!load(0, good.data(), good.size()) || probe() != expected) {
        fuzz_fail("a good state does not give its logits any more");
    }
    return 0;
}
