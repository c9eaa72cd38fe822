#include "WeightBuffers.h"

#include <memory>

namespace {

// As llama.cpp asks when it loads a model: with an empty buffer of that type under the weights
bool takes_weights(const GgmlBackend & ggml, ggml_backend_dev_t device, ggml_backend_buffer_type_t buft,
                   const WeightProduct & product) {
    const std::unique_ptr<ggml_context, decltype(ggml.free)> context(
        ggml.init({ggml.tensor_overhead() * 3, nullptr, true}), ggml.free);
    const std::unique_ptr<ggml_backend_buffer, decltype(ggml.buffer_free)> buffer(ggml.buft_alloc_buffer(buft, 0),
                                                                                  ggml.buffer_free);
    if (context == nullptr || buffer == nullptr) {
        return false;
    }
    ggml_tensor * weights = ggml.new_tensor_3d(context.get(), product.type, product.k, product.n, product.batch);
    ggml_tensor * input   = ggml.new_tensor_3d(context.get(), GGML_TYPE_F32, product.k, product.rows, product.batch);
    weights->buffer       = buffer.get();
    return ggml.dev_supports_op(device, ggml.mul_mat(context.get(), weights, input));
}

} // namespace

std::vector<ggml_backend_buffer_type_t> armt_weight_buffers(const GgmlBackend & ggml, ggml_backend_dev_t device,
                                                            const WeightProduct & product) {
    std::vector<ggml_backend_buffer_type_t> found;
    const ggml_backend_buffer_type_t        own = ggml.dev_buffer_type(device);
    if (takes_weights(ggml, device, own, product)) {
        found.push_back(own);
    }
    void * const get_extra =
        ggml.reg_get_proc_address(ggml.dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts");
    if (get_extra == nullptr || product.batch > 1) {
        return found;
    }
    ggml_backend_buffer_type_t * extra = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(get_extra)(device);
    for (; extra != nullptr && *extra != nullptr; ++extra) {
        if (takes_weights(ggml, device, *extra, product)) {
            found.push_back(*extra);
        }
    }
    return found;
}
