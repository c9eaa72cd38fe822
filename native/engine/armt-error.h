#pragma once

#include <cstdint>
#include <string>

// The messages of armt_api.last_error: one for each context, and one (id 0) for calls without a context. Thread-safe.
void        armt_set_error(uint64_t id, const std::string & message);
std::string armt_take_error(uint64_t id); // empty if there is none since the last call
