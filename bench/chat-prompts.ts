// `npm run bench:chats -- --base FILE --model FILE`: twenty everyday chat prompts, answered by a base and by the same
// base with a memory. No memory is read first, so the answers show whether the model still speaks as its base does.

import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { type ArmtContextOptions, getLlama, LlamaChatSession, LlamaLogLevel } from "../plugin/index.js";
import { describeMachine } from "../src/bench/machine.js";
import { writeAtomically } from "../src/util/atomic-file.js";

const prompts = [
    "What is the capital of France?",
    "Name three animals that live in the sea.",
    "How many days are in a leap year?",
    "What colour is the sky on a clear day?",
    "Who wrote Romeo and Juliet?",
    "Hello! How are you today?",
    "Write one sentence about a cat on a roof.",
    "What do bees make?",
    "Translate 'good morning' into French.",
    "What is 7 plus 5?",
    "Give me an idea for a birthday present for my father.",
    "Explain in one sentence what gravity is.",
    "What is the opposite of hot?",
    "List the ingredients of pancakes.",
    "Why do leaves fall in autumn?",
    "How do I politely decline an invitation?",
    "What is a good name for a dog?",
    "Which planet is closest to the sun?",
    "Suggest a title for a story about a lost key.",
    "Thank you for your help!"
];

const args = await yargs(hideBin(process.argv))
    .usage("Asks a base and the same base with a memory the same everyday questions, greedily.")
    .options({
        base: { type: "string", demandOption: true, describe: "Plain model file" },
        model: { type: "string", demandOption: true, describe: "The same base with a memory" },
        tokens: { type: "number", default: 48, describe: "Maximum number of tokens of an answer" },
        segmentOverflow: {
            choices: ["close", "extend", "answer"] as const,
            describe: "What happens when an answer fills its segment [default: as trained]"
        },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

async function answersOf(file: string, armt?: ArmtContextOptions): Promise<string[]> {
    await using llama = await getLlama({ gpu: false, logLevel: LlamaLogLevel.error });
    await using model = await llama.loadModel({ modelPath: file });
    const answers: string[] = [];
    for (const prompt of prompts) {
        await using context = await model.createContext({ contextSize: 1024, armt });
        using session = new LlamaChatSession({ contextSequence: context.getSequence() });
        answers.push((await session.prompt(prompt, { maxTokens: args.tokens, temperature: 0 })).trim());
    }
    return answers;
}

const base = await answersOf(args.base);
const model = await answersOf(args.model, { segmentOverflow: args.segmentOverflow });
const answers = prompts.map((prompt, i) => ({ prompt, base: base[i]!, model: model[i]! }));
for (const one of answers) console.log(`${one.prompt}\n  base:  ${one.base}\n  model: ${one.model}`);
const same = answers.filter((one) => one.base === one.model).length;
console.log(`${same} of ${answers.length} answers are the same`);
const result = {
    ...describeMachine(),
    base: path.basename(args.base),
    model: path.basename(args.model),
    tokens: args.tokens,
    segmentOverflow: args.segmentOverflow,
    same,
    answers
};
const file = path.join(args.out, `chats-${new Date().toISOString().slice(0, 10)}.json`);
await writeAtomically(file, {}, (target) => target.write(Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`)));
console.log(file);
