#pragma once

#include <napi.h>

// Times matrix products alone, as the lower bound of a measurement
void armt_register_products(Napi::Env env, Napi::Object exports);
