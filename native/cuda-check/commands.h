#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

// check.cpp: logits and memories, fused and unfused, against the CPU in F32. fp8_alone: products in e4m3, and only as
// much of the others as those are compared with. Returns the number of wrong results.
int run_check(const std::string & folder, FILE * json, bool fp8_alone);

// speed.cpp: reading times. parts: a list of the names below, separated by commas.
void                     run_speed(const std::string & folder, FILE * json, const std::string & parts);
extern const std::string speed_parts;

// Throws std::runtime_error that names the first unknown part.
void check_speed_parts(const std::string & parts);

// profile.cpp: times of the nodes of diagonals, and of a token's step. file: start of the result files' names
void profile_diagonals(const std::string & folder, const std::string & file);
void profile_fp8(const std::string & folder, const std::string & file); // segments of 1024, in 16 bits and in e4m3
void profile_decode(const std::string & folder, const std::string & file);

// compare.cpp: a model's nodes on the GPU and on the CPU, and its logits with each fusion
void run_compare(const std::string & path, size_t n_tokens, uint32_t n_batch);
