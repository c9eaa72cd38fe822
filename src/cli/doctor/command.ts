import process from "node:process";
import type { CommandModule } from "yargs";

export const command: CommandModule = {
    command: "doctor",
    describe: "Check that this machine can build and run the engine",
    handler: async () => {
        const { checkInstallation } = await import("./run.js");
        const checks = await checkInstallation();
        const width = Math.max(...checks.map(({ name }) => name.length));
        const mark = { ok: "ok     ", warning: "warning", broken: "BROKEN " };
        for (const { name, state, detail } of checks)
            process.stdout.write(`${mark[state]}  ${name.padEnd(width)}  ${detail}\n`);
        if (checks.some(({ state }) => state === "broken")) process.exitCode = 1;
    }
};
