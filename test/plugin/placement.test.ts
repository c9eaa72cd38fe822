import test from "ava";
import { ArmtDeviceError } from "../../plugin/index.js";
import { type ArmtModelOptions, resolvePlacement } from "../../plugin/model/placement.js";
import { loadPlaced } from "../../plugin/native/place-model.js";
import { FakeAddon } from "../helpers/fake-addon.js";

const placement = { rpc: [], gpuLayers: -1, splitMode: 0, mainGpu: 1, tensorSplit: [] };

function fakeEngine() {
    const addon = new FakeAddon();
    return { addon, engine: { addon, library: "", rpc: "rpc.so", gpu: false as const } };
}

function fakeModel(name: string) {
    return {
        name,
        disposed: false,
        async dispose() {
            this.disposed = true;
        }
    };
}

test("a server that is lost while a model loads is an error, and the model goes", async (t) => {
    const { addon, engine } = fakeEngine();
    addon.forgetPlacement = () => {
        throw new Error("RPC server a:1: the connection was lost");
    };
    const model = fakeModel("model");
    for (const load of [() => Promise.resolve(model), () => Promise.reject(new Error("Failed to load model"))])
        await t.throwsAsync(loadPlaced(engine, "/m.gguf", { ...placement, rpc: ["a:1"] }, load), {
            instanceOf: ArmtDeviceError,
            message: "RPC server a:1: the connection was lost"
        });
    t.true(model.disposed);
});

test("options that change nothing are none", (t) => {
    t.is(resolvePlacement(undefined, 3), undefined);
    t.is(resolvePlacement({}, undefined), undefined);
    t.is(resolvePlacement({ rpc: [], tensorSplit: [] }, "max"), undefined);
});

test("options become the engine's numbers", (t) => {
    t.deepEqual(resolvePlacement({ splitMode: "none", mainGpu: 1 }, 7), placement);
    t.like(resolvePlacement({ tensorSplit: [3, 1] }, "auto"), { tensorSplit: [3, 1], gpuLayers: -1, splitMode: -1 });
    t.like(resolvePlacement({ rpc: ["gpu-box.lan:1"] }, 7), { rpc: ["gpu-box.lan:1"], gpuLayers: 7 });
    t.true(resolvePlacement({ rpc: ["10.0.0.2:50052"] }, "auto")!.gpuLayers > 1000, "all layers");
});

test("an option of the wrong kind is an error that names it", (t) => {
    const wrong: [unknown, RegExp][] = [
        [null, /`armt` must be an object/],
        [{ rpc: "a:1" }, /`armt\.rpc` must be an array/],
        [{ rpc: ["a"] }, /`armt\.rpc` must be `host:port`.*"a"/],
        [{ rpc: ["a:65536"] }, /`armt\.rpc` must be `host:port`/],
        [{ rpc: ["[::1]:1"] }, /IPv4/],
        [{ rpc: ["a:1", "a:1"] }, /`armt\.rpc` names a server twice/],
        [{ splitMode: "row" }, /`armt\.splitMode` must be one of "none", "layer", got "row"/],
        [{ mainGpu: 1.5 }, /`armt\.mainGpu` must be an integer from 0, got 1\.5/],
        [{ tensorSplit: [1, Number.NaN] }, /`armt\.tensorSplit` must be an array of numbers from 0/],
        [{ tensorSplit: [0] }, /`armt\.tensorSplit` needs a number that is not 0/],
        [{ schedule: "auto" }, /`armt\.schedule` is not an option of loadModel/]
    ];
    for (const [options, message] of wrong)
        t.throws(() => resolvePlacement(options as ArmtModelOptions, undefined), { message });
});

test("the engine knows a placement while its model loads, and no other load of the file does", async (t) => {
    const { addon, engine } = fakeEngine();
    const load = async (name: string) => {
        addon.calls.push(["load", name]);
        await new Promise(setImmediate);
        return fakeModel(name);
    };
    const all = await Promise.all([
        loadPlaced(engine, "/m.gguf", placement, () => load("first")),
        loadPlaced(engine, "/m.gguf", undefined, () => load("second"))
    ]);
    t.deepEqual(
        all.map(({ name }) => name),
        ["first", "second"]
    );
    t.deepEqual(addon.calls, [
        ["setPlacement", { ...placement, path: "/m.gguf" }],
        ["load", "first"],
        ["forgetPlacement", "/m.gguf"],
        ["load", "second"]
    ]);
});

test("a load that fails leaves no placement, and does not stop the next", async (t) => {
    const { addon, engine } = fakeEngine();
    const failed = loadPlaced(engine, "/m.gguf", placement, () => Promise.reject(new Error("no such file")));
    const next = loadPlaced(engine, "/m.gguf", undefined, () => Promise.resolve(fakeModel("model")));
    await t.throwsAsync(failed, { message: "no such file" });
    t.is((await next).name, "model");
    t.deepEqual(addon.calls.at(-1), ["forgetPlacement", "/m.gguf"]);
});

test("what the engine says about a device is an ArmtDeviceError", async (t) => {
    const { addon, engine } = fakeEngine();
    addon.setPlacement = () => Promise.reject(new Error("RPC server a:1: cannot connect"));
    const load = () => Promise.reject(new Error("loaded all the same"));
    await t.throwsAsync(loadPlaced(engine, "/m.gguf", { ...placement, rpc: ["a:1"] }, load), {
        instanceOf: ArmtDeviceError,
        message: "RPC server a:1: cannot connect"
    });
});
