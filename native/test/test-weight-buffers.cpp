// Which buffer types get weights, on a device that answers as ggml's CPU backend does on processors with AMX: its extra
// buffer type accepts any weights of a type that it knows, three-dimensional ones as well.

#include "test.h"
#include "WeightBuffers.h"

#include <cstring>

// ggml's types are incomplete here, so places in memory stand for them
static char own_type;
static char amx_type;
static char context;
static char device;

static ggml_tensor tensors[3];
static int         n_tensors;
static bool        has_extra     = true;
static bool        own_supports  = true;
static int         n_buffers     = 0; // not freed yet
static bool        is_allocating = false;

static ggml_backend_buffer_type_t as_buft(char & place) {
    return reinterpret_cast<ggml_backend_buffer_type_t>(&place);
}

static ggml_backend_buffer_type_t * get_extra_bufts(ggml_backend_dev_t) {
    static ggml_backend_buffer_type_t types[] = {as_buft(amx_type), nullptr};
    return types;
}

static GgmlBackend fake_ggml() {
    has_extra    = true;
    own_supports = true;

    GgmlBackend ggml = {};
    ggml.init        = [](ggml_init_params params) {
        CHECK(params.no_alloc);
        n_tensors = 0;
        return reinterpret_cast<ggml_context *>(&context);
    };
    ggml.free            = [](ggml_context *) {};
    ggml.tensor_overhead = [] { return sizeof(ggml_tensor); };
    ggml.new_tensor_3d   = [](ggml_context *, ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2) {
        ggml_tensor * t = &tensors[n_tensors++];
        *t              = {};
        t->type         = type;
        t->ne[0]        = ne0;
        t->ne[1]        = ne1;
        t->ne[2]        = ne2;
        t->ne[3]        = 1;
        return t;
    };
    ggml.mul_mat = [](ggml_context *, ggml_tensor * a, ggml_tensor * b) {
        ggml_tensor * t = &tensors[n_tensors++];
        *t              = {};
        t->op           = GGML_OP_MUL_MAT;
        t->src[0]       = a;
        t->src[1]       = b;
        return t;
    };
    ggml.dev_buffer_type      = [](ggml_backend_dev_t) { return as_buft(own_type); };
    ggml.dev_backend_reg      = [](ggml_backend_dev_t) -> ggml_backend_reg_t { return nullptr; };
    ggml.reg_get_proc_address = [](ggml_backend_reg_t, const char * name) -> void * {
        const bool known = strcmp(name, "ggml_backend_dev_get_extra_bufts") == 0;
        return known && has_extra ? reinterpret_cast<void *>(get_extra_bufts) : nullptr;
    };
    // the fake buffer is its type
    ggml.buft_alloc_buffer = [](ggml_backend_buffer_type_t buft, size_t size) {
        CHECK_EQUAL(size, 0u);
        n_buffers++;
        return reinterpret_cast<ggml_backend_buffer_t>(buft);
    };
    ggml.buffer_free                 = [](ggml_backend_buffer_t) { n_buffers--; };
    ggml.alloc_ctx_tensors_from_buft = [](ggml_context *, ggml_backend_buffer_type_t) -> ggml_backend_buffer_t {
        is_allocating = true;
        return nullptr;
    };
    ggml.dev_supports_op = [](ggml_backend_dev_t, const ggml_tensor * op) {
        const bool is_amx = op->src[0]->buffer == reinterpret_cast<ggml_backend_buffer_t>(&amx_type);
        return is_amx ? op->src[0]->type == GGML_TYPE_Q4_0 : own_supports;
    };
    return ggml;
}

static std::vector<ggml_backend_buffer_type_t> choose(const GgmlBackend & ggml, ggml_type type, int64_t batch) {
    const WeightProduct product = {type, 512, 256, 8, batch};
    auto                bufts   = armt_weight_buffers(ggml, reinterpret_cast<ggml_backend_dev_t>(&device), product);
    CHECK_EQUAL(n_buffers, 0);
    CHECK(!is_allocating); // nothing is put into a buffer before the device has accepted it
    return bufts;
}

using bufts = std::vector<ggml_backend_buffer_type_t>;

TEST("two-dimensional weights get the device's own buffer type and the extra one that takes them") {
    CHECK((choose(fake_ggml(), GGML_TYPE_Q4_0, 1) == bufts{as_buft(own_type), as_buft(amx_type)}));
}

TEST("three-dimensional weights get no extra buffer type, even if it accepts them") {
    CHECK((choose(fake_ggml(), GGML_TYPE_Q4_0, 2) == bufts{as_buft(own_type)}));
}

TEST("weights that the extra buffer type refuses stay out of it") {
    CHECK((choose(fake_ggml(), GGML_TYPE_F32, 1) == bufts{as_buft(own_type)}));
}

TEST("a device without extra buffer types has its own") {
    const GgmlBackend ggml = fake_ggml();
    has_extra              = false;
    CHECK((choose(ggml, GGML_TYPE_Q4_0, 1) == bufts{as_buft(own_type)}));
}

TEST("a device that cannot multiply such weights gets none") {
    const GgmlBackend ggml = fake_ggml();
    own_supports           = false;
    CHECK(choose(ggml, GGML_TYPE_F16, 2).empty());
}

int main() {
    return run_tests();
}
