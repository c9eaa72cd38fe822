#include "ArmtDevices.h"

#include "ArmtArguments.h"
#include "ArmtLibrary.h"
#include "ArmtWorker.h"

#include <string>
#include <vector>

namespace {

class SetPlacementWorker : public ArmtWorker {
public:
    SetPlacementWorker(Napi::Env env, const Napi::Object & options)
        : ArmtWorker(env, "armtSetPlacement"), path(options.Get("path").As<Napi::String>().Utf8Value()) {
        const Napi::Array servers = options.Get("rpc").As<Napi::Array>();
        for (uint32_t i = 0; i < servers.Length(); ++i) {
            rpc.push_back(servers.Get(i).As<Napi::String>().Utf8Value());
        }
        const Napi::Array parts = options.Get("tensorSplit").As<Napi::Array>();
        for (uint32_t i = 0; i < parts.Length(); ++i) {
            tensor_split.push_back(parts.Get(i).As<Napi::Number>().FloatValue());
        }
        const auto field = [&](const char * key) { return options.Get(key).As<Napi::Number>().Int32Value(); };

        placement.n_gpu_layers = field("gpuLayers");
        placement.split_mode   = field("splitMode");
        placement.main_gpu     = field("mainGpu");
    }

protected:
    void work() override {
        std::vector<const char *> endpoints;
        for (const std::string & endpoint : rpc) {
            endpoints.push_back(endpoint.c_str());
        }
        placement.path           = path.c_str();
        placement.rpc            = endpoints.data();
        placement.n_rpc          = uint32_t(endpoints.size());
        placement.tensor_split   = tensor_split.data();
        placement.n_tensor_split = uint32_t(tensor_split.size());

        const ArmtLibrary & library = ArmtLibrary::get();
        if (!library.api().set_placement(&placement)) {
            throw std::runtime_error(library.last_error(0));
        }
    }

    Napi::Value result(Napi::Env env) override { return env.Undefined(); }

private:
    std::string              path;
    std::vector<std::string> rpc;
    std::vector<float>       tensor_split;
    armt_placement           placement{};
};

class GetDevicesWorker : public ArmtWorker {
public:
    GetDevicesWorker(Napi::Env env, uint64_t id) : ArmtWorker(env, "armtGetDevices"), id(id) {}

protected:
    void work() override {
        const armt_api & api = ArmtLibrary::get().api();
        devices.resize(api.get_devices(id, nullptr, 0));
        devices.resize(api.get_devices(id, devices.data(), uint32_t(devices.size())));
    }

    Napi::Value result(Napi::Env env) override {
        Napi::Array list = Napi::Array::New(env);
        for (uint32_t i = 0; i < devices.size(); ++i) {
            Napi::Object device = Napi::Object::New(env);
            device.Set("name", devices[i].name);
            device.Set("firstLayer", devices[i].layer0);
            device.Set("layers", devices[i].layer1 - devices[i].layer0);
            if (devices[i].has_times != 0) {
                device.Set("workedMs", armt_number(env, double(devices[i].work_us) / 1000));
                device.Set("waitedMs", armt_number(env, double(devices[i].wait_us) / 1000));
            }
            list.Set(i, device);
        }
        return list;
    }

private:
    uint64_t                      id;
    std::vector<armt_device_info> devices;
};

// loadRpc(library)
void load_rpc(const Napi::CallbackInfo & info) {
    armt_call(info.Env(), [&] {
        const ArmtLibrary & library = ArmtLibrary::get();
        if (!library.api().load_rpc(info[0].As<Napi::String>().Utf8Value().c_str())) {
            throw std::runtime_error(library.last_error(0));
        }
    });
}

// serveRpc(endpoint, cache | null, threads): blocks this thread until the process ends; throws if it cannot listen
void serve_rpc(const Napi::CallbackInfo & info) {
    armt_call(info.Env(), [&] {
        const ArmtLibrary & library  = ArmtLibrary::get();
        const std::string   endpoint = info[0].As<Napi::String>().Utf8Value();
        const std::string   cache    = info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : "";
        library.api().serve_rpc(endpoint.c_str(), cache.empty() ? nullptr : cache.c_str(),
                                armt_uint32(info[2], "threads"));
        throw std::runtime_error(library.last_error(0));
    });
}

// setPlacement({path, rpc, gpuLayers, splitMode, mainGpu, tensorSplit}): Promise<void>
Napi::Value set_placement(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(),
                     [&] { return ArmtWorker::start(new SetPlacementWorker(info.Env(), info[0].As<Napi::Object>())); });
}

// forgetPlacement(path): throws if a server of it was lost since
void forget_placement(const Napi::CallbackInfo & info) {
    armt_call(info.Env(), [&] {
        const ArmtLibrary & library = ArmtLibrary::get();
        if (!library.api().forget_placement(info[0].As<Napi::String>().Utf8Value().c_str())) {
            throw std::runtime_error(library.last_error(0));
        }
    });
}

// getDevices(id): Promise<{name, firstLayer, layers, workedMs?, waitedMs?}[]>
Napi::Value get_devices(const Napi::CallbackInfo & info) {
    return armt_call(info.Env(), [&] { return ArmtWorker::start(new GetDevicesWorker(info.Env(), armt_id(info[0]))); });
}

} // namespace

void armt_register_devices(Napi::Env env, Napi::Object exports) {
    exports.Set("loadRpc", Napi::Function::New(env, load_rpc, "loadRpc"));
    exports.Set("serveRpc", Napi::Function::New(env, serve_rpc, "serveRpc"));
    exports.Set("setPlacement", Napi::Function::New(env, set_placement, "setPlacement"));
    exports.Set("forgetPlacement", Napi::Function::New(env, forget_placement, "forgetPlacement"));
    exports.Set("getDevices", Napi::Function::New(env, get_devices, "getDevices"));
}
