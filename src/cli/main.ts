#!/usr/bin/env node
import process from "node:process";

// CI systems set this to their name, or leave it empty. node-llama-cpp ends with an error unless it is a boolean.
const ci = process.env.CI;
if (ci !== undefined) process.env.CI = ["", "0", "false", "FALSE"].includes(ci) ? "false" : "true";

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
