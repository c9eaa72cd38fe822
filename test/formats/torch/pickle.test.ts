import test from "ava";
import fc from "fast-check";
import { unpickle } from "../../../src/formats/torch/pickle.js";
import { PickleTuple } from "../../../src/formats/torch/pickle-values.js";
import { parseStateDict } from "../../../src/formats/torch/state-dict.js";
import { global, pickle, stateDict, tensor, text, tuple } from "../../helpers/pickle-bytes.js";
import { propertySeed } from "../../helpers/property.js";

const nothing = { globals: new Set<string>(), call: () => null, load: () => null };
const matrix = { key: "0", shape: [2], stride: [1], length: 2 };

test("plain values and containers are built", (t) => {
    const long = "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00";
    const code = [
        "(",
        "K\x07",
        "J\xff\xff\xff\xff",
        "M\x00\x01",
        "\x8a\x01\xfe",
        long,
        "G\x3f\xf8\0\0\0\0\0\0",
        "\x88\x89N",
        text("é"),
        "l"
    ];
    t.deepEqual(unpickle(pickle(...code), nothing), [7, -1, 256, -2, 2n ** 63n, 1.5, true, false, null, "é"]);
    t.deepEqual(unpickle(pickle("](K\x01K\x02e"), nothing), [1, 2]);
    t.deepEqual(unpickle(pickle("}", text("a"), ")s"), nothing), new Map([["a", new PickleTuple([])]]));
    t.deepEqual(unpickle(pickle("]q\x05K\x01ah\x05\x86"), nothing), new PickleTuple([[1], [1]]));
});

test("call of a function is refused by its name, and not made", (t) => {
    const attack = pickle(global("posix", "system"), tuple(text("touch /tmp/armt-owned")), "R");
    const error = t.throws(() => parseStateDict(attack), { name: "ArmtError" });
    t.regex(error.message, /"posix\.system".*refused, nothing was run/);
});

const refused = test.macro({
    title: (name = "") => `refused: ${name}`,
    exec(t, bytes: Buffer, message: RegExp) {
        t.throws(() => parseStateDict(bytes), { name: "ArmtError", message });
    }
});

test("name from the stack", refused, pickle(text("builtins"), text("eval"), "\x93"), /"builtins\.eval"/);
test("another name in an allowed module", refused, pickle(global("torch", "load")), /"torch\.load"/);
test("tensor of a newer kind", refused, pickle(global("torch._utils", "_rebuild_tensor_v3")), /_rebuild_tensor_v3/);
test("name with a line feed", refused, pickle("cos\nsys\x1btem\n"), /"os\.sys\\u001btem"/);
test(
    "call of what is no function",
    refused,
    pickle(global("torch", "FloatStorage"), ")R"),
    /pickle calls "torch\.FloatStorage"/
);
test("NEWOBJ", refused, pickle(global("collections", "OrderedDict"), ")\x81"), /refused opcode NEWOBJ/);
test("INST", refused, pickle("(ios\nsystem\n"), /refused opcode INST/);
test(
    "attributes of a tensor",
    refused,
    stateDict({ a: Buffer.concat([tensor(matrix), Buffer.from("}b")]) }),
    /refused BUILD/
);
test("opcode that doesn't exist", refused, pickle("\xff"), /refused opcode 0xff/);
test("old protocol", refused, Buffer.from("\x80\x01.", "latin1"), /protocol 1/);
test("empty memo slot", refused, pickle("h\x09"), /memo slot 9/);
test("tuple without mark", refused, pickle("t"), /no mark/);
test("empty stack", refused, pickle(), /empty stack/);
test("text that is not UTF-8", refused, pickle("X\x01\0\0\0\xff"), /not valid UTF-8/);
test("list at the top", refused, pickle("]"), /no dictionary/);
test("persistent id that is no storage", refused, pickle(tuple(text("module")), "Q"), /no storage/);

test("state dict's attributes are left out", (t) => {
    const attributes = Buffer.concat([Buffer.from("}"), text("_metadata"), Buffer.from("}sb")]);
    const bytes = pickle(global("collections", "OrderedDict"), ")R", text("a"), tensor(matrix), "s", attributes);
    t.deepEqual([...parseStateDict(bytes).keys()], ["a"]);
});

test("ordered dictionary may be made from pairs", (t) => {
    const make = (...list: (string | Buffer)[]) => pickle(global("collections", "OrderedDict"), tuple(...list), "R");
    t.deepEqual([...parseStateDict(make("]", tuple(text("a"), tensor(matrix)), "a")).keys()], ["a"]);
    t.throws(() => parseStateDict(make("]K\x01a")), { name: "ArmtError", message: /OrderedDict of no pairs/ });
    t.throws(() => parseStateDict(make("K\x01")), { name: "ArmtError", message: /OrderedDict of no list/ });
});

test("parameter is its tensor", (t) => {
    const call = [global("torch._utils", "_rebuild_parameter"), tuple(tensor(matrix), "\x88", "N"), "R"];
    const bytes = pickle("}", text("a"), ...call, "s");
    t.deepEqual(parseStateDict(bytes).get("a")?.shape, [2]);
});

test("random bytes only ever throw an ArmtError", (t) => {
    const valid = stateDict({ a: tensor(matrix) });
    const damage = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
        fc.property(damage, (changes) => {
            const bytes = Buffer.from(valid);
            for (const [at, value] of changes) bytes[at] = value;
            try {
                parseStateDict(bytes);
            } catch (error) {
                t.is((error as Error).name, "ArmtError", (error as Error).stack);
            }
        }),
        { seed: propertySeed, numRuns: 2000 }
    );
});
