#pragma once

#include "llama.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// What the programs in this folder share.

// Loads ggml's CPU backend and silences the log. To be called once, before anything else.
void fuzz_begin();

// Ends the process with a message. An invariant does not hold.
[[noreturn]] void fuzz_fail(const std::string & message);

void fuzz_write(const std::string & path, const std::vector<uint8_t> & bytes);

// Path of a file in memory. The next call replaces its contents.
std::string fuzz_memory_file(const std::vector<uint8_t> & bytes);

// One thread on the CPU, because the prebuilt ggml is not instrumented.
llama_model *   fuzz_load_model(const std::string & path, bool use_mmap);
llama_context * fuzz_create_context(llama_model * model, uint32_t n_seqs);

// Decodes tokens at the end of a sequence, with logits for all of them. Returns what llama_decode returns.
int fuzz_decode(llama_context * context, llama_seq_id seq_id, const std::vector<llama_token> & tokens);

// The logits of the last call's n tokens
std::vector<float> fuzz_logits(llama_context * context, size_t n);

std::vector<uint8_t> fuzz_save(llama_context * context, llama_seq_id seq_id);

// The same tokens each time
std::vector<llama_token> fuzz_tokens(const llama_model * model, size_t n, uint32_t seed);
