#pragma once

#include <napi.h>

// Work on a thread of Node's pool, with a promise for its result. The caller keeps the context alive until the promise
// is settled.
class ArmtWorker : public Napi::AsyncWorker {
public:
    ArmtWorker(Napi::Env env, const char * name);

    // Queues the work. The pool deletes the worker when it is done.
    static Napi::Promise start(ArmtWorker * worker);

protected:
    // The work. Runs in parallel to JavaScript, so it must not use JavaScript values. Throws std::exception if it
    // fails.
    virtual void work() = 0;

    // What the promise resolves to
    virtual Napi::Value result(Napi::Env env) = 0;

private:
    Napi::Promise::Deferred deferred;

    void Execute() final;
    void OnOK() final;
    void OnError(const Napi::Error & error) final;
};
