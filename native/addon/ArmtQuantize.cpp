#include "ArmtQuantize.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"
#include "ArmtWorker.h"

#include "ggml.h"

#include <memory>
#include <vector>

namespace {

class QuantizeWorker : public ArmtWorker {
public:
    QuantizeWorker(Napi::Env env, ggml_type type, const Napi::Float32Array & values, int64_t n_per_row)
        : ArmtWorker(env, "armtQuantize"), type(type), values(values.Data()),
          n_rows(values.ElementLength() / n_per_row), n_per_row(n_per_row),
          reference(Napi::Persistent(values.As<Napi::Object>())) {}

protected:
    void work() override {
        const ArmtLibrary::Ggml & ggml = ArmtLibrary::get().ggml();
        data = std::make_unique<std::vector<uint8_t>>(n_rows * ggml.row_size(type, n_per_row));
        // without an importance matrix, as llama-quantize by default
        const size_t size = ggml.quantize_chunk(type, values, data->data(), 0, n_rows, n_per_row, nullptr);
        if (size != data->size() || !ggml.validate_row_data(type, data->data(), size)) {
            throw std::runtime_error("the weights cannot be quantized: some are not finite or too large");
        }
    }

    Napi::Value result(Napi::Env env) override {
        std::vector<uint8_t> * owned = data.release();
        return Napi::Buffer<uint8_t>::NewOrCopy(
            env, owned->data(), owned->size(), [](Napi::Env, uint8_t *, std::vector<uint8_t> * hint) { delete hint; },
            owned);
    }

private:
    ggml_type                             type;
    const float *                         values;
    int64_t                               n_rows;
    int64_t                               n_per_row;
    Napi::ObjectReference                 reference; // keeps the values alive
    std::unique_ptr<std::vector<uint8_t>> data;
};

// quantize(type, values: Float32Array, rowLength): Promise<Buffer>; the values must not change until it is settled
Napi::Value quantize(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        const int32_t type      = armt_int32(info[0], "type");
        const int32_t n_per_row = armt_int32(info[2], "rowLength");
        if (!info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
            throw std::runtime_error("`values` has to be a Float32Array");
        }
        const auto                values = info[1].As<Napi::Float32Array>();
        const ArmtLibrary::Ggml & ggml   = ArmtLibrary::get().ggml();
        if (type < 0 || type >= GGML_TYPE_COUNT || !ggml.is_quantized(ggml_type(type)) ||
            ggml.quantize_requires_imatrix(ggml_type(type))) {
            throw std::runtime_error("`type` is not a type to quantize to");
        }
        if (n_per_row <= 0 || n_per_row % ggml.blck_size(ggml_type(type)) != 0 ||
            values.ElementLength() % n_per_row != 0) {
            throw std::runtime_error("`rowLength` has to be a whole number of blocks, and `values` whole rows");
        }
        return ArmtWorker::start(new QuantizeWorker(info.Env(), ggml_type(type), values, n_per_row));
    });
}

class DequantizeWorker : public ArmtWorker {
public:
    DequantizeWorker(Napi::Env env, ggml_type type, const Napi::Uint8Array & blocks)
        : ArmtWorker(env, "armtDequantize"), type(type), blocks(blocks.Data()), size(blocks.ByteLength()),
          reference(Napi::Persistent(blocks.As<Napi::Object>())) {}

protected:
    void work() override {
        const ArmtLibrary::Ggml & ggml = ArmtLibrary::get().ggml();
        if (!ggml.validate_row_data(type, blocks, size)) {
            throw std::runtime_error("the weights are damaged: some scales are not finite");
        }
        const int64_t n_values = int64_t(size / ggml.row_size(type, ggml.blck_size(type))) * ggml.blck_size(type);
        values                 = std::make_unique<std::vector<float>>(n_values);
        ggml.get_type_traits(type)->to_float(blocks, values->data(), n_values);
    }

    Napi::Value result(Napi::Env env) override {
        std::vector<float> * owned = values.release();
        return Napi::Buffer<float>::NewOrCopy(
            env, owned->data(), owned->size(), [](Napi::Env, float *, std::vector<float> * hint) { delete hint; },
            owned);
    }

private:
    ggml_type                           type;
    const uint8_t *                     blocks;
    size_t                              size;
    Napi::ObjectReference               reference; // keeps the blocks alive
    std::unique_ptr<std::vector<float>> values;
};

// dequantize(type, blocks: Uint8Array): Promise<Buffer>, of float32 in the machine's order; the blocks must not change
// until it is settled
Napi::Value dequantize(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] {
        const int32_t type = armt_int32(info[0], "type");
        if (!info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
            throw std::runtime_error("`blocks` has to be a Uint8Array");
        }
        const auto                blocks = info[1].As<Napi::Uint8Array>();
        const ArmtLibrary::Ggml & ggml   = ArmtLibrary::get().ggml();
        if (type < 0 || type >= GGML_TYPE_COUNT || !ggml.is_quantized(ggml_type(type)) ||
            ggml.get_type_traits(ggml_type(type))->to_float == nullptr) {
            throw std::runtime_error("`type` is not a quantized type");
        }
        if (blocks.ByteLength() % ggml.row_size(ggml_type(type), ggml.blck_size(ggml_type(type))) != 0) {
            throw std::runtime_error("`blocks` has to be whole blocks");
        }
        return ArmtWorker::start(new DequantizeWorker(info.Env(), ggml_type(type), blocks));
    });
}

} // namespace

void armt_register_quantize(Napi::Env env, Napi::Object exports) {
    exports.Set("quantize", Napi::Function::New(env, quantize, "quantize"));
    exports.Set("dequantize", Napi::Function::New(env, dequantize, "dequantize"));
}
