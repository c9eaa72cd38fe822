// Runs the tests of `test/clients/` and writes their results into the table of `docs/server.md`. The Python clients need
// python3 with venv; they are installed into build/clients-venv.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);
const page = new URL("docs/server.md", root);
const aspects = ["chat", "stream", "tools", "schema", "errors"];

const files = readdirSync(new URL("test/clients", root))
    .filter((name) => name.endsWith(".test.ts"))
    .sort();
const args = [
    "ava",
    "--tap",
    "--timeout=10m",
    ...files.map((name) => `dist/test/clients/${name.replace(/ts$/, "js")}`)
];
const { stdout } = spawnSync("npx", args, { cwd: root, encoding: "utf8" });
const passed = new Set([...stdout.matchAll(/^ok \d+ - (.*)$/gm)].map(([, title]) => title));

const manifest = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));
const versions = { ...manifest.dependencies, ...manifest.devDependencies };
const ownTools = new Set(["ava", "zod"]);
const rows = files.map((file) => {
    const source = readFileSync(new URL(`test/clients/${file}`, root), "utf8");
    const names = [...source.matchAll(/from "((?:@[^/"]+\/)?[^./"][^/"]*)/g)].map(([, name]) => name);
    const packages = [...new Set(names)].filter((name) => name in versions && !ownTools.has(name)).sort();
    const client = packages.map((name) => `${name} ${versions[name]}`).join(", ");
    const results = aspects.map((aspect) => (passed.has(`${file.replace(".test.ts", "")} › ${aspect}`) ? "yes" : "no"));
    return `| ${client} | ${results.join(" | ")} |`;
});
rows.push(...runPython());
const table = [`| client | ${aspects.join(" | ")} |`, "| --- | --- | --- | --- | --- | --- |", ...rows].join("\n");
const text = readFileSync(page, "utf8");
const marks = /(<!-- clients -->\n)[\s\S]*?(<!-- \/clients -->)/;
if (!marks.test(text)) throw new Error("docs/server.md has no marks for the table of clients");
writeFileSync(page, text.replace(marks, `$1\n${table}\n\n$2`));
process.stdout.write(`${table}\n`);

/** Runs the tests of the Python clients; returns their rows of the table. */
function runPython() {
    const folder = new URL("test/clients/python/", root);
    const requirements = fileURLToPath(new URL("requirements.txt", folder));
    const venv = new URL("build/clients-venv/", root);
    const python = fileURLToPath(new URL("bin/python", venv));
    if (!existsSync(python)) run("python3", ["-m", "venv", fileURLToPath(venv)]);
    run(python, ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements]);
    const { stdout } = spawnSync(
        python,
        ["-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", fileURLToPath(folder)],
        {
            cwd: root,
            encoding: "utf8"
        }
    );
    const passed = new Set(
        [...stdout.matchAll(/^PASSED \S*?test_(\w+)\.py::test_(\w+)/gm)].map(([, a, b]) => `${a} ${b}`)
    );
    const versions = [...readFileSync(requirements, "utf8").matchAll(/^(\w+)==(\S+)$/gm)];
    return versions
        .filter(([, name]) => existsSync(new URL(`test_${name}.py`, folder)))
        .map(([, name, version]) => {
            const results = aspects.map((aspect) => (passed.has(`${name} ${aspect}`) ? "yes" : "no"));
            return `| Python: ${name} ${version} | ${results.join(" | ")} |`;
        });
}

function run(command, args) {
    const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed: ${stderr}`);
}
