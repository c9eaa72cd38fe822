#pragma once

#include <napi.h>

void armt_register_state(Napi::Env env, Napi::Object exports);
