#pragma once

#include <cstdint>
#include <functional>

class llama_memory_armt;

// The memories of live contexts by id. Ids count up and are never used twice.
uint64_t armt_register(llama_memory_armt * memory);
void     armt_unregister(uint64_t id);

// The id of the context that was created last and still exists, 0: none
uint64_t armt_last_registered();

// nullptr: gone. The pointer is safe as long as nobody frees the context beside the caller.
llama_memory_armt * armt_find(uint64_t id);

// Runs fn on a memory while its context cannot be freed. False: gone.
bool armt_with(uint64_t id, const std::function<void(llama_memory_armt &)> & fn);
