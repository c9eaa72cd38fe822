import test from "ava";
import { NativeLog } from "../../src/model/NativeLog.js";

test("a failure is explained by the last reason that llama.cpp logged", (t) => {
    const log = new NativeLog(false);
    log.logger("error", "llama_model_load: error loading model: no tensor x\nmore\n");
    log.logger("error", "llama_model_load_from_file_impl: failed to load model\n");
    t.is(log.explain(new Error("Failed to load model")), "Failed to load model: error loading model: no tensor x");
});

test("a failure without a logged reason keeps its message", (t) => {
    t.is(new NativeLog(false).explain(new Error("no")), "no");
});
