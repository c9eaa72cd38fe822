#include "armt-extra-buffers.h"

#include "armt-hooks.h"

#include "llama-model-loader.h"

#include "ggml-backend.h"
#include "ggml-cpp.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>

#if !defined(_WIN32)
#include <sys/mman.h>
#include <unistd.h>
#endif

bool armt_use_extra_buffers() {
    const char * value = getenv("ARMT_CPU_EXTRA_BUFFERS");
    return value == nullptr || strcmp(value, "0") != 0;
}

static ggml_context_ptr create_context(size_t n_tensors) {
    ggml_context_ptr ctx(ggml_init({ggml_tensor_overhead() * n_tensors, nullptr, true}));
    if (!ctx) {
        throw std::runtime_error("not enough memory to load the model");
    }
    return ctx;
}

// As llama.cpp asks before it chooses a tensor's buffer type: with an empty buffer of that type under the weights
static bool takes_matrix(ggml_backend_dev_t dev, ggml_backend_buffer_type_t buft, ggml_type type, int64_t ne0,
                         int64_t ne1) {
    const ggml_context_ptr        ctx = create_context(3);
    const ggml_backend_buffer_ptr buffer(ggml_backend_buft_alloc_buffer(buft, 0));

    ggml_tensor * weights = ggml_new_tensor_2d(ctx.get(), type, ne0, ne1);
    ggml_tensor * input   = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, ne0, 512);
    weights->buffer       = buffer.get();
    return buffer && ggml_backend_dev_supports_op(dev, ggml_mul_mat(ctx.get(), weights, input));
}

bool armt_takes_matrix(ggml_type type, int64_t ne0, int64_t ne1) {
    const ggml_backend_dev_t dev = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (dev == nullptr) {
        return false;
    }
    const auto get_extra_bufts = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(dev), "ggml_backend_dev_get_extra_bufts"));
    if (get_extra_bufts == nullptr) {
        return false;
    }
    for (ggml_backend_buffer_type_t * buft = get_extra_bufts(dev); buft != nullptr && *buft != nullptr; ++buft) {
        if (takes_matrix(dev, *buft, type, ne0, ne1)) {
            return true;
        }
    }
    return false;
}

void armt_split_stack(llama_model_loader & ml, int layer_dims, const std::vector<armt_stack_part> & parts) {
    const llama_model_loader::llama_tensor_weight stack = ml.require_weight(parts[0].name.c_str());

    ggml_context_ptr ctx   = create_context(parts.size());
    size_t           first = 0; // layers before the part
    ml.weights_map.erase(parts[0].name);
    for (const armt_stack_part & part : parts) {
        llama_model_loader::llama_tensor_weight weight = stack;

        int64_t ne[]   = {stack.tensor->ne[0], stack.tensor->ne[1], stack.tensor->ne[2]};
        ne[layer_dims] = part.n;
        weight.offs    = stack.offs + first * stack.tensor->nb[layer_dims];
        weight.tensor  = ggml_new_tensor(ctx.get(), stack.tensor->type, layer_dims + 1, ne);
        ggml_set_name(weight.tensor, part.name.c_str());
        ml.weights_map.emplace(part.name, weight);
        first += part.n;
    }
    ml.n_tensors += int(parts.size()) - 1;
    ml.contexts.push_back(std::move(ctx));
}

void armt_release_pages(const void * data, size_t size) {
#if defined(_WIN32)
    GGML_UNUSED(data);
    GGML_UNUSED(size);
#else
    // Not munmap, because llama.cpp later unmaps the ends of the file, where other memory could be by then. Embeddings
    // that are packed as a tied model's output are still read from the file too.
    const size_t page = size_t(sysconf(_SC_PAGESIZE));
    const size_t skip = (page - uintptr_t(data) % page) % page; // up to the first whole page
    if (size < skip + page) {
        return;
    }
    char * first = static_cast<char *>(const_cast<void *>(data)) + skip;
    madvise(first, (size - skip) / page * page, MADV_DONTNEED); // only advice, so failing does no harm
#endif
}
