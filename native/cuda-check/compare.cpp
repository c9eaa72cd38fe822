// cuda-check compare

#include "commands.h"
#include "harness.h"

#include <algorithm>
#include <cmath>
#include <utility>

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

void run_compare(const std::string & path, size_t n_tokens, uint32_t n_batch) {
    const model_ptr                cpu(path, false);
    const model_ptr                gpu(path, true);
    const uint32_t                 n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(cpu.model));
    const std::vector<llama_token> tokens  = random_tokens(n_tokens, n_vocab);
    settings                       s;
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
            const std::string label = std::string(ggml_op_name(t->op)) + " " + t->name + " [" +
                                      std::to_string(t->ne[0]) + "," + std::to_string(t->ne[1]) + "," +
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
    printf("%s, batches of %u: %zu and %zu nodes; logits node by node off by %.2e\n", path.c_str(), n_batch,
           results[0].size(), results[1].size(), difference(logits[1], logits[0]));
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
    s.cb_eval                      = nullptr;
    std::vector<std::string> names = all_fusions();
    names.insert(names.end(), {"none", "all"});
    for (const armt_schedule schedule : {ARMT_SCHEDULE_SEQUENTIAL, ARMT_SCHEDULE_DIAGONAL}) {
        for (const std::string & name : names) {
            s.fusion   = name.c_str();
            s.schedule = schedule;
            context_ptr ctx(gpu, s);
            ctx.read(tokens, n_batch);
            printf("%-10s %-10s %.2e\n", schedule == ARMT_SCHEDULE_SEQUENTIAL ? "sequential" : "diagonal", name.c_str(),
                   difference(ctx.logits(n_vocab), logits[0]));
        }
    }
}
