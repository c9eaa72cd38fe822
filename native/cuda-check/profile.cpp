// cuda-check profile

#include "commands.h"
#include "harness.h"
#include "model.h"

#include <cstdlib>
#include <unistd.h>

void profile_diagonals(const std::string & folder, const std::string & file) {
    random_model      m;
    const std::string path = folder + "/profile.gguf";
    write_random_model(m, false, path);
    const model_ptr model(path, true);
    unlink(path.c_str());
    for (const uint32_t n : {1024u, 512u, 4096u}) {
        for (const char * fusion : {"all", "none"}) {
            // the first time for what is done once, such as loading kernels; then 40 segments: 25 full diagonals
            for (int i = 0; i < 2; ++i) {
                setenv("ARMT_CUDA_PROFILE", (file + "-" + std::to_string(n) + "-" + fusion + ".txt").c_str(), 1);
                settings s;
                s.n_segment = n;
                s.fusion    = fusion;
                context_ptr ctx(model, s);
                ctx.read(random_tokens(size_t(n) * 40, m.n_vocab), s.n_batch);
            }
        }
    }
}

void profile_fp8(const std::string & folder, const std::string & file) {
    random_model      m;
    const std::string path = folder + "/profile.gguf";
    write_random_model(m, false, path);
    const model_ptr model(path, true);
    unlink(path.c_str());
    for (const uint32_t products : {0u, uint32_t(ARMT_PRODUCT_ALL)}) {
        for (int i = 0; i < 2; ++i) { // as in profile_diagonals
            setenv("ARMT_CUDA_PROFILE", (file + (products == 0 ? "-16-bits.txt" : "-e4m3.txt")).c_str(), 1);
            settings s;
            s.fp8_products = products;
            context_ptr ctx(model, s);
            ctx.read(random_tokens(size_t(s.n_segment) * 40, m.n_vocab), s.n_batch);
        }
    }
}

void profile_decode(const std::string & folder, const std::string & file) {
    random_model m;
    for (const bool base : {false, true}) {
        const std::string path = folder + "/profile.gguf";
        write_random_model(m, base, path);
        const model_ptr model(path, true);
        unlink(path.c_str());
        setenv("ARMT_CUDA_PROFILE", (file + (base ? "-decode-llama.cpp.txt" : "-decode.txt")).c_str(), 1);
        settings s;
        s.armt      = !base;
        s.n_segment = 128; // so that there is a memory to read
        s.n_ctx     = base ? 1024 : s.n_ctx;
        context_ptr ctx(model, s);
        for (llama_pos pos = 0; pos < 300; ++pos) {
            ctx.step(1, pos, random_tokens(300, m.n_vocab));
        }
    }
}
