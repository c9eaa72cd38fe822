#pragma once

#include <napi.h>

// One batch with the logits of every token, which node-llama-cpp's own evaluation does not return as one array
void armt_register_decode(Napi::Env env, Napi::Object exports);
