import test from "ava";
import type { Asking } from "../../../src/eval/questions/ask.js";
import { openWay, serverWay, type Way } from "../../../src/eval/questions/ways.js";
import { recallModelPath } from "../../../src/model/embedded-model.js";
import { loadRecallModel, recallText } from "../../helpers/recall.js";
import { startServer } from "../../helpers/server.js";

test("every way gives the same answers, and none once the text is forgotten", async (t) => {
    const model = await loadRecallModel(t);
    const { text, tokens, questions } = await recallText(model, 2, 120, 3);
    const plain = { before: model.armt!.ask!.before!, after: model.armt!.ask!.after! };
    const asking: Asking = { form: "plain", plain };
    const { url } = await startServer(t, { tiny: { file: recallModelPath }, sequences: 1 });
    const open = async (name: "memory" | "read" | "chat") => {
        const context = await model.createContext({ threads: 1 });
        return await openWay(name)(context);
    };
    const ways: Way[] = [await open("memory"), await open("read"), await open("chat"), serverWay(url, model)];
    const asked = questions.slice(0, 2);
    t.true(asked.length > 0);
    for (const way of ways) {
        const read = await way.read({ questions, sentences: () => [text] });
        t.is(read, tokens.length);
        for (const question of asked) t.is(await way.ask(question, asking), question.expected);
        await way.forget();
        for (const question of asked) t.not(await way.ask(question, asking), question.expected);
        await way.dispose();
    }
    await t.throwsAsync(ways[3]!.ask(questions[0]!, { ...asking, form: "completion" }), { message: /no completions/ });
});
