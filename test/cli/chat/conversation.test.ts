import path from "node:path";
import test from "ava";
import { Conversation } from "../../../src/cli/chat/Conversation.js";
import { rewriteKeys } from "../../../src/formats/gguf/rewrite.js";
import { openModel } from "../../../src/model/open-model.js";
import { makeScriptedModel } from "../../helpers/scripted-model.js";
import { temporaryFolder } from "../../helpers/temporary.js";

test("a message closes the segment of the text before it if the model was trained so", async (t) => {
    const folder = temporaryFolder(t);
    const [scripted, file] = [path.join(folder, "scripted.gguf"), path.join(folder, "closing.gguf")];
    await makeScriptedModel(folder, scripted, {
        template: "{{ messages[-1].content }}",
        script: [["i", "o", "k", "<eos>"]]
    });
    const bool = (value: boolean) => ({ type: "BOOL", value }) as const;
    const keys = ["chat", "close", "greedy"].map((key) => [`armt.ask.${key}`, bool(true)] as const);
    await rewriteKeys(scripted, file, new Map(keys));
    const { llama, model, createContext } = await openModel({ model: file, kvType: "f16", verify: true, threads: 1 });
    t.teardown(() => llama.dispose());
    const sequence = (await createContext()).getSequence();
    await sequence.evaluateWithoutGeneratingNewTokens(model.tokenize("a text"));
    const memory = await sequence.armt!.snapshot();
    t.teardown(() => memory.dispose());
    const chat = new Conversation(sequence, { maxTokens: 8, ignoreEos: false }, memory);
    t.teardown(() => chat.dispose());
    let answer = "";
    for await (const piece of chat.answer("Hi", new AbortController().signal)) answer += piece;
    t.is(answer, "ok");
    t.is(sequence.armt!.segmentsClosed, 1);
    t.is(sequence.armt!.openTokens, "Hi".length + answer.length);
});
