#pragma once

#include <napi.h>

// Where models go: RPC servers and parts of layers
void armt_register_devices(Napi::Env env, Napi::Object exports);
