// cuda-check speed

#include "commands.h"
#include "harness.h"
#include "model.h"

#include <algorithm>
#include <memory>
#include <sstream>
#include <unistd.h>
#include <utility>

const std::string speed_parts = "targets,fusions,short,rest,stock,decode,types,models,fp8,fp8-types";

static const uint32_t SEGMENTS[] = {1024, 512, 256, 4096};

// Reads in a row whose energy is measured together
static constexpr int ENERGY_READS = 2;

static bool is_listed(const std::string & name, const std::string & list) {
    return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

void check_speed_parts(const std::string & parts) {
    std::stringstream names(parts);
    for (std::string name; std::getline(names, name, ',');) {
        check(is_listed(name, speed_parts), "speed has no part \"" + name + "\"; its parts are " + speed_parts);
    }
}

static size_t free_memory() {
    size_t             free  = 0;
    size_t             total = 0;
    ggml_backend_dev_t dev   = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    if (dev != nullptr) {
        ggml_backend_dev_memory(dev, &free, &total);
    }
    return free;
}

// Writes a random model, loads it and removes the file
static model_ptr load_random_model(const random_model & sizes, bool base, const std::string & path) {
    write_random_model(sizes, base, path);
    struct remove_file {
        const std::string & path;
        ~remove_file() { unlink(path.c_str()); }
    } remove = {path};
    return model_ptr(path, true);
}

class speed_run {
public:
    speed_run(const std::string & folder, FILE * json)
        : path(folder + "/speed.gguf"), json(json), tokens(random_tokens(131072, random_model().n_vocab)) {}

    // With LLaMA-3.2-1B's sizes
    void targets(const model_ptr & model);
    void fusions(const model_ptr & model);
    void short_inputs(const model_ptr & model);
    void decode(const model_ptr & model);

    void rest();
    void stock(bool reads, bool decodes);
    void types();
    void models();
    void fp8(const model_ptr & model);
    void fp8_types();

    const std::string path;

private:
    FILE *                         json;
    const std::vector<llama_token> tokens;
    bool                           is_first = true;

    void report(const std::string & what, const random_model & sizes, size_t n_tokens, std::vector<double> seconds,
                size_t used, const armt_context_info & info);

    void measure(const std::string & what, const model_ptr & model, const random_model & sizes,
                 const std::vector<llama_token> & input, const settings & s, int n_times);

    // In both schedules, one after the other, so that what slows one down slows the other down too
    void measure_both(const std::string & what, const model_ptr & model, const random_model & sizes,
                      const std::vector<llama_token> & input, settings s, int n_times);

    // A way to read, and what it took
    struct way {
        std::string         what;
        settings            with;
        std::vector<double> seconds;
    };

    // Several ways one after the other in each round, so that what slows one down slows the others down too. The first
    // is what the others are compared with. Then each reads a few times in a row for the energy, whose counter is slow.
    // A way that fails is left out from then on. Each read is printed at once, in case the process ends.
    void alternate(const model_ptr & model, const random_model & sizes, std::vector<way> ways, int n_rounds);

    void measure_decode(const std::string & what, const model_ptr & model, settings s);

    void types_by_rows(const model_ptr & model, const random_model & sizes);

    std::vector<llama_token> first_tokens(size_t n) const {
        return std::vector<llama_token>(tokens.begin(), tokens.begin() + std::min(n, tokens.size()));
    }
};

void speed_run::report(const std::string & what, const random_model & sizes, size_t n_tokens,
                       std::vector<double> seconds, size_t used, const armt_context_info & info) {
    std::sort(seconds.begin(), seconds.end());
    const double median   = seconds[seconds.size() / 2];
    const double mib      = used / 1048576.0;
    const char * type     = ggml_type_name(sizes.type);
    const auto   graphs   = (unsigned long long) info.n_graphs;
    const auto   reused   = (unsigned long long) info.n_graphs_reused;
    const auto   replayed = (unsigned long long) info.n_graphs_replayed;
    printf(
        "%-44s %-5s %2u layers %8zu tokens  %.4f s (%.4f .. %.4f), %.0f MiB, graphs %llu reused %llu replayed %llu\n",
        what.c_str(), type, sizes.n_layer, n_tokens, median, seconds.front(), seconds.back(), mib, graphs, reused,
        replayed);
    fflush(stdout);
    fprintf(
        json,
        "%s\n{\"what\": \"%s\", \"type\": \"%s\", \"layers\": %u, \"hidden\": %u, \"tokens\": %zu, \"median\": %.4f, "
        "\"least\": %.4f, \"most\": %.4f, \"contextMiB\": %.0f, \"graphs\": %llu, \"graphsReused\": %llu, "
        "\"graphsReplayed\": %llu}",
        is_first ? "" : ",", what.c_str(), type, sizes.n_layer, sizes.n_embd, n_tokens, median, seconds.front(),
        seconds.back(), mib, graphs, reused, replayed);
    fflush(json);
    is_first = false;
}

void speed_run::measure(const std::string & what, const model_ptr & model, const random_model & sizes,
                        const std::vector<llama_token> & input, const settings & s, int n_times) {
    try {
        const size_t                   before = free_memory();
        context_ptr                    ctx(model, s);
        const std::vector<llama_token> few(input.begin(),
                                           input.begin() + std::min<size_t>(input.size(), 24 * s.n_segment));
        ctx.read(few, s.n_batch); // warms up
        std::vector<double> seconds;
        for (int i = 0; i < n_times; ++i) {
            ctx.clear();
            seconds.push_back(ctx.read(input, s.n_batch, 0, s.separate_open));
        }
        const size_t after = free_memory();
        report(what, sizes, input.size(), seconds, before > after ? before - after : 0, ctx.info());
    } catch (const std::exception & error) {
        printf("%s: %s\n", what.c_str(), error.what());
    }
}

void speed_run::measure_both(const std::string & what, const model_ptr & model, const random_model & sizes,
                             const std::vector<llama_token> & input, settings s, int n_times) {
    s.schedule = ARMT_SCHEDULE_DIAGONAL;
    measure(what + " diagonal", model, sizes, input, s, n_times);
    s.schedule = ARMT_SCHEDULE_SEQUENTIAL;
    measure(what + " sequential", model, sizes, input, s, n_times);
}

void speed_run::alternate(const model_ptr & model, const random_model & sizes, std::vector<way> ways, int n_rounds) {
    struct state {
        std::unique_ptr<context_ptr> ctx;
        size_t                       used   = 0;
        double                       joules = 0.0;
        bool                         failed = false;
    };
    std::vector<state> states(ways.size());

    const auto attempt = [&](size_t i, const auto & fn) {
        if (states[i].failed) {
            return;
        }
        try {
            set_variables(ways[i].with);
            fn(ways[i], states[i]);
        } catch (const std::exception & error) {
            printf("%s: %s\n", ways[i].what.c_str(), error.what());
            states[i] = {nullptr, 0, 0.0, true};
        }
        fflush(stdout);
    };
    const auto read = [&](const way & w, state & s) {
        s.ctx->clear();
        return s.ctx->read(tokens, w.with.n_batch);
    };
    for (int round = 0; round < n_rounds; ++round) {
        for (size_t i = 0; i < ways.size(); ++i) {
            attempt(i, [&](way & w, state & s) {
                if (s.ctx == nullptr) {
                    const size_t before = free_memory();
                    s.ctx               = std::make_unique<context_ptr>(model, w.with);
                    s.ctx->read(first_tokens(40 * w.with.n_segment), w.with.n_batch); // warms up
                    const size_t after = free_memory();
                    s.used             = before > after ? before - after : 0;
                }
                w.seconds.push_back(read(w, s));
                printf("round %d: %-44s %.4f s\n", round + 1, w.what.c_str(), w.seconds.back());
            });
        }
    }
    for (size_t i = 0; i < ways.size(); ++i) {
        attempt(i, [&](way & w, state & s) {
            const double before = gpu_joules();
            for (int n = 0; n < ENERGY_READS; ++n) {
                read(w, s);
            }
            s.joules = (gpu_joules() - before) / ENERGY_READS;
        });
    }
    const auto median = [](std::vector<double> x) {
        std::sort(x.begin(), x.end());
        return x[x.size() / 2];
    };
    check(!states[0].failed, ways[0].what + " failed, with which the others are compared");
    for (size_t i = 0; i < ways.size(); ++i) {
        const way & w = ways[i];
        if (states[i].failed) {
            continue;
        }
        const armt_context_info info = states[i].ctx->info();
        report(w.what, sizes, tokens.size(), w.seconds, states[i].used, info);
        std::vector<double> ratios;
        for (int round = 0; round < n_rounds; ++round) {
            ratios.push_back(w.seconds[round] / ways[0].seconds[round]);
        }
        const auto computed = (unsigned long long) info.n_fp8_computed;
        const auto left     = (unsigned long long) info.n_fp8_left;
        printf(
            "%44s %.3f of the first's time (median of the rounds), %.0f J a read, %llu products in e4m3, %llu left\n",
            "", median(ratios), states[i].joules, computed, left);
        fprintf(json,
                ",\n{\"what\": \"%s\", \"ratio\": %.4f, \"joules\": %.1f, \"fp8Computed\": %llu, \"fp8Left\": %llu}",
                w.what.c_str(), median(ratios), states[i].joules, computed, left);
        fflush(json);
    }
}

// Which products in e4m3, and how
void speed_run::fp8(const model_ptr & model) {
    std::vector<way> ways;
    const auto       add = [&](const std::string & what, uint32_t products, const char * fp8 = "",
                         const char * fusion = "all") {
        settings s;
        s.fp8_products = products;
        s.fp8          = fp8;
        s.fusion       = fusion;
        ways.push_back({what, s, {}});
    };
    const uint32_t all        = ARMT_PRODUCT_ALL;
    const char *   no_gate    = "norm,glu,read,dpfp,rope,attention,residual,write,quantize,grouped";
    const char *   no_round   = "norm,glu,gate,read,dpfp,rope,attention,residual,write,grouped";
    const char *   no_grouped = "norm,glu,gate,read,dpfp,rope,attention,residual,write,quantize";
    add("16 bits", 0);
    add("e4m3", all);
    add("e4m3 but qkv", all - ARMT_PRODUCT_QKV);
    add("e4m3 but o", all - ARMT_PRODUCT_O);
    add("e4m3 but gate_up", all - ARMT_PRODUCT_GATE_UP);
    add("e4m3 but down", all - ARMT_PRODUCT_DOWN);
    add("e4m3 gate_up and down", ARMT_PRODUCT_GATE_UP | ARMT_PRODUCT_DOWN);
    add("e4m3 gate_up alone", ARMT_PRODUCT_GATE_UP);
    add("e4m3, SwiGLU apart", all, "", no_gate);
    add("e4m3, rounding apart", all, "", no_round);
    add("e4m3, cuBLASLt", all, "", no_grouped);
    add("e4m3, cuBLASLt, by tensor", all, "tensor");
    alternate(model, random_model(), std::move(ways), 4);
}

// Other types of weights, at segments of 1024, and bf16 at others
void speed_run::fp8_types() {
    const auto both = [&](const model_ptr & model, const random_model & sizes, const std::string & what, uint32_t n) {
        std::vector<way> ways;
        for (const uint32_t products : {0u, uint32_t(ARMT_PRODUCT_ALL)}) {
            settings s;
            s.n_segment    = n;
            s.fp8_products = products;
            ways.push_back({what + (products == 0 ? "" : " e4m3"), s, {}});
            s.schedule = ARMT_SCHEDULE_SEQUENTIAL;
            ways.push_back({what + (products == 0 ? "" : " e4m3") + ", sequential", s, {}});
        }
        alternate(model, sizes, std::move(ways), 3);
    };
    for (const ggml_type type : {GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
        random_model sizes;
        sizes.type            = type;
        const model_ptr model = load_random_model(sizes, false, path);
        both(model, sizes, "segment 1024", 1024);
        if (type == GGML_TYPE_BF16) {
            both(model, sizes, "segment 512", 512);
            both(model, sizes, "segment 4096", 4096);
        }
    }
}

void speed_run::measure_decode(const std::string & what, const model_ptr & model, settings s) {
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
        report(what + " " + std::to_string(n_seq) + " sequences, 64 steps", random_model(), 64 * n_seq, seconds, 0,
               ctx.info());
    }
}

void speed_run::targets(const model_ptr & model) {
    const random_model sizes;
    settings           s;
    for (const uint32_t n : SEGMENTS) {
        s.n_segment = n;
        measure_both("segment " + std::to_string(n), model, sizes, tokens, s, 5);
    }
    measure("segment 1024 diagonal", model, sizes, random_tokens(1 << 20, sizes.n_vocab), settings(), 1);
}

void speed_run::fusions(const model_ptr & model) {
    const random_model sizes;
    settings           s;
    measure("all fusions, segment 1024 diagonal", model, sizes, tokens, s, 3);
    s.fusion = "none";
    measure("no fusions, segment 1024 diagonal", model, sizes, tokens, s, 3);
    for (const std::string & left_out : all_fusions()) {
        std::string others;
        for (const std::string & name : all_fusions()) {
            if (name != left_out) {
                others += (others.empty() ? "" : ",") + name;
            }
        }
        s.fusion = others.c_str();
        measure("all but " + left_out + ", segment 1024 diagonal", model, sizes, tokens, s, 3);
    }
    s.fusion = "none";
    for (const uint32_t n : SEGMENTS) {
        s.n_segment = n;
        measure_both("no fusions, segment " + std::to_string(n), model, sizes, tokens, s, 2);
    }
}

void speed_run::short_inputs(const model_ptr & model) {
    settings s;
    for (const uint32_t n : {256u, 1024u}) {
        s.n_segment = n;
        for (const uint32_t n_segments : {1u, 2u, 3u, 4u, 6u, 8u, 16u, 32u}) {
            const std::string what = std::to_string(n_segments) + " segments of " + std::to_string(n);
            measure_both(what, model, random_model(), first_tokens(n * n_segments + 1), s, 7);
        }
    }
}

void speed_run::decode(const model_ptr & model) {
    measure_decode("decode", model, settings());
}

// What a prompt leaves for the open segment: with the closed ones if the engine allows it, and in a separate step
void speed_run::rest() {
    random_model sizes;
    sizes.n_mem           = 16; // as published models have, so that fewer rows are wasted
    const model_ptr model = load_random_model(sizes, false, path);
    settings        s;
    for (const uint32_t n : {256u, 512u, 1024u}) {
        s.n_segment = n;
        for (const uint32_t n_segments : {2u, 4u, 16u}) {
            for (const uint32_t n_missing : {0u, 56u, 112u, 113u}) {
                const std::vector<llama_token> input = first_tokens(n * (n_segments + 1) - n_missing);
                const std::string what = std::to_string(n_segments) + " segments of " + std::to_string(n) + " and " +
                                         std::to_string(n - n_missing);
                for (const bool separate : {false, true}) {
                    s.separate_open = separate;
                    measure(what + (separate ? " apart" : ""), model, sizes, input, s, 9);
                }
            }
        }
    }
}

void speed_run::stock(bool reads, bool decodes) {
    const model_ptr model = load_random_model(random_model(), true, path);
    settings        s;
    s.armt = false;
    if (decodes) {
        measure_decode("decode llama.cpp", model, s);
    }
    if (reads) {
        s.n_ctx   = 131072;
        s.n_batch = 512; // on an H100 the fastest of 512, 2048 and 4096
        measure("llama.cpp full attention, batches of 512", model, random_model(), tokens, s, 2);
    }
}

void speed_run::types() {
    for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
        random_model sizes;
        sizes.type            = type;
        const model_ptr model = load_random_model(sizes, false, path);
        measure_both(std::string("segment 1024 ") + ggml_type_name(type), model, sizes, tokens, settings(), 3);
        if (ggml_is_quantized(type)) {
            types_by_rows(model, sizes);
        }
    }
}

// From how many rows on the conversion of a weight pays off, see armt-limits.h
void speed_run::types_by_rows(const model_ptr & model, const random_model & sizes) {
    for (const uint32_t n : {64u, 128u, 256u, 1024u}) {
        for (const char * fusion : {"all", "none"}) {
            settings s;
            s.n_segment = n;
            s.schedule  = ARMT_SCHEDULE_SEQUENTIAL;
            s.fusion    = fusion;
            measure(std::to_string(n + sizes.n_mem) + " rows, fusions: " + fusion, model, sizes, first_tokens(32768), s,
                    3);
        }
    }
}

void speed_run::models() {
    struct sizes_of {
        const char * name;
        uint32_t     n_layer, n_embd, n_head, n_head_kv, head_size, n_ff;
    };
    for (const sizes_of & z : {sizes_of{"160M", 12, 768, 12, 12, 64, 2048}, sizes_of{"3B", 28, 3072, 24, 8, 128, 8192},
                               sizes_of{"8B, 16 of its 32 layers", 16, 4096, 32, 8, 128, 14336}}) {
        random_model sizes;
        sizes.n_layer         = z.n_layer;
        sizes.n_embd          = z.n_embd;
        sizes.n_head          = z.n_head;
        sizes.n_head_kv       = z.n_head_kv;
        sizes.head_size       = z.head_size;
        sizes.n_ff            = z.n_ff;
        const model_ptr model = load_random_model(sizes, false, path);
        measure_both(std::string("segment 1024 ") + z.name, model, sizes, tokens, settings(), 3);
    }
}

void run_speed(const std::string & folder, FILE * json, const std::string & parts) {
    const auto has = [&](const char * part) { return is_listed(part, parts); };
    fprintf(json, "{\"device\": \"%s\", \"unit\": \"seconds\", \"runs\": [",
            ggml_backend_dev_description(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU)));
    speed_run run(folder, json);
    if (has("targets") || has("fusions") || has("short") || has("decode") || has("fp8")) {
        const model_ptr model = load_random_model(random_model(), false, run.path);
        if (has("targets")) {
            run.targets(model);
        }
        if (has("fusions")) {
            run.fusions(model);
        }
        if (has("short")) {
            run.short_inputs(model);
        }
        if (has("decode")) {
            run.decode(model);
        }
        if (has("fp8")) {
            run.fp8(model);
        }
    }
    if (has("fp8-types")) {
        run.fp8_types();
    }
    if (has("rest")) {
        run.rest();
    }
    if (has("stock") || has("decode")) {
        run.stock(has("stock"), has("decode"));
    }
    if (has("types")) {
        run.types();
    }
    if (has("models")) {
        run.models();
    }
    fprintf(json, "\n]}\n");
}
