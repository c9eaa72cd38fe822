#pragma once

#include <napi.h>

#include <cstdint>
#include <stdexcept>
#include <string>

// Reads arguments and makes numbers. Ids and counts are JavaScript numbers, which are exact up to 2^53.

double armt_integer(const Napi::Value & value, const char * name, double min, double max);

inline uint64_t armt_uint64(const Napi::Value & value, const char * name) {
    return static_cast<uint64_t>(armt_integer(value, name, 0, 9007199254740991.0));
}

inline uint32_t armt_uint32(const Napi::Value & value, const char * name) {
    return static_cast<uint32_t>(armt_integer(value, name, 0, UINT32_MAX));
}

inline int32_t armt_int32(const Napi::Value & value, const char * name) {
    return static_cast<int32_t>(armt_integer(value, name, 0, INT32_MAX));
}

inline uint64_t armt_id(const Napi::Value & value) {
    return armt_uint64(value, "contextId");
}

template <typename T> Napi::Number armt_number(Napi::Env env, T value) {
    return Napi::Number::New(env, static_cast<double>(value));
}

// Runs a call and turns C++ exceptions into JavaScript exceptions
template <typename F> auto armt_call(Napi::Env env, F && call) -> decltype(call()) {
    try {
        return call();
    } catch (const Napi::Error &) {
        throw;
    } catch (const std::exception & error) {
        throw Napi::Error::New(env, error.what());
    }
}
