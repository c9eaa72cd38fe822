#pragma once

#include <cstdint>
#include <string>

// The messages of armt_api.last_error: one for each context, and one (id 0) for calls without a context. Thread-safe.
void        armt_set_error(uint64_t id, const std::string & message);
std::string armt_take_error(uint64_t id); // empty if there is none since the last call

// The messages of armt_api.sequence_error
void        armt_set_sequence_error(uint64_t id, int32_t seq_id, const std::string & message);
std::string armt_take_sequence_error(uint64_t id, int32_t seq_id);

// Drops those of a context that ends.
void armt_drop_sequence_errors(uint64_t id);
