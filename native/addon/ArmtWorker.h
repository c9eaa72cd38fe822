#pragma once

#include <napi.h>

// Work on a thread of Node's pool behind a promise. The caller keeps the context alive until the promise is settled.
class ArmtWorker : public Napi::AsyncWorker {
  public:
    ArmtWorker(Napi::Env env, const char * name);

    // Hands the work to the pool, which deletes the worker when it is done
    static Napi::Promise start(ArmtWorker * worker);

  protected:
    // The work. Runs beside JavaScript, so it touches no value of it; throws std::exception where it fails.
    virtual void work() = 0;

    // What the promise resolves to
    virtual Napi::Value result(Napi::Env env) = 0;

  private:
    Napi::Promise::Deferred deferred;

    void Execute() final;
    void OnOK() final;
    void OnError(const Napi::Error & error) final;
};
