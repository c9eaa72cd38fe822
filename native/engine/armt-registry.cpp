#include "armt-registry.h"

#include "armt-error.h"

#include <map>
#include <mutex>

static std::mutex                              registry_mutex;
static std::map<uint64_t, llama_memory_armt *> memories;
static uint64_t                                last_id = 0;

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
