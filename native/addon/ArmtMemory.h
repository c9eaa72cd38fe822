#pragma once

#include <napi.h>

// Closing the open segment and reading the associative memory
void armt_register_memory(Napi::Env env, Napi::Object exports);
