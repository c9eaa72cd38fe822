// `node try-open-file.mjs CLI TEXT MEMORY`: replaces a memory file that this process holds open, and once more after that
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import process from "node:process";

const [cli, text, memory] = process.argv.slice(2);
const file = fs.openSync(memory, "r");
const before = fs.readFileSync(file);
const run = () =>
    spawnSync(process.execPath, [cli, "read", text, "-o", memory, "--force", "--threads", "1"], { stdio: "inherit" });

console.log(`held open: exit code ${run().status}`);
const after = fs.readFileSync(memory);
console.log(`the file is ${after.equals(before) ? "as it was" : "new"}, ${after.length} bytes`);
fs.closeSync(file);
console.log(`closed: exit code ${run().status}`);
console.log(
    `files beside it: ${fs.readdirSync(".").filter((name) => name.includes("armt.") || name.endsWith(".tmp"))}`
);
