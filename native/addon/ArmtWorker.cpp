#include "ArmtWorker.h"

#include <exception>

ArmtWorker::ArmtWorker(Napi::Env env, const char * name)
    : Napi::AsyncWorker(env, name), deferred(Napi::Promise::Deferred::New(env)) {}

Napi::Promise ArmtWorker::start(ArmtWorker * worker) {
    const Napi::Promise promise = worker->deferred.Promise();
    worker->Queue();
    return promise;
}

void ArmtWorker::Execute() {
    try {
        work();
    } catch (const std::exception & error) {
        SetError(error.what());
    } catch (...) {
        SetError("unknown error in the ARMT engine");
    }
}

void ArmtWorker::OnOK() {
    try {
        deferred.Resolve(result(Env()));
    } catch (const Napi::Error & error) {
        deferred.Reject(error.Value());
    }
}

void ArmtWorker::OnError(const Napi::Error & error) {
    deferred.Reject(error.Value());
}
