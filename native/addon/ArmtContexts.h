#pragma once

#include <napi.h>

// Options of future contexts, and information about existing ones
void armt_register_contexts(Napi::Env env, Napi::Object exports);
