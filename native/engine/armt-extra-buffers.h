#pragma once

#include "ggml.h"

#include <cstdint>
#include <string>
#include <vector>

struct llama_model_loader;

// A CPU's extra buffer types (ggml's AMX and repacking) hold weights in the order that its fastest kernels want. They
// take whole matrices, so a stack has to be split into one tensor for each layer.

// False if the environment variable ARMT_CPU_EXTRA_BUFFERS is 0. Then weights stay as they are in the file.
bool armt_use_extra_buffers();

// Whether an extra buffer type of the CPU takes a matrix {ne0, ne1} of weights
bool armt_takes_matrix(ggml_type type, int64_t ne0, int64_t ne1);

// A part of a stack: its name, with its first layer's number, and its number of layers
struct armt_stack_part {
    std::string name;
    uint32_t    n;
};

// Replaces the file's tensor parts[0].name, a stack of layers with layer_dims dimensions, by tensors of the parts. Each
// is a range of the file, so llama.cpp maps, reads and checks it as it does a plain model's tensor.
void armt_split_stack(llama_model_loader & ml, int layer_dims, const std::vector<armt_stack_part> & parts);
