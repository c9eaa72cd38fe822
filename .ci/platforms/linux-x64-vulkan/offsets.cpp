// For ../linux-x64-vulkan.sh: which operations of ggml's Vulkan backend honour the offset of a view. Those that the
// engine gives views to run on the CPU and on Vulkan, with one tensor that starts some bytes after an aligned address.
// "ends": an assertion of ggml ends the process.
// Usage: offsets <libggml-cpu-*.so> <libggml-vulkan.so>

#include "ggml-backend.h"
#include "ggml.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

// Makes the tensors of one graph: `moved` starts `offset` bytes after an aligned address, the others at one.
class graph_tensors {
public:
    ggml_context * const ctx;

    graph_tensors(ggml_context * ctx, size_t offset) : ctx(ctx), offset(offset) {}

    ggml_tensor * fixed(ggml_type type, std::vector<int64_t> ne) { return make(type, std::move(ne), 0); }
    ggml_tensor * moved(ggml_type type, std::vector<int64_t> ne) { return make(type, std::move(ne), offset); }

    // Floats between -1 and 1. Integers count from 3, so that a start at another place changes all of them
    void fill() const {
        for (ggml_tensor * t : roots) {
            const int64_t        n = ggml_nelements(t);
            std::vector<uint8_t> data(ggml_nbytes(t));
            for (int64_t i = 0; i < n; ++i) {
                const float x = std::sin(1.7f * float(i) + 0.3f * float(n));
                if (t->type == GGML_TYPE_F32) {
                    reinterpret_cast<float *>(data.data())[i] = x;
                } else if (t->type == GGML_TYPE_F16) {
                    reinterpret_cast<ggml_fp16_t *>(data.data())[i] = ggml_fp32_to_fp16(x);
                } else if (t->type == GGML_TYPE_I32) {
                    reinterpret_cast<int32_t *>(data.data())[i] = int32_t(3 + i);
                } else {
                    reinterpret_cast<int64_t *>(data.data())[i] = 3 + i;
                }
            }
            ggml_backend_tensor_set(t, data.data(), 0, data.size());
        }
    }

private:
    size_t                     offset;
    std::vector<ggml_tensor *> roots;

    ggml_tensor * make(ggml_type type, std::vector<int64_t> ne, size_t start) {
        ne.resize(4, 1);
        const size_t  size = ggml_type_size(type);
        const int64_t n    = ne[0] * ne[1] * ne[2] * ne[3];
        ggml_tensor * root = ggml_new_tensor_1d(ctx, type, n + 64);
        roots.push_back(root);
        return ggml_view_4d(ctx, root, ne[0], ne[1], ne[2], ne[3], ne[0] * size, ne[0] * ne[1] * size,
                            ne[0] * ne[1] * ne[2] * size, start);
    }
};

struct operation {
    const char * name;
    ggml_type    moved; // the type of the tensor that is moved

    std::function<ggml_tensor *(graph_tensors &)> build;
};

static ggml_tensor * build_rope(graph_tensors & t, ggml_tensor * x, ggml_tensor * pos) {
    return ggml_rope_ext(t.ctx, x, pos, nullptr, 16, GGML_ROPE_TYPE_NEOX, 0, 10000.0f, 1.0f, 0.0f, 1.0f, 32.0f, 1.0f);
}

static ggml_tensor * build_attention(graph_tensors & t, ggml_tensor * q, ggml_tensor * k, ggml_tensor * mask) {
    ggml_tensor * v = t.fixed(GGML_TYPE_F16, {64, 32, 2});
    return ggml_flash_attn_ext(t.ctx, q, k, v, mask, 0.125f, 0.0f, 0.0f);
}

static const std::vector<operation> operations = {
    {"RoPE, positions", GGML_TYPE_I32,
     [](graph_tensors & t) {
         return build_rope(t, t.fixed(GGML_TYPE_F32, {16, 4, 8}), t.moved(GGML_TYPE_I32, {8}));
     }},
    {"RoPE, rows", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return build_rope(t, t.moved(GGML_TYPE_F32, {16, 4, 8}), t.fixed(GGML_TYPE_I32, {8}));
     }},
    {"get rows, rows", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_get_rows(t.ctx, t.moved(GGML_TYPE_F32, {32, 80}), t.fixed(GGML_TYPE_I32, {6}));
     }},
    {"get rows, indices", GGML_TYPE_I32,
     [](graph_tensors & t) {
         return ggml_get_rows(t.ctx, t.fixed(GGML_TYPE_F32, {32, 80}), t.moved(GGML_TYPE_I32, {6}));
     }},
    {"set rows, indices", GGML_TYPE_I64,
     [](graph_tensors & t) {
         return ggml_set_rows(t.ctx, t.fixed(GGML_TYPE_F32, {32, 80}), t.fixed(GGML_TYPE_F32, {32, 6}),
                              t.moved(GGML_TYPE_I64, {6}));
     }},
    {"set rows, destination", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_set_rows(t.ctx, t.moved(GGML_TYPE_F32, {32, 80}), t.fixed(GGML_TYPE_F32, {32, 6}),
                              t.fixed(GGML_TYPE_I64, {6}));
     }},
    {"softmax, scores", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_soft_max_ext(t.ctx, t.moved(GGML_TYPE_F32, {32, 6, 4}), t.fixed(GGML_TYPE_F16, {32, 6}), 1.0f,
                                  0.0f);
     }},
    {"softmax, mask", GGML_TYPE_F16,
     [](graph_tensors & t) {
         return ggml_soft_max_ext(t.ctx, t.fixed(GGML_TYPE_F32, {32, 6, 4}), t.moved(GGML_TYPE_F16, {32, 6}), 1.0f,
                                  0.0f);
     }},
    {"flash attention, Q", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return build_attention(t, t.moved(GGML_TYPE_F32, {64, 6, 4}), t.fixed(GGML_TYPE_F16, {64, 32, 2}),
                                t.fixed(GGML_TYPE_F16, {32, 6}));
     }},
    {"flash attention, K", GGML_TYPE_F16,
     [](graph_tensors & t) {
         return build_attention(t, t.fixed(GGML_TYPE_F32, {64, 6, 4}), t.moved(GGML_TYPE_F16, {64, 32, 2}),
                                t.fixed(GGML_TYPE_F16, {32, 6}));
     }},
    {"flash attention, mask", GGML_TYPE_F16,
     [](graph_tensors & t) {
         return build_attention(t, t.fixed(GGML_TYPE_F32, {64, 6, 4}), t.fixed(GGML_TYPE_F16, {64, 32, 2}),
                                t.moved(GGML_TYPE_F16, {32, 6}));
     }},
    {"product, weights", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_mul_mat(t.ctx, t.moved(GGML_TYPE_F32, {64, 48}), t.fixed(GGML_TYPE_F32, {64, 12}));
     }},
    {"product, rows", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_mul_mat(t.ctx, t.fixed(GGML_TYPE_F32, {64, 48}), t.moved(GGML_TYPE_F32, {64, 12}));
     }},
    {"product, one row", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_mul_mat(t.ctx, t.fixed(GGML_TYPE_F32, {64, 48}), t.moved(GGML_TYPE_F32, {64, 1}));
     }},
    {"addition, second term", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_add(t.ctx, t.fixed(GGML_TYPE_F32, {32, 6}), t.moved(GGML_TYPE_F32, {32, 1}));
     }},
    {"addition in place", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_add_inplace(t.ctx, t.moved(GGML_TYPE_F32, {32, 6}), t.fixed(GGML_TYPE_F32, {32, 6}));
     }},
    {"RMS norm", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_rms_norm(t.ctx, t.moved(GGML_TYPE_F32, {32, 6}), 1e-5f);
     }},
    {"norm", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_norm(t.ctx, t.moved(GGML_TYPE_F32, {32, 6}), 1e-5f);
     }},
    {"L2 norm", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_l2_norm(t.ctx, t.moved(GGML_TYPE_F32, {32, 6}), 1e-12f);
     }},
    {"SwiGLU", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_swiglu(t.ctx, t.moved(GGML_TYPE_F32, {64, 6}));
     }},
    {"concatenation", GGML_TYPE_F32,
     [](graph_tensors & t) {
         return ggml_concat(t.ctx, t.fixed(GGML_TYPE_F32, {32, 6}), t.moved(GGML_TYPE_F32, {32, 6}), 1);
     }},
    {"copy to F16", GGML_TYPE_F16,
     [](graph_tensors & t) {
         return ggml_cpy(t.ctx, t.fixed(GGML_TYPE_F32, {32, 6}), t.moved(GGML_TYPE_F16, {32, 6}));
     }},
};

static std::vector<float> compute(ggml_backend_t backend, const operation & op, size_t offset) {
    ggml_context * ctx = ggml_init({64 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true});
    graph_tensors  tensors(ctx, offset);
    ggml_cgraph *  graph  = ggml_new_graph(ctx);
    ggml_tensor *  result = ggml_cast(ctx, op.build(tensors), GGML_TYPE_F32);
    ggml_build_forward_expand(graph, result);
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, backend);
    tensors.fill();
    if (ggml_backend_graph_compute(backend, graph) != GGML_STATUS_SUCCESS) {
        std::exit(2);
    }
    std::vector<float> values(ggml_nelements(result));
    ggml_backend_tensor_get(result, values.data(), 0, ggml_nbytes(result));
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
    return values;
}

// Root of the sum of the squared differences by that of the squares
static double difference(const std::vector<float> & a, const std::vector<float> & b) {
    double sum  = 0.0;
    double norm = 0.0;
    for (size_t i = 0; i < a.size(); ++i) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return std::sqrt(sum / norm);
}

int main(int argc, char ** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: offsets <libggml-cpu-*.so> <libggml-vulkan.so>\n");
        return 1;
    }
    std::printf("%-24s %12s %12s %12s\n", "bytes:", "0", "one value", "16");
    for (const operation & op : operations) {
        std::printf("%-24s", op.name);
        for (const size_t offset : {size_t(0), ggml_type_size(op.moved), size_t(16)}) {
            std::fflush(stdout);
            const pid_t child = fork();
            if (child == 0) {
                std::freopen("/dev/null", "w", stderr);
                ggml_backend_load(argv[1]);
                ggml_backend_load(argv[2]);
                ggml_backend_t cpu = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
                ggml_backend_t gpu = ggml_backend_init_by_name("Vulkan0", nullptr);
                if (cpu == nullptr || gpu == nullptr) {
                    std::_Exit(3);
                }
                std::printf(" %12.2g", difference(compute(gpu, op, offset), compute(cpu, op, offset)));
                std::fflush(stdout);
                std::_Exit(0);
            }
            int status = 0;
            waitpid(child, &status, 0);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 3) {
                std::fprintf(stderr, "\noffsets: no CPU backend, or no device Vulkan0\n");
                return 1;
            }
            if (status != 0) {
                std::printf(" %12s", "ends");
            }
        }
        std::printf("\n");
    }
    return 0;
}
