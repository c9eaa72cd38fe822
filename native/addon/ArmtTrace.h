#pragma once

#include <napi.h>

// The record of a context's graph evaluations
void armt_register_trace(Napi::Env env, Napi::Object exports);
