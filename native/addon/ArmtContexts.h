#pragma once

#include <napi.h>

// Options of the contexts to come, and what the engine tells about the contexts that are there
void armt_register_contexts(Napi::Env env, Napi::Object exports);
