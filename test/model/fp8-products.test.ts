import test from "ava";
import type { LlamaContext } from "../../plugin/index.js";
import { fp8Line, fp8Use, readFp8Products } from "../../src/model/fp8-products.js";
import { contextOptions } from "../../src/model/options.js";
import { UsageError } from "../../src/util/failure.js";
import { runArmt } from "../helpers/armt-command.js";

test("--precision fp8 is for all products but o, or for those that are named", (t) => {
    t.is(readFp8Products({}), undefined);
    t.is(readFp8Products({ precision: "auto" }), undefined);
    t.deepEqual(readFp8Products({ precision: "fp8" }), ["qkv", "gate_up", "down"]);
    t.deepEqual(readFp8Products({ precision: "fp8", fp8Products: "down, qkv" }), ["qkv", "down"]);
    const common = { kvType: "f16", verify: true } as const;
    t.deepEqual(contextOptions({ ...common, precision: "fp8", fp8Products: "down,o" }).armt, {
        schedule: undefined,
        segmentSize: undefined,
        segmentOverflow: undefined,
        openSegmentLimit: undefined,
        maxCells: undefined,
        stateType: undefined,
        precision: "fp8",
        fp8Products: ["o", "down"]
    });
    t.is(contextOptions(common).armt, undefined);
});

test("other names, and names without FP8, are refused", (t) => {
    t.throws(() => readFp8Products({ precision: "fp8", fp8Products: "qkv,v" }), {
        instanceOf: UsageError,
        message: '--fp8-products: "v" is not one of qkv, o, gate_up, down'
    });
    t.throws(() => readFp8Products({ fp8Products: "qkv" }), {
        instanceOf: UsageError,
        message: "--fp8-products needs --precision fp8"
    });
});

test("commands refuse them before they load a model", async (t) => {
    for (const command of [
        ["run", "no-model.gguf", "--prompt", "x"],
        ["serve", "no-model.gguf"],
        ["eval", "recall"],
        ["eval", "perplexity", "no-model.gguf", "--text", "no-text.txt"]
    ]) {
        const { code, stderr } = await runArmt([...command, "--precision", "fp8", "--fp8-products", "v"]);
        t.not(code, 0);
        t.regex(stderr, /--fp8-products: "v" is not one of/, command.join(" "));
    }
});

test("a context with FP8 says which products it computed so", (t) => {
    const armt = { precision: "fp8", fp8Products: ["gate_up", "down"], fp8Counts: { computed: 40, left: 8 } };
    const use = fp8Use({ armt } as unknown as LlamaContext)!;
    t.deepEqual(use, { products: ["gate_up", "down"], computed: 40, left: 8 });
    t.is(fp8Line(use), "FP8 (gate_up, down): 40 products computed, 8 left in 16 bits\n");
    t.is(fp8Use({ armt: { ...armt, precision: "auto" } } as unknown as LlamaContext), undefined);
    t.is(fp8Use({} as LlamaContext), undefined);
});
