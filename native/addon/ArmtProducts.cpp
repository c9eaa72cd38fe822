#include "ArmtProducts.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"
#include "ArmtWorker.h"
#include "WeightBuffers.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <vector>

namespace {

// A product that is computed n_repeats times, with n_copies weights one after the other, so that they do not stay in a
// cache
struct Product : WeightProduct {
    int32_t n_copies;
    int32_t n_repeats;
    int32_t n_threads;
    bool    gpu;
};

struct Measured {
    std::string         buffer; // name of the buffer type that held the weights
    std::vector<double> seconds;
};

using context_ptr = std::unique_ptr<ggml_context, decltype(&ggml_free)>;
using buffer_ptr  = std::unique_ptr<ggml_backend_buffer, decltype(&ggml_backend_buffer_free)>;
using backend_ptr = std::unique_ptr<ggml_backend, decltype(&ggml_backend_free)>;

class MeasureProductsWorker : public ArmtWorker {
public:
    MeasureProductsWorker(Napi::Env env, const Product & product)
        : ArmtWorker(env, "armtMeasureProducts"), product(product) {}

protected:
    void work() override {
        const GgmlBackend &      ggml = ArmtLibrary::get().ggml_backend();
        const ggml_backend_dev_t device =
            ggml.dev_by_type(product.gpu ? GGML_BACKEND_DEVICE_TYPE_GPU : GGML_BACKEND_DEVICE_TYPE_CPU);
        if (device == nullptr) {
            throw std::runtime_error(product.gpu ? "no GPU backend is loaded" : "no CPU backend is loaded");
        }
        device_name                  = ggml.dev_description(device);
        const ggml_backend_reg_t reg = ggml.dev_backend_reg(device);
        const backend_ptr        backend(ggml.dev_init(device, nullptr), ggml.backend_free);
        if (backend == nullptr) {
            throw std::runtime_error("the backend of " + device_name + " cannot be started");
        }
        const auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(
            ggml.reg_get_proc_address(reg, "ggml_backend_set_n_threads"));
        if (set_threads != nullptr) {
            set_threads(backend.get(), product.n_threads);
        }
        // the CPU backend has extra buffer types, whose weights are in the order that its kernels want; models use them
        // too
        for (const ggml_backend_buffer_type_t buft : armt_weight_buffers(ggml, device, product)) {
            measure(ggml, device, backend.get(), buft);
        }
        if (measured.empty()) {
            throw std::runtime_error(device_name + " cannot multiply weights of this type and size");
        }
    }

    Napi::Value result(Napi::Env env) override {
        Napi::Array buffers = Napi::Array::New(env, measured.size());
        for (size_t i = 0; i < measured.size(); ++i) {
            Napi::Array seconds = Napi::Array::New(env, measured[i].seconds.size());
            for (size_t j = 0; j < measured[i].seconds.size(); ++j) {
                seconds.Set(uint32_t(j), measured[i].seconds[j]);
            }
            Napi::Object object = Napi::Object::New(env);
            object.Set("buffer", measured[i].buffer);
            object.Set("seconds", seconds);
            buffers.Set(uint32_t(i), object);
        }
        Napi::Object object = Napi::Object::New(env);
        object.Set("device", device_name);
        object.Set("operations", 2.0 * product.k * product.n * product.rows * product.batch * product.n_copies);
        object.Set("buffers", buffers);
        return object;
    }

private:
    Product               product;
    std::string           device_name;
    std::vector<Measured> measured;

    void measure(const GgmlBackend & ggml, ggml_backend_dev_t device, ggml_backend_t backend,
                 ggml_backend_buffer_type_t buft) {
        const context_ptr weights(ggml.init({ggml.tensor_overhead() * (product.n_copies + 1), nullptr, true}),
                                  ggml.free);
        const context_ptr values(
            ggml.init({ggml.tensor_overhead() * (product.n_copies + 2) + ggml.graph_overhead(), nullptr, true}),
            ggml.free);
        ggml_tensor * x     = ggml.new_tensor_3d(values.get(), GGML_TYPE_F32, product.k, product.rows, product.batch);
        ggml_cgraph * graph = ggml.new_graph(values.get());
        std::vector<ggml_tensor *> matrices;
        for (int32_t i = 0; i < product.n_copies; ++i) {
            matrices.push_back(ggml.new_tensor_3d(weights.get(), product.type, product.k, product.n, product.batch));
            ggml.build_forward_expand(graph, ggml.mul_mat(values.get(), matrices.back(), x));
        }
        const buffer_ptr weight_buffer(ggml.alloc_ctx_tensors_from_buft(weights.get(), buft), ggml.buffer_free);
        if (weight_buffer == nullptr) {
            throw std::runtime_error("not enough memory on " + device_name + " to measure its matrix products");
        }
        const buffer_ptr value_buffer(ggml.alloc_ctx_tensors_from_buft(values.get(), ggml.dev_buffer_type(device)),
                                      ggml.buffer_free);
        if (value_buffer == nullptr) {
            throw std::runtime_error("not enough memory on " + device_name + " to measure its matrix products");
        }
        const std::vector<uint8_t> bytes = encode(ggml.nbytes(matrices[0]));
        for (ggml_tensor * matrix : matrices) {
            ggml.tensor_set(matrix, bytes.data(), 0, bytes.size());
        }
        std::vector<float> input(size_t(product.k) * product.rows * product.batch);
        fill(input);
        ggml.tensor_set(x, input.data(), 0, input.size() * sizeof(float));

        Measured result = {ggml.buft_name(buft), {}};
        // the first one only prepares kernels and buffers
        for (int32_t i = 0; i <= product.n_repeats; ++i) {
            const auto        start  = std::chrono::steady_clock::now();
            const ggml_status status = ggml.graph_compute(backend, graph);
            ggml.synchronize(backend);
            const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
            if (status != GGML_STATUS_SUCCESS) {
                throw std::runtime_error(device_name + " failed to compute a matrix product");
            }
            if (i > 0) {
                result.seconds.push_back(passed.count());
            }
        }
        measured.push_back(std::move(result));
    }

    // At a scale that keeps the values' scale, as weights have. Random bits, because a product's power depends on them.
    void fill(std::vector<float> & row) const {
        uint32_t state = 1;
        for (float & value : row) {
            state = state * 1664525u + 1013904223u;
            value = (float(state >> 8) / float(1u << 24) - 0.5f) / std::sqrt(float(product.k));
        }
    }

    // Some random rows, repeated
    std::vector<uint8_t> encode(size_t n_bytes) const {
        const ArmtLibrary::Ggml & ggml      = ArmtLibrary::get().ggml();
        const size_t              row_bytes = ggml.row_size(product.type, product.k);
        const int64_t             n_rows    = std::min<int64_t>(64, product.n);
        std::vector<float>        random(size_t(product.k) * n_rows);
        fill(random);
        std::vector<uint8_t> pattern(row_bytes * n_rows);
        if (product.type == GGML_TYPE_F32) {
            std::copy_n(reinterpret_cast<const uint8_t *>(random.data()), pattern.size(), pattern.data());
        } else {
            ggml.quantize_chunk(product.type, random.data(), pattern.data(), 0, n_rows, product.k, nullptr);
        }
        std::vector<uint8_t> bytes(n_bytes);
        for (size_t done = 0; done < n_bytes; done += pattern.size()) {
            std::copy_n(pattern.data(), std::min(pattern.size(), n_bytes - done), bytes.data() + done);
        }
        return bytes;
    }
};

// measureProducts({type, k, n, rows, batch, copies, repeats, threads, gpu}): Promise<{device, operations, buffers:
// {buffer, seconds: number[]}[]}>
Napi::Value measure_products(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        const Napi::Object options = info[0].As<Napi::Object>();
        const auto         count   = [&](const char * key, int32_t max) {
            const double value = armt_integer(options.Get(key), key, 1, max);
            return int32_t(value);
        };
        const ArmtLibrary::Ggml & ggml    = ArmtLibrary::get().ggml();
        Product                   product = {};
        const int32_t             type    = armt_int32(options.Get("type"), "type");
        if (type >= GGML_TYPE_COUNT || ggml.blck_size(ggml_type(type)) == 0 ||
            ggml.quantize_requires_imatrix(ggml_type(type))) {
            throw std::runtime_error("`type` is not a type of weights");
        }
        product.type      = ggml_type(type);
        product.k         = count("k", 1 << 24);
        product.n         = count("n", 1 << 24);
        product.rows      = count("rows", 1 << 24);
        product.batch     = count("batch", 1 << 16);
        product.n_copies  = count("copies", 1024);
        product.n_repeats = count("repeats", 1 << 16);
        product.n_threads = count("threads", 512);
        product.gpu       = options.Get("gpu").ToBoolean().Value();
        if (product.k % ggml.blck_size(product.type) != 0) {
            throw std::runtime_error("`k` has to be a whole number of blocks of the type");
        }
        return ArmtWorker::start(new MeasureProductsWorker(info.Env(), product));
    });
}

} // namespace

void armt_register_products(Napi::Env env, Napi::Object exports) {
    exports.Set("measureProducts", Napi::Function::New(env, measure_products, "measureProducts"));
}
