#pragma once

#include <napi.h>

// Rounding of weights to ggml's quantized types, by ggml itself
void armt_register_quantize(Napi::Env env, Napi::Object exports);
