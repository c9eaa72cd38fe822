// Checks and times the engine on a GPU, on models with random weights, on machines without Node.
//   cuda-check check FOLDER [JSON [fp8]]    logits and memories, fused and unfused, against the CPU in F32; fp8: mainly
//                                           those of products in e4m3
//   cuda-check speed FOLDER JSON [PARTS]    reading 131,072 tokens with LLaMA-3.2-1B's sizes; PARTS: some of
//                                           targets,fusions,short,rest,stock,decode,types,models,fp8,
//                                           fp8-types
//   cuda-check model FOLDER FILE            writes the model that speed times
//   cuda-check profile FOLDER FILE [decode] times of the nodes of diagonals, and of a token's step; with fp8 instead of
//                                           decode, of diagonals in 16 bits and in e4m3
//   cuda-check compare MODEL TOKENS BATCH   a model's nodes, one by one, on the GPU and on the CPU: where they first
//                                           differ; and its logits with each fusion
// FOLDER takes the model files. The backends must be in this program's folder.

#include "commands.h"
#include "harness.h"
#include "model.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>

static const char * const USAGE =
    "usage: cuda-check check FOLDER [JSON [fp8]] | speed FOLDER JSON [PARTS] | model FOLDER FILE | "
    "profile FOLDER FILE [decode | fp8] | compare MODEL TOKENS BATCH\n";

static void load_backends(const std::string & program, bool needs_gpu) {
    ggml_backend_load_all_from_path(program.substr(0, program.find_last_of('/') + 1).c_str());
    if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) == nullptr) {
        check(!needs_gpu, "there is no GPU, or its backend could not be loaded");
        printf("there is no GPU, or its backend could not be loaded: all runs are on the CPU\n");
    }
    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN) {
                fputs(text, stderr);
            }
        },
        nullptr);
}

static int run(const std::string & command, int argc, char ** argv) {
    const std::string target = argv[2];
    if (command == "model") {
        write_random_model(random_model(), false, target + "/" + argv[3]);
        return 0;
    }
    if (command == "compare") {
        run_compare(target, std::stoul(argv[3]), uint32_t(std::stoul(argv[4])));
        return 0;
    }
    if (command == "profile") {
        setenv("GGML_CUDA_DISABLE_GRAPHS", "1", 1);
        if (argc > 4 && strcmp(argv[4], "fp8") == 0) {
            profile_fp8(target, argv[3]);
            return 0;
        }
        if (argc < 5 || strcmp(argv[4], "decode") != 0) {
            profile_diagonals(target, argv[3]);
        }
        profile_decode(target, argv[3]);
        return 0;
    }
    const std::string parts = argc > 4 ? argv[4] : speed_parts;
    if (command == "speed") {
        check_speed_parts(parts); // before the file is replaced
    }
    FILE * json = fopen(argc > 3 ? argv[3] : "/dev/null", "w");
    check(json != nullptr, std::string("cannot write ") + argv[3]);
    int n_bad = 0;
    if (command == "check") {
        n_bad = run_check(target, json, argc > 4 && strcmp(argv[4], "fp8") == 0);
    } else {
        run_speed(target, json, parts);
    }
    fclose(json);
    return n_bad == 0 ? 0 : 1;
}

int main(int argc, char ** argv) {
    const std::string command = argc > 1 ? argv[1] : "";
    const bool        is_known =
        command == "check" || command == "speed" || command == "model" || command == "profile" || command == "compare";
    const int n_args = command == "check" ? 1 : command == "compare" ? 3 : 2;
    if (!is_known || argc < 2 + n_args) {
        fputs(USAGE, stderr);
        return 2;
    }
    try {
        load_backends(argv[0], command != "check" && command != "compare");
        return run(command, argc, argv);
    } catch (const std::exception & error) {
        fprintf(stderr, "cuda-check: %s\n", error.what());
        return 1;
    }
}
