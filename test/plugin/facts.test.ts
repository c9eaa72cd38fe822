import test from "ava";
import { ArmtModelError } from "../../plugin/errors.js";
import { readModelFacts } from "../../plugin/facts.js";

const metadata = () => ({
    general: { architecture: "armt" },
    armt: {
        format_version: 1,
        base_architecture: "llama",
        fingerprint: "ab",
        vocab_size: 96,
        embedding_length: 64,
        block_count: 4,
        segment_size: 16,
        segment_alignment: "left",
        memory: {
            token_count: 8,
            key_length: 4,
            dpfp_order: 3,
            head_count: 1,
            normalize_keys: true,
            use_denom: true,
            correction: false,
            gating: false
        }
    }
});

test("the facts are the file's keys", (t) => {
    t.like(readModelFacts(metadata()), {
        baseArchitecture: "llama",
        segmentSize: 16,
        segmentAlignment: "left",
        memoryTokens: 8,
        keyLength: 4,
        normalizeKeys: true,
        correction: false,
        sinkTokens: 0,
        seesPreviousSegment: false,
        layers: 4
    });
});

test("a plain model has no facts", (t) => {
    t.is(readModelFacts({ general: { architecture: "llama" } }), undefined);
    t.is(readModelFacts({}), undefined);
});

test("a missing key is named", (t) => {
    const broken = metadata();
    Reflect.deleteProperty(broken.armt.memory, "token_count");
    const error = t.throws(() => readModelFacts(broken), { instanceOf: ArmtModelError });
    t.is((error as ArmtModelError).key, "armt.memory.token_count");
    t.regex(error.message, /`armt\.memory\.token_count` is missing; convert/);
});

test("a key of the wrong kind is named with what it has to be", (t) => {
    const broken = { ...metadata(), armt: { ...metadata().armt, segment_alignment: "middle" } };
    t.throws(() => readModelFacts(broken), { message: /`armt\.segment_alignment` has to be left, right or center/ });
});

test("a file of a later format says to update", (t) => {
    const later = { ...metadata(), armt: { ...metadata().armt, format_version: 3 } };
    t.throws(() => readModelFacts(later), { message: /format version 3, this package reads 1 to 2; update/ });
});
