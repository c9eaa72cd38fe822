// cuda-check check

#include "armt-limits.h"
#include "commands.h"
#include "fp8.h"
#include "harness.h"
#include "model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <unistd.h>
#include <utility>

struct shape {
    const char * name;
    random_model model;
    uint32_t     n_tokens;
};

// What one run leaves: logits of the last token, and the memories of all layers
struct outcome {
    std::string        name;
    std::vector<float> logits;
    std::vector<float> memory;
    armt_context_info  info;
};

// The first three runs, which fusions are measured by
static constexpr size_t EXACT   = 0; // F32 on the CPU
static constexpr size_t CPU     = 1;
static constexpr size_t UNFUSED = 2;

// Models from these sizes on have tiles enough for `gate` and rows enough for `write`; the others have too few.
static constexpr uint32_t GATE_MIN_FF    = 8000;
static constexpr uint32_t WRITE_MIN_ROWS = 32;

static std::vector<shape> make_shapes() {
    std::vector<shape> shapes;
    for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
        const bool   is_quantized = ggml_is_quantized(type);
        random_model m;
        m.type      = type;
        m.n_layer   = 2; // with more layers or segments, rounding errors grow too much to tell anything
        m.n_embd    = 512;
        m.n_head    = 8;
        m.n_head_kv = 2;
        m.n_ff    = is_quantized ? 1536 : 8192; // enough tiles for the product with SwiGLU, see armt-product-hopper.cu
        m.n_vocab = 1000;
        m.n_mem   = 32;
        m.n_segment = 224;
        shapes.push_back({"heads of 64", m, 224 * 4 + 200}); // the open segment runs with the closed ones
        m.n_segment = 203;                                   // rows that fill no tile
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
        m.n_segment     = 203;
        m.n_ff          = 1056;
        m.large_queries = true;
        m.seed          = 4;
        shapes.push_back({"queries beyond F16", m, 203 * 4 + 11});
    }
    // More weights than are converted to F16 at once: ffn_down of both layers, ffn_up even of one layer. The last part
    // is smaller.
    random_model m  = shapes.back().model;
    m.type          = GGML_TYPE_Q8_0;
    m.n_ff          = uint32_t(ARMT_CONVERTED_BYTES / 2 / (m.n_layer * m.n_embd)) + 1056;
    m.n_segment     = 224;
    m.large_queries = false;
    m.seed          = 5;
    shapes.push_back({"weights converted in parts", m, 224 * 2 + 40});
    m.n_ff             = 1536;
    m.quantized_memory = true;
    m.seed             = 6;
    shapes.push_back({"quantized memory", m, 224 * 4 + 40});
    // enough tiles for all products in e4m3 of two layers, see armt-product-hopper.cu
    m           = random_model();
    m.n_layer   = 2;
    m.n_embd    = 3584;
    m.n_head    = 40;
    m.n_head_kv = 8;
    m.n_ff      = 1792;
    m.n_vocab   = 1000;
    m.seed      = 7;
    shapes.push_back({"many tiles", m, 1024 * 2 + 200});
    return shapes;
}

static outcome run(const std::string & name, const shape & s, const model_ptr & model, const settings & with) {
    const std::vector<llama_token> tokens = random_tokens(s.n_tokens, s.model.n_vocab);
    // most of them in large batches, the last ones token by token, as in generation
    const std::vector<llama_token> most(tokens.begin(), tokens.end() - 4);
    context_ptr                    ctx(model, with);
    ctx.read(most, 2048);
    ctx.read(tokens, 1, most.size());
    outcome result = {name, ctx.logits(s.model.n_vocab), {}, ctx.info()};
    for (uint32_t il = 0; il < s.model.n_layer; ++il) {
        const std::vector<float> a = ctx.memory(il);
        result.memory.insert(result.memory.end(), a.begin(), a.end());
    }
    return result;
}

// few: only what products in e4m3 are compared with
static std::vector<outcome> run_all(const shape & s, const std::string & path, const std::string & path_f32, bool few) {
    settings with;
    with.n_segment = s.model.n_segment;
    with.n_ctx     = 1 << 16;

    settings on_cpu  = with;
    on_cpu.schedule  = ARMT_SCHEDULE_SEQUENTIAL;
    on_cpu.n_threads = std::max(1, std::min(8, int(std::thread::hardware_concurrency()) - 1));

    std::vector<outcome> results;
    results.push_back(run("F32 on the CPU", s, model_ptr(path_f32, false), on_cpu));
    results.push_back(run("CPU", s, model_ptr(path, false), on_cpu));

    const model_ptr gpu(path, true);
    settings        fused = with;
    fused.n_threads       = 1;
    const auto run_fused  = [&](const std::string & fusions) {
        settings some = fused;
        some.fusion   = fusions.c_str();
        results.push_back(run(fusions, s, gpu, some));
    };
    settings unfused = fused;
    unfused.fusion   = "none";
    results.push_back(run("unfused", s, gpu, unfused));
    for (const std::string & name : few ? std::vector<std::string>() : all_fusions()) {
        // some are of products with 16-bit input only, which other fusions make
        if (name == "gate") {
            run_fused("norm,gate");
        } else if (name == "residual") {
            run_fused("glu,attention");
            run_fused("glu,attention,residual");
        } else {
            run_fused(name);
        }
    }
    run_fused("all");
    fused.schedule = ARMT_SCHEDULE_SEQUENTIAL;
    results.push_back(run("all, sequential", s, gpu, fused));
    return results;
}

// Whether the backend has the kernel of `gate`, which is for compute capability 9.0 alone
static bool is_built_for_hopper() {
    ggml_backend_dev_t dev = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    if (dev == nullptr) {
        return false;
    }
    const auto get_features = reinterpret_cast<ggml_backend_get_features_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(dev), "ggml_backend_get_features"));
    const ggml_backend_feature * feature =
        get_features == nullptr ? nullptr : get_features(ggml_backend_dev_backend_reg(dev));
    for (; feature != nullptr && feature->name != nullptr; ++feature) {
        if (strcmp(feature->name, "ARCHS") == 0) {
            return strstr(feature->value, "900") != nullptr;
        }
    }
    return false;
}

// Whether a run has other bits than the run without its fusion
enum class expected { change, same, either };

// A fusion leaves the bits as they are if it takes no node of the model, or if it rounds as ggml does.
static expected expect_change(const random_model & m, const std::string & name) {
    const bool is_bf16 = m.type == GGML_TYPE_BF16;
    const auto when    = [](bool changes) { return changes ? expected::change : expected::same; };
    if (name == "norm") {
        // ggml's product rounds its input to bf16 too, so only the order of the norm's sum differs
        return is_bf16 ? expected::either : expected::change;
    }
    if (name == "glu") {
        return when(!is_bf16); // the same rounding again
    }
    if (name == "norm,gate") {
        // the kernel leaves products with few tiles to cuBLAS; with bf16 the rounding is the same again
        return when(m.type == GGML_TYPE_F16 && m.n_ff >= GATE_MIN_FF && is_built_for_hopper());
    }
    if (name == "glu,attention,residual") {
        // Added to the same sums in F32, in ggml's order. So only times show that it runs, see docs/gpu.md.
        return expected::same;
    }
    if (name == "quantize" || name == "grouped") {
        return expected::same; // of products in e4m3, see judge_fp8
    }
    if (name == "write") {
        return when(m.n_mem >= WRITE_MIN_ROWS);
    }
    if (name == "dpfp") {
        return when(!m.quantized_memory); // the map alone only copies and multiplies; the product before it sums
    }
    return expected::change;
}

// The run that shows what a fusion changes: the same one without it
static const outcome & run_without(const std::vector<outcome> & results, const std::string & name) {
    const std::string without = name == "norm,gate"                ? "norm"
                                : name == "glu,attention,residual" ? "glu,attention"
                                                                   : "unfused";
    return *std::find_if(results.begin(), results.end(), [&](const outcome & other) { return other.name == without; });
}

// Prints and writes the results of a shape. Returns how many are wrong. any_fused: set if a fusion changes a result.
static int judge(const shape & s, const std::vector<outcome> & results, FILE * json, bool is_first, bool & any_fused) {
    const outcome & exact   = results[EXACT];
    const outcome & unfused = results[UNFUSED];

    // How much rounding to 16 bits matters depends on the model, and ggml's own ways differ too. A fusion may be off by
    // three times as much as the worse of them.
    const double logits_limit =
        3.0 * std::max(difference(results[CPU].logits, exact.logits), difference(unfused.logits, exact.logits));
    const double memory_limit =
        3.0 * std::max(difference(results[CPU].memory, exact.memory), difference(unfused.memory, exact.memory));

    // With quantized weights ggml rounds the input of products to 8 bits, the fusions to 16. So all fusions together
    // have to be much nearer, or they did not run.
    // whether there is a GPU that is new enough
    const bool has_fusions  = difference(results[results.size() - 2].memory, unfused.memory) > 0.0;
    const bool is_converted = has_fusions && ggml_is_quantized(s.model.type) && !s.model.quantized_memory &&
                              s.model.n_segment + s.model.n_mem >= ARMT_CONVERTED_MIN_ROWS;
    int n_bad = 0;
    for (size_t i = CPU; i < results.size(); ++i) {
        const outcome & result    = results[i];
        const bool      is_all    = i + 2 >= results.size();
        const bool      is_fused  = i > UNFUSED;
        const double    of_logits = difference(result.logits, exact.logits);
        const double    of_memory = difference(result.memory, exact.memory);
        const double    limit = is_converted && is_all ? difference(unfused.memory, exact.memory) / 2.0 : memory_limit;
        const bool      ok    = of_logits < logits_limit && of_memory < limit && of_logits < 0.1; // false for NaN

        bool changed     = false;
        bool as_expected = true;
        if (is_fused) {
            const outcome & other = run_without(results, result.name);
            const expected  want  = expect_change(s.model, result.name);
            changed               = result.logits != other.logits || result.memory != other.memory;
            as_expected           = !has_fusions || want == expected::either || (want == expected::change) == changed;
        }
        n_bad += ok && as_expected ? 0 : 1;
        const char * type = ggml_type_name(s.model.type);
        printf("%-4s %-40s %-22s logits off by %.2e of %.2e, memories by %.2e of %.2e  %s\n", type, s.name,
               result.name.c_str(), of_logits, logits_limit, of_memory, limit,
               !ok                    ? "WRONG"
               : !as_expected         ? changed ? "WRONG: it should change nothing" : "WRONG: it did not run"
               : changed || !is_fused ? "ok"
                                      : "ok, changes nothing");
        fprintf(json,
                "%s\n{\"type\": \"%s\", \"model\": \"%s\", \"run\": \"%s\", \"logits\": %.3e, \"logitsLimit\": %.3e, "
                "\"memories\": %.3e, \"memoriesLimit\": %.3e, \"changed\": %s, \"asExpected\": %s, \"ok\": %s}",
                is_first && i == CPU ? "" : ",", type, s.name, result.name.c_str(),
                std::isfinite(of_logits) ? of_logits : -1.0, logits_limit, std::isfinite(of_memory) ? of_memory : -1.0,
                limit, changed ? "true" : "false", as_expected ? "true" : "false", ok ? "true" : "false");
    }
    any_fused = any_fused || has_fusions;
    fflush(stdout);
    return n_bad;
}

//
// products in e4m3
//

// Relative to F32 on the CPU. One product is off by 3.7 %, and errors add up over two layers and five segments: without
// fusions, the memories of these shapes are off by up to 0.23.
static constexpr double FP8_LIMIT = 0.3;

// How much further off a run may be than the one without fusions, whose numbers round to others. On an H200 it was up
// to 1.3 times, where most products were left in 16 bits.
static constexpr double FP8_FUSED_LIMIT = 1.5;

static std::vector<outcome> run_all_fp8(const shape & s, const std::string & path, const outcome & exact) {
    std::vector<outcome> results = {exact};
    const model_ptr      gpu(path, true);
    settings             with;
    with.n_segment    = s.model.n_segment;
    with.n_ctx        = 1 << 16;
    with.n_threads    = 1;
    with.fp8_products = ARMT_PRODUCT_ALL;
    with.fusion       = "none";
    results.push_back(run("unfused", s, gpu, with));
    for (const char * fusions :
         {"norm", "norm,quantize", "glu", "glu,quantize", "glu,gate,grouped", "rope", "rope,grouped", "attention",
          "residual", "residual,grouped", "norm,glu,gate,read,dpfp,rope,attention,residual,write,quantize", "all"}) {
        with.fusion = fusions;
        results.push_back(run(fusions, s, gpu, with));
    }
    // a product of one cell may fit where a diagonal's does not, so this schedule has other products in e4m3
    with.schedule = ARMT_SCHEDULE_SEQUENTIAL;
    results.push_back(run("all, sequential", s, gpu, with));
    with.fusion = "none";
    results.push_back(run("unfused, sequential", s, gpu, with));
    with.fusion   = "all";
    with.schedule = ARMT_SCHEDULE_DIAGONAL;
    with.fp8      = "tensor";
    results.push_back(run("all, tensor", s, gpu, with));
    with.fp8          = "";
    with.fp8_products = ARMT_PRODUCT_GATE_UP;
    results.push_back(run("all, gate_up alone", s, gpu, with));
    with.fp8_products = ARMT_PRODUCT_QKV | ARMT_PRODUCT_O | ARMT_PRODUCT_DOWN;
    results.push_back(run("all, all but gate_up", s, gpu, with));
    return results;
}

// in_16_bits: all fusions without e4m3, from which each run has to differ
static int judge_fp8(const shape & s, const std::vector<outcome> & results, const outcome & in_16_bits, FILE * json) {
    const outcome & exact = results[0];
    const auto      named = [&](const char * name) -> const outcome & {
        return *std::find_if(results.begin(), results.end(), [&](const outcome & one) { return one.name == name; });
    };

    int n_bad = 0;
    for (size_t i = 1; i < results.size(); ++i) {
        const outcome & result       = results[i];
        const bool      is_unfused   = result.name.rfind("unfused", 0) == 0;
        const bool      is_tensor    = result.name == "all, tensor";
        const outcome & unfused      = named(result.name == "all, sequential" ? "unfused, sequential" : "unfused");
        const double    times        = is_unfused || is_tensor ? HUGE_VAL : FP8_FUSED_LIMIT;
        const double    logits_limit = std::min(FP8_LIMIT, times * difference(unfused.logits, exact.logits));
        const double    memory_limit = std::min(FP8_LIMIT, times * difference(unfused.memory, exact.memory));
        const double    of_logits    = difference(result.logits, exact.logits);
        const double    of_memory    = difference(result.memory, exact.memory);
        const bool      within       = of_logits <= logits_limit && of_memory <= memory_limit;
        const auto      computed     = (unsigned long long) result.info.n_fp8_computed;
        const auto      left         = (unsigned long long) result.info.n_fp8_left;
        const bool      ran          = computed > 0 && result.memory != in_16_bits.memory;
        n_bad += within && ran ? 0 : 1;
        printf("%-4s %-40s e4m3, %-20s logits off by %.2e of %.2e, memories by %.2e of %.2e, %llu products, "
               "%llu left  %s\n",
               ggml_type_name(s.model.type), s.name, result.name.c_str(), of_logits, logits_limit, of_memory,
               memory_limit, computed, left,
               !within ? "WRONG"
               : ran   ? "ok"
                       : "WRONG: it did not run");
        fprintf(json,
                ",\n{\"type\": \"%s\", \"model\": \"%s\", \"run\": \"e4m3, %s\", \"logits\": %.3e, "
                "\"logitsLimit\": %.3e, \"memories\": %.3e, \"memoriesLimit\": %.3e, \"products\": %llu, \"left\": "
                "%llu, \"changed\": %s, "
                "\"ok\": %s}",
                ggml_type_name(s.model.type), s.name, result.name.c_str(), std::isfinite(of_logits) ? of_logits : -1.0,
                logits_limit, std::isfinite(of_memory) ? of_memory : -1.0, memory_limit, computed, left,
                ran ? "true" : "false", within && ran ? "true" : "false");
    }
    fflush(stdout);
    return n_bad;
}

int run_check(const std::string & folder, FILE * json, bool fp8_alone) {
    const std::string path     = folder + "/check.gguf";
    const std::string path_f32 = folder + "/check-f32.gguf";

    int  n_bad     = check_fp8_products();
    bool is_first  = true;
    bool any_fused = false;
    fprintf(json, "{\"checks\": [");
    for (const shape & s : make_shapes()) {
        random_model in_f32 = s.model;
        in_f32.as_f32       = true;
        write_random_model(s.model, false, path);
        write_random_model(in_f32, false, path_f32);
        const std::vector<outcome> results     = run_all(s, path, path_f32, fp8_alone);
        const std::vector<outcome> results_fp8 = has_fp8() ? run_all_fp8(s, path, results[EXACT]) : results;
        unlink(path.c_str());
        unlink(path_f32.c_str());
        n_bad += judge(s, results, json, is_first, any_fused);
        if (has_fp8()) {
            n_bad += judge_fp8(s, results_fp8, results[results.size() - 2], json);
        }
        is_first = false;
    }
    if (!any_fused) {
        printf("no fusion ran: they need compute capability 8.0\n");
        ++n_bad;
    }
    fprintf(json, "\n]}\n");
    return n_bad;
}
