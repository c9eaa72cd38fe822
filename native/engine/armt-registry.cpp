#include "armt-registry.h"

#include "armt-error.h"
#include "armt-memory.h"

#include "llama.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

static std::mutex                              registry_mutex;
static std::map<uint64_t, llama_memory_armt *> memories;
static uint64_t                                last_id = 0;
static std::set<llama_model *>                 models;

uint64_t armt_register(llama_memory_armt * memory) {
    const std::lock_guard<std::mutex> lock(registry_mutex);
    memories[++last_id] = memory;
    return last_id;
}

void armt_unregister(uint64_t id) {
    const std::lock_guard<std::mutex> lock(registry_mutex);
    memories.erase(id);
    armt_take_error(id);
}

#if !defined(_WIN32)
// Node.js has joined its threads, so no evaluation runs.
static void free_all() {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr); // Node.js has ended
    while (const uint64_t id = armt_last_registered()) {
        llama_free(armt_find(id)->get_context());
    }
    while (!models.empty()) {
        llama_model_free(*models.begin());
    }
}
#endif

void armt_register_model(llama_model * model) {
    const std::lock_guard<std::mutex> lock(registry_mutex);
    models.insert(model);
#if !defined(_WIN32)
    // Handlers run in reverse order. So there is one for each model: it precedes the destructors of the model's
    // backends, whenever these were loaded. Windows has ended all other threads by then, which may hold locks.
    std::atexit(free_all);
#endif
}

void armt_unregister_model(llama_model * model) {
    const std::lock_guard<std::mutex> lock(registry_mutex);
    models.erase(model);
}

uint64_t armt_last_registered() {
    const std::lock_guard<std::mutex> lock(registry_mutex);
    return memories.empty() ? 0 : memories.rbegin()->first;
}

llama_memory_armt * armt_find(uint64_t id) {
    const std::lock_guard<std::mutex> lock(registry_mutex);
    const auto                        it = memories.find(id);
    return it == memories.end() ? nullptr : it->second;
}

bool armt_with(uint64_t id, const std::function<void(llama_memory_armt &)> & fn) {
    const std::lock_guard<std::mutex> lock(registry_mutex);
    const auto                        it = memories.find(id);
    if (it == memories.end()) {
        return false;
    }
    fn(*it->second);
    return true;
}
