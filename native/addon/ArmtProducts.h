#pragma once

#include <napi.h>

// How fast the device multiplies matrices by itself, for the floor of a measurement
void armt_register_products(Napi::Env env, Napi::Object exports);
