import { writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import test from "ava";
import { runNode } from "../helpers/armt-command.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("a Llama that a program leaves behind is disposed of when the process ends", async (t) => {
    const file = path.join(temporaryFolder(t), "program.mjs");
    const plugin = pathToFileURL(path.join(repositoryRoot, "dist", "plugin", "index.js")).href;
    const model = path.join(repositoryRoot, "assets", "recall", "model.gguf");
    writeFileSync(
        file,
        `import { getLlama } from ${JSON.stringify(plugin)};
        const llama = await getLlama({ maxThreads: 1 });
        const model = await llama.loadModel({ modelPath: ${JSON.stringify(model)} });
        const context = await model.createContext({ contextSize: 64 });
        context.onDispose.createListener(() => process.stdout.write("context "));
        const disposed = await getLlama({ maxThreads: 1 });
        await disposed.dispose();
        process.on("exit", () => process.stdout.write(String(llama.disposed)));`
    );
    const { code, stdout } = await runNode([file]);
    t.is(stdout, "context true");
    t.is(code, 0);
});
