#include "armt-error.h"

#include <map>
#include <mutex>
#include <utility>

// a context, and one of its sequences; -1: the context's own message
using armt_error_key = std::pair<uint64_t, int32_t>;

static std::mutex                            error_mutex;
static std::map<armt_error_key, std::string> errors;

static void set(const armt_error_key & key, const std::string & message) {
    const std::lock_guard<std::mutex> lock(error_mutex);
    errors[key] = message;
}

static std::string take(const armt_error_key & key) {
    const std::lock_guard<std::mutex> lock(error_mutex);
    const auto                        it = errors.find(key);
    if (it == errors.end()) {
        return "";
    }
    std::string message = it->second;
    errors.erase(it);
    return message;
}

void armt_set_error(uint64_t id, const std::string & message) {
    set({id, -1}, message);
}

std::string armt_take_error(uint64_t id) {
    return take({id, -1});
}

void armt_set_sequence_error(uint64_t id, int32_t seq_id, const std::string & message) {
    set({id, seq_id}, message);
}

std::string armt_take_sequence_error(uint64_t id, int32_t seq_id) {
    return take({id, seq_id});
}

void armt_drop_sequence_errors(uint64_t id) {
    const std::lock_guard<std::mutex> lock(error_mutex);
    errors.erase(errors.lower_bound({id, 0}), errors.lower_bound({id + 1, -1}));
}
