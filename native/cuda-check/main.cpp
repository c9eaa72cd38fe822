// Checks and times the engine on a GPU, on models with random weights, where there is no Node.
//   cuda-check check FOLDER [JSON]          logits and memories, fused and not, against the CPU in F32
//   cuda-check speed FOLDER JSON [PARTS]    reading 131,072 tokens, LLaMA-3.2-1B's sizes; PARTS: out of targets, fusions, short, rest, stock, decode, types, models
//   cuda-check model FOLDER FILE            writes the model that speed times
//   cuda-check profile FOLDER FILE [decode] times of the nodes of diagonals, and of a token's step
//   cuda-check compare MODEL TOKENS BATCH   a model's nodes, one by one, on the GPU and on the CPU: where they differ first; and its logits with each fusion
// FOLDER is for the model files. The backends are looked for beside this program.

#include "model.h"

#include "armt-api.h"
#include "armt-limits.h"

#include "ggml-backend.h"
#include "llama.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static void check(bool ok, const std::string & what) {
    if (!ok) {
        throw std::runtime_error(what);
    }
}

struct model_ptr {
    llama_model * model;
    explicit model_ptr(const std::string & path, bool gpu) {
        llama_model_params params = llama_model_default_params();
        params.n_gpu_layers = gpu ? 999 : 0;
        ggml_backend_dev_t none[] = {nullptr};
        if (!gpu) {
            params.devices = none;
        }
        model = llama_model_load_from_file(path.c_str(), params);
        check(model != nullptr, "cannot load " + path);
    }
    ~model_ptr() { llama_model_free(model); }
    model_ptr(const model_ptr &) = delete;
};

struct settings {
    armt_schedule schedule  = ARMT_SCHEDULE_DIAGONAL;
    uint32_t      n_segment = 1024;
    uint32_t      n_batch   = 8192;
    uint32_t      n_ctx     = 2 << 20;
    const char *  fusion    = "all";
    int           n_threads = 0;
    uint32_t      n_seq     = 1;
    bool          armt      = true;
    bool          apart     = false; // see context_ptr::read

    ggml_backend_sched_eval_callback cb_eval   = nullptr;
    void *                           user_data = nullptr;
};

struct context_ptr {
    llama_context * ctx;
    uint64_t        id = 0;

    context_ptr(const model_ptr & model, const settings & s) {
        setenv("ARMT_CUDA_FUSION", s.fusion, 1);
        armt_context_options options = {};
        options.schedule     = s.schedule;
        options.segment_size = s.n_segment;
        check(armt_get_api()->set_context_options(&options), armt_get_api()->last_error(0));

        llama_context_params params = llama_context_default_params();
        params.n_ctx           = s.n_ctx;
        params.n_batch         = s.n_batch;
        params.n_ubatch        = s.n_batch;
        params.n_seq_max       = s.n_seq;
        params.kv_unified      = false;
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
        params.cb_eval           = s.cb_eval;
        params.cb_eval_user_data = s.user_data;
        if (s.n_threads > 0) {
            params.n_threads = params.n_threads_batch = s.n_threads;
        }
        ctx = llama_init_from_model(model.model, params);
        check(ctx != nullptr, "cannot make a context");
        id = s.armt ? armt_get_api()->last_context_id() : 0;
    }
    ~context_ptr() { llama_free(ctx); }
    context_ptr(const context_ptr &) = delete;

    // Reads tokens, with logits of the last; seconds until they are there. apart: the open segment waits until the closed ones have passed all layers.
    double read(const std::vector<llama_token> & tokens, uint32_t n_batch, size_t from = 0, bool apart = false) {
        const double start = now();
        const size_t end   = tokens.size() - (apart ? 1 : 0);
        llama_batch batch = llama_batch_init(int32_t(n_batch), 0, 1);
        for (size_t at = from; at < end; at += n_batch) {
            batch.n_tokens = int32_t(std::min<size_t>(n_batch, end - at));
            for (int32_t i = 0; i < batch.n_tokens; ++i) {
                batch.token[i]     = tokens[at + i];
                batch.pos[i]       = llama_pos(at + i);
                batch.n_seq_id[i]  = 1;
                batch.seq_id[i][0] = 0;
                batch.logits[i]    = at + i + 1 == tokens.size();
            }
            check(llama_decode(ctx, batch) == 0, "the evaluation failed");
        }
        llama_batch_free(batch);
        if (apart) {
            llama_state_seq_get_size(ctx, 0); // a state holds nothing that is in flight
            read(tokens, 1, end);
        }
        llama_synchronize(ctx);
        return now() - start;
    }

    // One token of each sequence, with logits
    void step(uint32_t n_seq, llama_pos pos, const std::vector<llama_token> & tokens) {
        llama_batch batch = llama_batch_init(int32_t(n_seq), 0, 1);
        batch.n_tokens = int32_t(n_seq);
        for (uint32_t i = 0; i < n_seq; ++i) {
            batch.token[i]     = tokens[(pos * n_seq + i) % tokens.size()];
            batch.pos[i]       = pos;
            batch.n_seq_id[i]  = 1;
            batch.seq_id[i][0] = llama_seq_id(i);
            batch.logits[i]    = true;
        }
        check(llama_decode(ctx, batch) == 0, "the evaluation failed");
        llama_synchronize(ctx);
        llama_batch_free(batch);
    }

    std::vector<float> logits(uint32_t n_vocab) { return std::vector<float>(llama_get_logits_ith(ctx, -1), llama_get_logits_ith(ctx, -1) + n_vocab); }

    std::vector<float> memory(uint32_t il) {
        armt_context_info info = {};
        check(armt_get_api()->context_info(id, &info), "no such context");
        std::vector<float> a(size_t(info.n_head) * info.d_key * info.d_value);
        std::vector<float> z(size_t(info.n_head) * info.d_key);
        check(armt_get_api()->read_memory(id, 0, il, a.data(), a.size(), z.data(), z.size()), armt_get_api()->last_error(id));
        a.insert(a.end(), z.begin(), z.end());
        return a;
    }

    armt_context_info info() {
        armt_context_info info = {};
        armt_get_api()->context_info(id, &info);
        return info;
    }

    void clear() { llama_memory_clear(llama_get_memory(ctx), true); }
};

static std::vector<llama_token> random_tokens(size_t n, uint32_t n_vocab) {
    std::vector<llama_token> tokens(n);
    uint32_t x = 12345;
    for (llama_token & token : tokens) {
        x = x * 1664525u + 1013904223u;
        token = llama_token((x >> 8) % n_vocab);
    }
    return tokens;
}

// |a - b| / |b|
static double difference(const std::vector<float> & a, const std::vector<float> & b) {
    double d = 0.0;
    double n = 0.0;
    for (size_t i = 0; i < b.size(); ++i) {
        d += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
        n += double(b[i]) * b[i];
    }
    return std::sqrt(d / n); // NaN stays NaN
}

static const char * const all_fusions[] = {"norm", "glu", "gate", "read", "dpfp", "rope", "attention", "residual", "write"};

static int run_check(const std::string & folder, FILE * json) {
    struct shape {
        const char * name;
        random_model model;
        uint32_t     n_tokens;
    };
    std::vector<shape> shapes;
    for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
        const bool is_quantized = ggml_is_quantized(type);
        random_model m;
        m.type      = type;
        m.n_layer   = 2; // with more of them, and with more segments, roundings grow too much to tell anything
        m.n_embd    = 512;
        m.n_head    = 8;
        m.n_head_kv = 2;
        m.n_ff      = is_quantized ? 1536 : 8192; // enough tiles for the product with SwiGLU, see armt-swiglu-hopper.cu
        m.n_vocab   = 1000;
        m.n_mem     = 32;
        m.n_segment = 224;
        shapes.push_back({"heads of 64", m, 224 * 4 + 200}); // the open segment goes beside the closed ones
        m.n_segment = 203; // rows that fill no tile
        m.n_mem     = 16;
        m.normalize = true;
        m.n_ff      = 1056;
        m.seed      = 2;
        shapes.push_back({"heads of 64, 219 rows, normalized keys", m, 203 * 4 + 11});
        m.n_segment = 316; // an odd number of tiles
        m.n_ff      = is_quantized ? 1056 : 8096;
        m.n_head    = 4;
        m.n_head_kv = 4;
        m.head_size = 128;
        m.normalize = false;
        m.seed      = 3;
        shapes.push_back({"heads of 128, none shared, 332 rows", m, 316 * 3 + 11});
        m.n_segment = 203;
        m.n_ff      = 1056;
        m.loud      = true;
        m.seed      = 4;
        shapes.push_back({"queries beyond F16", m, 203 * 4 + 11});
    }
    {
        // more weights than are converted to F16 at once: a layer's ffn_down, and not even a layer's ffn_up. Some columns are left over.
        random_model m = shapes.back().model;
        m.type      = GGML_TYPE_Q8_0;
        m.n_ff      = uint32_t(ARMT_CONVERTED_BYTES / 2 / (m.n_layer * m.n_embd)) + 1056;
        m.n_segment = 224;
        m.loud      = false;
        m.seed      = 5;
        shapes.push_back({"weights converted in parts", m, 224 * 2 + 40});
        m.n_ff      = 1536;
        m.uniform   = true;
        m.seed      = 6;
        shapes.push_back({"quantized memory", m, 224 * 4 + 40});
    }
    int n_bad = 0;
    std::map<std::string, int> n_changed; // by fusions: models whose results they change, so that they were taken for certain
    fprintf(json, "{\"checks\": [");
    for (const shape & s : shapes) {
        const std::string path = folder + "/check.gguf";
        const std::string wide = folder + "/check-wide.gguf";
        random_model wide_model = s.model;
        wide_model.wide = true;
        write_random_model(s.model, false, path);
        write_random_model(wide_model, false, wide);
        const std::vector<llama_token> tokens = random_tokens(s.n_tokens, s.model.n_vocab);

        std::vector<std::pair<std::string, std::pair<std::vector<float>, std::vector<float>>>> results;
        const auto run = [&](const std::string & name, const model_ptr & model, const settings & with) {
            context_ptr ctx(model, with);
            // most in large batches, the last ones token by token, as they are generated
            std::vector<llama_token> most(tokens.begin(), tokens.end() - 4);
            ctx.read(most, 2048);
            ctx.read(tokens, 1, most.size());
            std::vector<float> logits = ctx.logits(s.model.n_vocab);
            std::vector<float> memory;
            for (uint32_t il = 0; il < s.model.n_layer; ++il) {
                const std::vector<float> a = ctx.memory(il);
                memory.insert(memory.end(), a.begin(), a.end());
            }
            results.push_back({name, {logits, memory}});
        };
        settings with;
        with.n_segment = s.model.n_segment;
        with.n_ctx     = 1 << 16;
        settings on_cpu = with;
        on_cpu.schedule  = ARMT_SCHEDULE_SEQUENTIAL;
        on_cpu.n_threads = std::max(1, std::min(8, int(std::thread::hardware_concurrency()) - 1));
        run("F32 on the CPU", model_ptr(wide, false), on_cpu);
        run("CPU", model_ptr(path, false), on_cpu);
        with.n_threads = 1;
        const model_ptr gpu(path, true);
        with.fusion = "none";
        run("unfused", gpu, with);
        for (const char * name : all_fusions) {
            // some are of products of 16-bit input only, which others make
            with.fusion = name;
            if (strcmp(name, "gate") == 0) {
                with.fusion = "norm,gate";
            } else if (strcmp(name, "residual") == 0) {
                with.fusion = "glu,attention";
                run(with.fusion, gpu, with);
                with.fusion = "glu,attention,residual";
            }
            run(with.fusion, gpu, with);
        }
        with.fusion = "all";
        run("all", gpu, with);
        with.schedule = ARMT_SCHEDULE_SEQUENTIAL;
        run("all, sequential", gpu, with);
        unlink(path.c_str());
        unlink(wide.c_str());

        // How much roundings to 16 bits grow depends on the model, and ggml's own ways differ as well: a fusion may be off by three times what the worse of them is.
        const auto & exact  = results[0].second;
        const double logits = 3.0 * std::max(difference(results[1].second.first, exact.first), difference(results[2].second.first, exact.first));
        const double memory = 3.0 * std::max(difference(results[1].second.second, exact.second), difference(results[2].second.second, exact.second));
        // With quantized weights, ggml rounds the input of products to 8 bits and the fusions to 16, so that all of them are much nearer: or else they were not taken.
        const auto & unfused      = results[2].second.second;
        const bool   has_fusions  = difference(results[results.size() - 2].second.second, unfused) > 0.0; // there is a GPU, and it is new enough
        const bool   is_converted = has_fusions && ggml_is_quantized(s.model.type) && !s.model.uniform && s.model.n_segment + s.model.n_mem >= ARMT_CONVERTED_MIN_ROWS;
        for (size_t i = 1; i < results.size(); ++i) {
            const auto & [name, result] = results[i];
            const double of_logits = difference(result.first, exact.first);
            const double of_memory = difference(result.second, exact.second);
            const double most      = is_converted && i + 2 >= results.size() ? difference(unfused, exact.second) / 2.0 : memory;
            const bool   ok        = of_logits < logits && of_memory < most && of_logits < 0.1; // not so for NaN
            n_bad += ok ? 0 : 1;
            // the run without what is checked
            const std::string without = i <= 2 ? name : name == "norm,gate" ? "norm" : name == "glu,attention,residual" ? "glu,attention" : "unfused";
            const auto        base    = std::find_if(results.begin(), results.end(), [&](const auto & other) { return other.first == without; });
            const bool        changed = result != base->second;
            if (i > 2) {
                n_changed[name] += changed ? 1 : 0;
            }
            printf("%-4s %-40s %-22s logits off by %.2e of %.2e, memories by %.2e of %.2e  %s\n", ggml_type_name(s.model.type), s.name, name.c_str(), of_logits, logits,
                   of_memory, most, !ok ? "WRONG" : changed || i <= 2 ? "ok" : "ok, changes nothing");
            fprintf(json, "%s\n{\"type\": \"%s\", \"model\": \"%s\", \"run\": \"%s\", \"logits\": %.3e, \"logitsLimit\": %.3e, \"memories\": %.3e, \"memoriesLimit\": %.3e, \"changed\": %s, \"ok\": %s}",
                    &s == &shapes[0] && i == 1 ? "" : ",", ggml_type_name(s.model.type), s.name, name.c_str(), std::isfinite(of_logits) ? of_logits : -1.0, logits,
                    std::isfinite(of_memory) ? of_memory : -1.0, most, changed ? "true" : "false", ok ? "true" : "false");
        }
        fflush(stdout);
    }
    for (const auto & [name, n] : n_changed) {
        if (n == 0) {
            printf("%s changes no result, so nothing of it was checked: this card or this build does not have it\n", name.c_str());
        }
    }
    fprintf(json, "\n]}\n");
    return n_bad;
}

static size_t free_memory() {
    size_t free  = 0;
    size_t total = 0;
    ggml_backend_dev_t dev = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    if (dev != nullptr) {
        ggml_backend_dev_memory(dev, &free, &total);
    }
    return free;
}

static const std::string speed_parts = "targets,fusions,short,rest,stock,decode,types,models";

static bool is_listed(const std::string & name, const std::string & list) {
    return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

// Throws for the first name in the list that is no part of speed
static void check_parts(const std::string & list) {
    std::stringstream names(list);
    for (std::string name; std::getline(names, name, ',');) {
        check(is_listed(name, speed_parts), "speed has no part \"" + name + "\"; there are " + speed_parts);
    }
}

static void run_speed(const std::string & folder, FILE * json, const std::string & parts) {
    bool first = true;
    fprintf(json, "{\"device\": \"%s\", \"unit\": \"seconds\", \"runs\": [",
            ggml_backend_dev_description(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU)));
    const auto has = [&](const char * part) { return is_listed(part, parts); };
    const auto report = [&](const std::string & what, const random_model & m, size_t n_tokens, std::vector<double> seconds, size_t used, const armt_context_info & info) {
        std::sort(seconds.begin(), seconds.end());
        const double median = seconds[seconds.size() / 2];
        printf("%-44s %-5s %2u layers %8zu tokens  %.4f s (%.4f .. %.4f), %.0f MiB, graphs %llu reused %llu replayed %llu\n", what.c_str(), ggml_type_name(m.type), m.n_layer,
               n_tokens, median, seconds.front(), seconds.back(), used / 1048576.0, (unsigned long long) info.n_graphs, (unsigned long long) info.n_graphs_reused,
               (unsigned long long) info.n_graphs_replayed);
        fflush(stdout);
        fprintf(json, "%s\n{\"what\": \"%s\", \"type\": \"%s\", \"layers\": %u, \"hidden\": %u, \"tokens\": %zu, \"median\": %.4f, \"least\": %.4f, \"most\": %.4f, \"contextMiB\": %.0f, \"graphs\": %llu, \"graphsReused\": %llu, \"graphsReplayed\": %llu}",
                first ? "" : ",", what.c_str(), ggml_type_name(m.type), m.n_layer, m.n_embd, n_tokens, median, seconds.front(), seconds.back(), used / 1048576.0,
                (unsigned long long) info.n_graphs, (unsigned long long) info.n_graphs_reused, (unsigned long long) info.n_graphs_replayed);
        fflush(json);
        first = false;
    };

    random_model m;
    const std::string path = folder + "/speed.gguf";
    const std::vector<llama_token> tokens = random_tokens(131072, m.n_vocab);

    const auto measure = [&](const std::string & what, const model_ptr & model, const random_model & sizes, const std::vector<llama_token> & input, settings s, int n_times) {
        try {
            const size_t before = free_memory();
            context_ptr  ctx(model, s);
            std::vector<llama_token> few(input.begin(), input.begin() + std::min<size_t>(input.size(), 24 * s.n_segment));
            ctx.read(few, s.n_batch);
            std::vector<double> seconds;
            for (int i = 0; i < n_times; ++i) {
                ctx.clear();
                seconds.push_back(ctx.read(input, s.n_batch, 0, s.apart));
            }
            const size_t after = free_memory();
            report(what, sizes, input.size(), seconds, before > after ? before - after : 0, ctx.info());
        } catch (const std::exception & error) {
            printf("%s: %s\n", what.c_str(), error.what());
        }
    };
    // one after the other, so that what slows one down slows the other down too
    const auto both = [&](const std::string & what, const model_ptr & model, const random_model & sizes, const std::vector<llama_token> & input, settings s, int n_times) {
        s.schedule = ARMT_SCHEDULE_DIAGONAL;
        measure(what + " diagonal", model, sizes, input, s, n_times);
        s.schedule = ARMT_SCHEDULE_SEQUENTIAL;
        measure(what + " sequential", model, sizes, input, s, n_times);
    };
    const auto decode = [&](const std::string & what, const model_ptr & model, settings s) {
        for (const uint32_t n_seq : {1u, 8u}) {
            s.n_seq = n_seq;
            s.n_ctx = s.armt ? s.n_ctx : 1024 * n_seq;
            context_ptr ctx(model, s);
            llama_pos   pos = 0;
            for (; pos < 512; ++pos) {
                ctx.step(n_seq, pos, tokens);
            }
            std::vector<double> seconds;
            for (int round = 0; round < 5; ++round) {
                const double start = now();
                for (int i = 0; i < 64; ++i) {
                    ctx.step(n_seq, pos++, tokens);
                }
                seconds.push_back(now() - start);
            }
            report(what + " " + std::to_string(n_seq) + " sequences, 64 steps", m, 64 * n_seq, seconds, 0, ctx.info());
        }
    };
    if (has("targets") || has("fusions") || has("short") || has("decode")) {
        write_random_model(m, false, path);
        const model_ptr model(path, true);
        settings s;
        if (has("targets")) {
            for (const uint32_t n : {1024u, 512u, 256u, 4096u}) {
                s.n_segment = n;
                both("segment " + std::to_string(n), model, m, tokens, s, 5);
            }
            s = settings();
            measure("segment 1024 diagonal", model, m, random_tokens(1 << 20, m.n_vocab), s, 1);
        }
        s = settings();
        if (has("fusions")) {
            std::vector<std::string> names = {"none"};
            for (const char * fusion : all_fusions) {
                std::string others;
                for (const char * name : all_fusions) {
                    others += strcmp(name, fusion) == 0 ? "" : (others.empty() ? "" : ",") + std::string(name);
                }
                names.push_back(others);
            }
            measure("all fusions, segment 1024 diagonal", model, m, tokens, s, 3);
            for (size_t i = 0; i < names.size(); ++i) {
                s.fusion   = names[i].c_str();
                s.schedule = ARMT_SCHEDULE_DIAGONAL;
                measure((i == 0 ? std::string("no fusions") : "all but " + std::string(all_fusions[i - 1])) + ", segment 1024 diagonal", model, m, tokens, s, 3);
            }
            s.fusion = "none";
            for (const uint32_t n : {1024u, 512u, 256u, 4096u}) {
                s.n_segment = n;
                both("no fusions, segment " + std::to_string(n), model, m, tokens, s, 2);
            }
        }
        s = settings();
        if (has("short")) {
            for (const uint32_t n : {256u, 1024u}) {
                s.n_segment = n;
                for (const uint32_t n_segments : {1u, 2u, 3u, 4u, 6u, 8u, 16u, 32u}) {
                    const std::vector<llama_token> input(tokens.begin(), tokens.begin() + n * n_segments + 1);
                    both(std::to_string(n_segments) + " segments of " + std::to_string(n), model, m, input, s, 7);
                }
            }
        }
        s = settings();
        if (has("decode")) {
            decode("decode", model, s);
        }
        unlink(path.c_str());
    }
    if (has("rest")) { // what a prompt leaves for the open segment: beside the closed ones where the engine takes it, and in a step of its own
        random_model few = m;
        few.n_mem = 16; // as published models have, so that fewer rows are in vain
        write_random_model(few, false, path);
        const model_ptr model(path, true);
        settings s;
        for (const uint32_t n : {256u, 512u, 1024u}) {
            s.n_segment = n;
            for (const uint32_t n_segments : {2u, 4u, 16u}) {
                for (const uint32_t n_missing : {0u, 56u, 112u, 113u}) {
                    const std::vector<llama_token> input(tokens.begin(), tokens.begin() + n * (n_segments + 1) - n_missing);
                    const std::string what = std::to_string(n_segments) + " segments of " + std::to_string(n) + " and " + std::to_string(n - n_missing);
                    for (const bool apart : {false, true}) {
                        s.apart = apart;
                        measure(what + (apart ? " apart" : ""), model, few, input, s, 9);
                    }
                }
            }
        }
        unlink(path.c_str());
    }
    if (has("stock") || has("decode")) {
        const std::string base = folder + "/base.gguf";
        write_random_model(m, true, base);
        const model_ptr model(base, true);
        unlink(base.c_str());
        settings s;
        s.armt = false;
        if (has("decode")) {
            decode("decode llama.cpp", model, s);
        }
        s.n_ctx = 131072;
        if (has("stock")) {
            s.n_batch = 512; // on an H100 the fastest of 512, 2048 and 4096
            measure("llama.cpp full attention, batches of 512", model, m, tokens, s, 2);
        }
    }
    if (has("types")) {
        for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
            m.type = type;
            write_random_model(m, false, path);
            const model_ptr model(path, true);
            both(std::string("segment 1024 ") + ggml_type_name(type), model, m, tokens, settings(), 3);
            unlink(path.c_str());
            if (!ggml_is_quantized(type)) {
                continue;
            }
            // from how many rows on it pays to convert a weight, see armt-limits.h
            const std::vector<llama_token> input(tokens.begin(), tokens.begin() + 32768);
            for (const uint32_t n : {64u, 128u, 256u, 1024u}) {
                for (const char * fusion : {"all", "none"}) {
                    settings s;
                    s.n_segment = n;
                    s.schedule  = ARMT_SCHEDULE_SEQUENTIAL;
                    s.fusion    = fusion;
                    measure(std::to_string(n + m.n_mem) + " rows, fusions: " + fusion, model, m, input, s, 3);
                }
            }
        }
    }
    if (has("models")) {
        struct sizes {
            const char * name;
            uint32_t     n_layer, n_embd, n_head, n_head_kv, head_size, n_ff;
        };
        for (const sizes & z : {sizes{"160M", 12, 768, 12, 12, 64, 2048}, sizes{"3B", 28, 3072, 24, 8, 128, 8192}, sizes{"8B, 16 of its 32 layers", 16, 4096, 32, 8, 128, 14336}}) {
            m = random_model();
            m.n_layer   = z.n_layer;
            m.n_embd    = z.n_embd;
            m.n_head    = z.n_head;
            m.n_head_kv = z.n_head_kv;
            m.head_size = z.head_size;
            m.n_ff      = z.n_ff;
            write_random_model(m, false, path);
            const model_ptr model(path, true);
            both(std::string("segment 1024 ") + z.name, model, m, tokens, settings(), 3);
            unlink(path.c_str());
        }
    }
    fprintf(json, "\n]}\n");
}

static void profile_diagonals(const std::string & folder, const std::string & file) {
    random_model m;
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

static void profile_decode(const std::string & folder, const std::string & file) {
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

static double largest(const std::vector<float> & a) {
    double most = 0.0;
    for (const float x : a) {
        most = std::max(most, std::fabs(double(x)));
    }
    return most;
}

struct node_result {
    std::string        label;
    std::vector<float> data;
};

static void run_compare(const std::string & path, size_t n_tokens, uint32_t n_batch) {
    const model_ptr cpu(path, false);
    const model_ptr gpu(path, true);
    const uint32_t  n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(cpu.model));
    const std::vector<llama_token> tokens = random_tokens(n_tokens, n_vocab);
    settings s;
    s.n_segment = 0; // the model's
    s.n_batch   = n_batch;
    s.n_ctx     = 1 << 16;
    s.n_threads = 1;
    s.schedule  = ARMT_SCHEDULE_SEQUENTIAL;
    s.fusion    = "none";

    s.cb_eval = [](ggml_tensor * t, bool ask, void * results) {
        if (!ask && t->type == GGML_TYPE_F32 && ggml_is_contiguous(t)) {
            std::vector<float> data(ggml_nelements(t));
            ggml_backend_tensor_get(t, data.data(), 0, ggml_nbytes(t));
            const std::string label = std::string(ggml_op_name(t->op)) + " " + t->name + " [" + std::to_string(t->ne[0]) + "," + std::to_string(t->ne[1]) + "," +
                                      std::to_string(t->ne[2]) + "," + std::to_string(t->ne[3]) + "]";
            static_cast<std::vector<node_result> *>(results)->push_back({label, std::move(data)});
        }
        return true;
    };
    std::vector<node_result> results[2];
    std::vector<float>       logits[2];
    for (int i = 0; i < 2; ++i) {
        s.user_data = &results[i];
        context_ptr ctx(i == 0 ? cpu : gpu, s);
        ctx.read(tokens, n_batch);
        logits[i] = ctx.logits(n_vocab);
    }
    printf("%s, batches of %u: %zu and %zu nodes; logits node by node off by %.2e\n", path.c_str(), n_batch, results[0].size(), results[1].size(), difference(logits[1], logits[0]));
    double worst = 0.0;
    int    n     = 0;
    for (size_t i = 0; i < std::min(results[0].size(), results[1].size()) && n < 40; ++i) {
        const node_result & a = results[0][i];
        const node_result & b = results[1][i];
        if (a.data.size() != b.data.size()) {
            printf("%6zu %s and %s\n", i, a.label.c_str(), b.label.c_str());
            n++;
            continue;
        }
        const double d = difference(b.data, a.data);
        if (d > 2.0 * worst && d > 1e-6) {
            printf("%6zu %-60s %.2e, largest %.3g\n", i, b.label.c_str(), d, largest(a.data));
            worst = d;
            n++;
        }
    }
    s.cb_eval = nullptr;
    std::vector<const char *> names(all_fusions, all_fusions + sizeof(all_fusions) / sizeof(all_fusions[0]));
    names.insert(names.end(), {"none", "all"});
    for (const armt_schedule schedule : {ARMT_SCHEDULE_SEQUENTIAL, ARMT_SCHEDULE_DIAGONAL}) {
        for (const char * name : names) {
            s.fusion   = name;
            s.schedule = schedule;
            context_ptr ctx(gpu, s);
            ctx.read(tokens, n_batch);
            printf("%-10s %-10s %.2e\n", schedule == ARMT_SCHEDULE_SEQUENTIAL ? "sequential" : "diagonal", name, difference(ctx.logits(n_vocab), logits[0]));
        }
    }
}

int main(int argc, char ** argv) {
    const std::string command = argc > 1 ? argv[1] : "";
    if (argc < 3 || (command != "check" && argc < 4) || (command == "compare" && argc < 5)) {
        fprintf(stderr, "usage: cuda-check check FOLDER [JSON] | speed FOLDER JSON [PARTS] | model FOLDER FILE | profile FOLDER FILE [decode] | compare MODEL TOKENS BATCH\n");
        return 2;
    }
    try {
        const std::string self = argv[0];
        ggml_backend_load_all_from_path(self.substr(0, self.find_last_of('/') + 1).c_str());
        if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) == nullptr) {
            check(command == "check" || command == "compare", "there is no GPU, or its backend could not be loaded");
            printf("there is no GPU, or its backend could not be loaded: all runs are on the CPU\n");
        }
        llama_log_set([](ggml_log_level level, const char * text, void *) {
            if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN) {
                fputs(text, stderr);
            }
        }, nullptr);
        if (command == "profile") {
            setenv("GGML_CUDA_DISABLE_GRAPHS", "1", 1);
            if (argc < 5 || strcmp(argv[4], "decode") != 0) {
                profile_diagonals(argv[2], argv[3]);
            }
            profile_decode(argv[2], argv[3]);
            return 0;
        }
        if (command == "compare") {
            run_compare(argv[2], std::stoul(argv[3]), uint32_t(std::stoul(argv[4])));
            return 0;
        }
        if (command == "model") {
            write_random_model(random_model(), false, std::string(argv[2]) + "/" + argv[3]);
            return 0;
        }
        const std::string parts = argc > 4 ? argv[4] : speed_parts;
        if (command == "speed") {
            check_parts(parts); // before the file is replaced
        }
        FILE * json = fopen(argc > 3 ? argv[3] : "/dev/null", "w");
        check(json != nullptr, "cannot write the results");
        int n_bad = 0;
        if (command == "check") {
            n_bad = run_check(argv[2], json);
        } else {
            run_speed(argv[2], json, parts);
        }
        fclose(json);
        return n_bad == 0 ? 0 : 1;
    } catch (const std::exception & error) {
        fprintf(stderr, "cuda-check: %s\n", error.what());
        return 1;
    }
}
