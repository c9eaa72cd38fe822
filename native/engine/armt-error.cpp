#include "armt-error.h"

#include <map>
#include <mutex>

static std::mutex                      error_mutex;
static std::map<uint64_t, std::string> errors;

void armt_set_error(uint64_t id, const std::string & message) {
    const std::lock_guard<std::mutex> lock(error_mutex);
    errors[id] = message;
}

std::string armt_take_error(uint64_t id) {
    const std::lock_guard<std::mutex> lock(error_mutex);
    const auto                        it = errors.find(id);
    if (it == errors.end()) {
        return "";
    }
    std::string message = it->second;
    errors.erase(it);
    return message;
}
