import process from "node:process";
import type { CommandModule } from "yargs";

export const command: CommandModule<object, { json: boolean }> = {
    command: "doctor",
    describe: "Check that this machine can build and run the engine",
    builder: (parser) =>
        parser.option("json", {
            type: "boolean",
            default: false,
            describe: "Print one JSON object instead of a table"
        }),
    handler: async ({ json }) => {
        const { checkInstallation } = await import("./run.js");
        const checks = await checkInstallation();
        const ok = checks.every(({ state }) => state !== "broken");
        if (json) process.stdout.write(`${JSON.stringify({ ok, checks }, undefined, 4)}\n`);
        else {
            const width = Math.max(...checks.map(({ name }) => name.length));
            const mark = { ok: "ok     ", warning: "warning", broken: "BROKEN " };
            for (const { name, state, detail } of checks)
                process.stdout.write(`${mark[state]}  ${name.padEnd(width)}  ${detail}\n`);
        }
        if (!ok) process.exitCode = 1;
    }
};
