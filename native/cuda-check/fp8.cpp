// cuda-check check, products in e4m3: one product against e4m3 and against F32 on the CPU, and whole models

#include "fp8.h"
#include "armt-names.h"
#include "commands.h"
#include "harness.h"

#include "ggml-alloc.h"
#include "ggml-backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <thread>

// ARMT_CUDA_FP8 and ARMT_CUDA_FUSION. Scales by tensor are cuBLASLt's.
struct fp8_mode {
    const char * fp8;
    const char * fusion;
};
static constexpr fp8_mode MODES[] = {
    {"", "grouped,residual"}, {"", "residual"}, {"", "none"}, {"tensor", "residual"}, {"tensor", "none"},
};

// Against the same rounding on the CPU: the sums are in another order, and tensor cores keep fewer bits of a sum than
// F32 has.
static constexpr double ROUNDED_LIMIT = 2e-2;

// One product's relative error against F32, on normal numbers. e4m3 has 3 bits of mantissa, so a number is off by
// 2.6 % on average, and a sum of products of two such numbers by 3.7 %. Above the least: it ran.
static constexpr double EXACT_LEAST = 0.02;
static constexpr double EXACT_LIMIT = 0.045;

// cuBLASLt asks for dimensions in multiples of this. Others may be left in 16 bits.
static constexpr int64_t ROWS_MULTIPLE = 16;

static float round_to_e4m3(float x) {
    const float most = std::fabs(x);
    if (most == 0.0f) {
        return x;
    }
    int exponent = 0;
    std::frexp(most, &exponent);
    const float step = std::ldexp(1.0f, std::max(exponent - 1, -6) - 3); // 3 bits after the first; -6: the least
    return std::copysign(std::min(std::nearbyint(most / step) * step, 448.0f), x);
}

// Rounds rows of n to e4m3 and back, with a scale for each n_part rows
static void round_rows(std::vector<float> & x, int64_t n, int64_t n_part) {
    for (size_t first = 0; first < x.size(); first += n * n_part) {
        float most = 0.0f;
        for (int64_t i = 0; i < n * n_part; ++i) {
            most = std::max(most, std::fabs(x[first + i]));
        }
        const float unit = std::max(most, 1e-30f) / 448.0f;
        for (int64_t i = 0; i < n * n_part; ++i) {
            x[first + i] = round_to_e4m3(x[first + i] / unit) * unit;
        }
    }
}

struct product {
    ggml_type type;
    int64_t   n, n_out, n_rows;
    int64_t   n_layers; // of the stack; the product takes all but the first
};

using context_holder = std::unique_ptr<ggml_context, decltype(&ggml_free)>;
using buffer_holder  = std::unique_ptr<ggml_backend_buffer, decltype(&ggml_backend_buffer_free)>;
using backend_holder = std::unique_ptr<ggml_backend, decltype(&ggml_backend_free)>;

static context_holder make_context() {
    return {ggml_init({64 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true}), ggml_free};
}

// Rows differ in size, so that a scale of another row would show
static std::vector<float> random_rows(int64_t n, int64_t n_rows, uint32_t seed) {
    std::mt19937                    random(seed);
    std::normal_distribution<float> normal;
    std::vector<float>              x(n * n_rows);
    for (size_t i = 0; i < x.size(); ++i) {
        x[i] = normal(random) * (1.0f + float(i / n % 7));
    }
    return x;
}

static double dot(const float * a, const float * b, int64_t n) {
    double sums[8] = {}; // apart, so that the compiler can use vectors
    for (int64_t k = 0; k < n; ++k) {
        sums[k % 8] += double(a[k]) * b[k];
    }
    double sum = 0.0;
    for (const double part : sums) {
        sum += part;
    }
    return sum;
}

// w*x + r
static std::vector<float> multiply(const product & p, const std::vector<float> & w, const std::vector<float> & x,
                                   const std::vector<float> & r) {
    std::vector<float>       y(r.size());
    std::vector<std::thread> threads;
    const int64_t            n_threads = std::max(1u, std::thread::hardware_concurrency());
    for (int64_t thread = 0; thread < n_threads; ++thread) {
        threads.emplace_back([&, thread] {
            for (int64_t i = thread; i < int64_t(y.size()); i += n_threads) {
                const int64_t layer = i / (p.n_out * p.n_rows);
                y[i]                = r[i] + float(dot(w.data() + ((layer + 1) * p.n_out + i % p.n_out) * p.n,
                                                       x.data() + i / p.n_out * p.n, p.n));
            }
        });
    }
    for (std::thread & thread : threads) {
        thread.join();
    }
    return y;
}

// What the backend's functions say; no GPU without FP8 gets here
static armt_fp8_counts counts_of(ggml_backend_t backend) {
    const ggml_backend_reg_t reg   = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend));
    const auto               query = reinterpret_cast<armt_fp8_counts (*)(ggml_backend_t)>(
        ggml_backend_reg_get_proc_address(reg, ARMT_NAME_FP8_COUNTS));
    check(query != nullptr, std::string("the backend has no function ") + ARMT_NAME_FP8_COUNTS);
    return query(backend);
}

// Returns the number of wrong results.
static int check_product(ggml_backend_dev_t dev, const product & p) {
    const int64_t                    n_batch = p.n_layers - 1;
    const ggml_backend_buffer_type_t memory  = ggml_backend_dev_buffer_type(dev);

    const context_holder weights = make_context();
    ggml_tensor *        stack   = ggml_new_tensor_3d(weights.get(), p.type, p.n, p.n_out, p.n_layers);
    const buffer_holder  stored  = {ggml_backend_alloc_ctx_tensors_from_buft(weights.get(), memory),
                                    ggml_backend_buffer_free};
    ggml_backend_buffer_set_usage(stored.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);

    const context_holder nodes = make_context();
    ggml_tensor *        input = ggml_new_tensor_3d(nodes.get(), GGML_TYPE_F32, p.n, p.n_rows, n_batch);
    ggml_tensor *        layers =
        ggml_view_3d(nodes.get(), stack, p.n, p.n_out, n_batch, stack->nb[1], stack->nb[2], stack->nb[2]);
    ggml_tensor * mul    = ggml_mul_mat(nodes.get(), layers, input);
    ggml_tensor * other  = ggml_new_tensor_3d(nodes.get(), GGML_TYPE_F32, p.n_out, p.n_rows, n_batch);
    ggml_tensor * output = ggml_add(nodes.get(), mul, other);
    mul->op_params[ARMT_OP_PARAM_PRECISION] = ARMT_PRECISION_E4M3;
    ggml_cgraph * graph                     = ggml_new_graph(nodes.get());
    ggml_build_forward_expand(graph, output);
    const buffer_holder computed = {ggml_backend_alloc_ctx_tensors_from_buft(nodes.get(), memory),
                                    ggml_backend_buffer_free};

    std::vector<float>   w = random_rows(p.n, p.n_out * p.n_layers, 1);
    std::vector<float>   x = random_rows(p.n, p.n_rows * n_batch, 2);
    std::vector<float>   r = random_rows(p.n_out, p.n_rows * n_batch, 3);
    std::vector<uint8_t> packed(ggml_nbytes(stack));
    ggml_quantize_chunk(p.type, w.data(), packed.data(), 0, p.n_out * p.n_layers, p.n, nullptr);
    ggml_get_type_traits(p.type)->to_float(packed.data(), w.data(), w.size());
    ggml_backend_tensor_set(stack, packed.data(), 0, packed.size());
    ggml_backend_tensor_set(input, x.data(), 0, ggml_nbytes(input));
    ggml_backend_tensor_set(other, r.data(), 0, ggml_nbytes(other));

    const std::vector<float> exact = multiply(p, w, x, r);
    if (ggml_is_quantized(p.type)) { // converted to F16 before it is rounded
        for (float & value : w) {
            value = ggml_fp16_to_fp32(ggml_fp32_to_fp16(value));
        }
    }
    const auto round_both = [&](bool by_tensor) {
        std::vector<float> rounded_w = w;
        std::vector<float> rounded_x = x;
        round_rows(rounded_w, p.n, by_tensor ? p.n_out : 1);
        round_rows(rounded_x, p.n, by_tensor ? p.n_rows : 1);
        return multiply(p, rounded_w, rounded_x, r);
    };
    const std::vector<float> by_row    = round_both(false);
    const std::vector<float> by_tensor = round_both(true);
    int                      n_bad     = 0;
    for (const fp8_mode & mode : MODES) {
        setenv("ARMT_CUDA_FP8", mode.fp8, 1);
        setenv("ARMT_CUDA_FUSION", mode.fusion, 1);
        // a new one, because the variables are not read again for a graph that is replayed
        const backend_holder       backend = {ggml_backend_dev_init(dev, nullptr), ggml_backend_free};
        const std::vector<float> & rounded = strcmp(mode.fp8, "tensor") == 0 ? by_tensor : by_row;

        // evaluated, captured and replayed
        for (int i = 0; i < 4; ++i) {
            std::vector<float> result(exact.size(), NAN);
            ggml_backend_tensor_set(output, result.data(), 0, ggml_nbytes(output));
            check(ggml_backend_graph_compute(backend.get(), graph) == GGML_STATUS_SUCCESS, "the product failed");
            ggml_backend_tensor_get(output, result.data(), 0, ggml_nbytes(output));
            const double          of_rounded = difference(result, rounded);
            const double          of_exact   = difference(result, exact);
            const armt_fp8_counts counts     = counts_of(backend.get()); // one product for each of the i + 1 graphs
            const bool            in_e4m3    = counts.n_e4m3 == uint64_t(i) + 1 && counts.n_left == 0;
            const bool            in_16_bits = counts.n_left == uint64_t(i) + 1 && counts.n_e4m3 == 0;
            // with one scale for all rows, small rows keep fewer bits
            const bool ok = in_e4m3 ? of_rounded < ROUNDED_LIMIT && of_exact > EXACT_LEAST && of_exact < EXACT_LIMIT
                                    : in_16_bits && p.n_rows % ROWS_MULTIPLE != 0 && of_exact < EXACT_LEAST;
            n_bad += ok ? 0 : 1;
            if (i == 0 || i == 3 || !ok) {
                printf("%-5s %lld x %lld, %lld rows of %lld layers in %s, %-6s %-17s off by %.2e of e4m3, %.2e of "
                       "F32  %s\n",
                       ggml_type_name(p.type), (long long) p.n, (long long) p.n_out, (long long) p.n_rows,
                       (long long) n_batch, in_e4m3 ? "e4m3" : "16 bits", mode.fp8, mode.fusion, of_rounded, of_exact,
                       ok ? "ok" : "WRONG");
                fflush(stdout);
            }
        }
    }
    setenv("ARMT_CUDA_FP8", "", 1);
    setenv("ARMT_CUDA_FUSION", "all", 1);
    return n_bad;
}

bool has_fp8() {
    ggml_backend_dev_t dev = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    if (dev == nullptr) {
        return false;
    }
    const ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(dev);
    const auto query = reinterpret_cast<bool (*)(size_t)>(ggml_backend_reg_get_proc_address(reg, ARMT_NAME_HAS_FP8));
    return query != nullptr && ggml_backend_reg_dev_get(reg, 0) == dev && query(0);
}

int check_fp8_products() {
    if (!has_fp8()) {
        printf("products in e4m3 were not checked: they need compute capability 8.9 and the tuned backend\n");
        return 0;
    }
    const ggml_backend_dev_t dev   = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    int                      n_bad = 0;
    for (const ggml_type type : {GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
        n_bad += check_product(dev, {type, 512, 256, 96, 4});
        n_bad += check_product(dev, {type, 576, 960, 144, 31}); // SmolLM2-135M's qkv
        n_bad += check_product(dev, {type, 2080, 144, 83, 2});  // fills no tile
        n_bad += check_product(dev, {type, 12288, 32, 35, 3});
        n_bad += check_product(dev, {type, 768, 2320, 300, 5}); // tiles enough for one kernel of all layers
    }
    fflush(stdout);
    return n_bad;
}
