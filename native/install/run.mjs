import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";

/** Lines of a failed command's output that are shown; the log has the rest. */
const shownLines = 12;

/** What a compiler or a build tool writes about a failure. */
const failure = /\b(error|fatal|undefined reference|not found|No space left|Killed|cannot)\b/i;

/**
 * Runs a command of the build and writes its output to the log.
 * @param {string} title what the command does, for the error
 * @param {string} command
 * @param {string[]} args
 * @param {object} options
 * @param {import("./layout.mjs").Layout} options.layout
 * @param {NodeJS.ProcessEnv} options.env
 * @param {string} [options.cwd]
 * @param {(line: string) => void} [options.onLine] gets every line of the output
 * @returns {Promise<void>} rejects with a `BuildError` that ends with the lines that matter
 */
export async function run(title, command, args, { layout, env, cwd = layout.root, onLine }) {
    const log = fs.createWriteStream(layout.log, { flags: "a" });
    log.write(`\n$ ${command} ${args.join(" ")}\n`);
    /** @type {string[]} */
    const lines = [];
    let rest = "";
    /** @param {string} text */
    const take = (text) => {
        log.write(text);
        const parts = (rest + text).split(/[\r\n]+/);
        rest = parts.pop() ?? "";
        for (const line of parts) {
            lines.push(line);
            onLine?.(line);
        }
    };
    /** @type {string} */
    const outcome = await new Promise((resolve) => {
        const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
        child.stdout.setEncoding("utf8").on("data", take);
        child.stderr.setEncoding("utf8").on("data", take);
        child.on("error", (error) => resolve(error.message));
        child.on("close", (code, signal) => resolve(code === 0 ? "" : (signal ?? `exit code ${code}`)));
    });
    if (rest !== "") lines.push(rest);
    await new Promise((resolve) => log.end(resolve));
    if (outcome !== "") {
        const telling = lines.filter((line) => failure.test(line));
        const shown = (telling.length > 0 ? telling : lines).slice(-shownLines).map((line) => `\n    ${line}`);
        const where = path.relative(layout.root, layout.log);
        throw new BuildError(`${title} failed (${outcome}); the whole output is in ${where}${shown.join("")}`);
    }
}
