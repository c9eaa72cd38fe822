// Runs the tests of `test/clients/` and writes their results into the table of `docs/server.md`.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const page = new URL("docs/server.md", root);
const aspects = ["chat", "stream", "tools", "schema", "errors"];

const files = readdirSync(new URL("test/clients", root)).sort();
const args = [
    "ava",
    "--tap",
    "--timeout=10m",
    ...files.map((name) => `dist/test/clients/${name.replace(/ts$/, "js")}`)
];
const { stdout } = spawnSync("npx", args, { cwd: root, encoding: "utf8" });
const passed = new Set([...stdout.matchAll(/^ok \d+ - (.*)$/gm)].map(([, title]) => title));

const { devDependencies } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));
const rows = files.map((file) => {
    const source = readFileSync(new URL(`test/clients/${file}`, root), "utf8");
    const names = [...source.matchAll(/from "((?:@[^/"]+\/)?[^./"][^/"]*)/g)].map(([, name]) => name);
    const packages = [...new Set(names)].filter((name) => name in devDependencies && !["ava"].includes(name)).sort();
    const client = packages.map((name) => `${name} ${devDependencies[name]}`).join(", ");
    const results = aspects.map((aspect) => (passed.has(`${file.replace(".test.ts", "")} › ${aspect}`) ? "yes" : "no"));
    return `| ${client} | ${results.join(" | ")} |`;
});
const table = [`| client | ${aspects.join(" | ")} |`, "| --- | --- | --- | --- | --- | --- |", ...rows].join("\n");
const text = readFileSync(page, "utf8");
const marks = /(<!-- clients -->\n)[\s\S]*?(<!-- \/clients -->)/;
if (!marks.test(text)) throw new Error("docs/server.md has no marks for the table of clients");
writeFileSync(page, text.replace(marks, `$1\n${table}\n\n$2`));
process.stdout.write(`${table}\n`);
