#include "ArmtContexts.h"
#include "ArmtDecode.h"
#include "ArmtDevices.h"
#include "ArmtLibrary.h"
#include "ArmtMemory.h"
#include "ArmtProducts.h"
#include "ArmtQuantize.h"
#include "ArmtState.h"
#include "ArmtTrace.h"

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) {
    armt_register_library(env, exports);
    armt_register_contexts(env, exports);
    armt_register_devices(env, exports);
    armt_register_memory(env, exports);
    armt_register_state(env, exports);
    armt_register_decode(env, exports);
    armt_register_quantize(env, exports);
    armt_register_trace(env, exports);
    armt_register_products(env, exports);
    return exports;
}

NODE_API_MODULE(armt, init_addon)
