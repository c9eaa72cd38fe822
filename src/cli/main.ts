#!/usr/bin/env node
import process from "node:process";
import { hideCi } from "../../plugin/node-llama-cpp/ci-variable.js";

// for this process and those that it starts, until they end
hideCi();

// Node.js reads a program's modules many at a time, and reports a failure to read one in many lines.
try {
    await import("./program.js");
} catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw error;
    const remedy = code === "EMFILE" ? "; allow more open files, e.g. with `ulimit -n 256`" : "";
    process.stderr.write(`armt: cannot start: ${message}${remedy}\n`);
    process.exitCode = 1;
}
