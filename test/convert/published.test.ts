import test from "ava";
import { parseArmtConfig } from "../../src/convert/armt-config.js";
import type { SourceTensor } from "../../src/convert/checkpoint.js";
import { describePublished, differsFromPublished, findPublished } from "../../src/convert/published.js";

const llama = { architecture: "llama", hiddenSize: 2048, layerCount: 16 } as const;
const gpt2 = { architecture: "gpt2", hiddenSize: 768, layerCount: 12 } as const;

/** What a published file shows of itself. */
function shapes(hidden: number, memoryTokens: number, loraRank?: number): ReadonlyMap<string, SourceTensor> {
    const tensor = (shape: number[], lora?: { rank: number }) => ({ shape, lora }) as unknown as SourceTensor;
    return new Map([
        ["memory", tensor([memoryTokens, hidden])],
        ["layers.0.W_mq.weight", tensor([64, hidden])],
        [
            "layers.0.layer.self_attn.q_proj.weight",
            tensor([hidden, hidden], loraRank === undefined ? undefined : { rank: loraRank })
        ]
    ]);
}

test("an unmerged LoRA tells the files whose keys are not normalized from those whose keys are", (t) => {
    const withLora = findPublished(shapes(2048, 16, 8), llama);
    t.is(withLora?.id, "booydar/RMT-Llama-3.2-1B-Instruct-*-lora-*");
    t.is(
        describePublished(withLora!),
        'names and shapes are those of "booydar/RMT-Llama-3.2-1B-Instruct-*-lora-*", which takes --segment-size ' +
            "1024 --no-normalize-keys --lora-alpha 32; a private run may share them"
    );
    t.is(findPublished(shapes(2048, 16), llama)?.id, "irodkin/ARMT-llama3.2-1B");
    t.is(findPublished(shapes(2048, 32), llama), undefined);
    t.is(findPublished(shapes(2048, 16, 4), llama), undefined);
});

test("a file whose keys nobody knows is named, and both ways are offered", (t) => {
    const found = findPublished(shapes(768, 10), gpt2);
    t.is(found?.id, "irodkin/armt_babilong_qa*");
    t.regex(describePublished(found!), /--segment-size 512 and either of --normalize-keys and --no-normalize-keys/);
});

test("the hint is never applied: a missing value stays an error, another value is only warned of", (t) => {
    const published = findPublished(shapes(2048, 16, 8), llama)!;
    const suggestion = describePublished(published);
    const error = t.throws(() => parseArmtConfig(undefined, { segmentSize: 1024 }, {}, { suggestion }));
    t.regex(
        error.message,
        /`normalize_keys` is unknown: .*\(names and shapes are those of "booydar.*--no-normalize-keys/
    );
    const given = (normalizeKeys: boolean) => parseArmtConfig(undefined, { segmentSize: 1024, normalizeKeys });
    t.true(differsFromPublished(published, given(true)));
    t.false(differsFromPublished(published, given(false)));
    t.false(differsFromPublished(findPublished(shapes(768, 10), gpt2)!, { ...given(true), segmentSize: 512 }));
});
