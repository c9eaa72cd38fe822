#pragma once

#include <napi.h>

// Quantizes and dequantizes weights with ggml's own functions
void armt_register_quantize(Napi::Env env, Napi::Object exports);
