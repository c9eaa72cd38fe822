import { execFile, spawnSync } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { convertCheckpoint } from "../../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { chromiumPath } from "../../helpers/browser-driver.js";
import { testWith } from "../../helpers/needs.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const address = "10.77.0.1";
/** Runs a command where `address` exists, and nothing outside of this machine can be reached. */
const inNamespace = (command: readonly string[]) => [
    "unshare",
    "--map-root-user",
    "--net",
    "sh",
    "-c",
    `ip link set lo up && ip addr add ${address}/24 dev lo && exec "$@"`,
    "sh",
    ...command
];

const [shell, ...probe] = inNamespace(["true"]);

const onLan = testWith({
    needs: "Chromium, and the right to make a network namespace (unshare and ip, as root or with user namespaces)",
    available: chromiumPath !== undefined && spawnSync(shell!, probe).status === 0,
    inCi: true
});

onLan("the page works at an address of the local network, where browsers offer a page less", async (t) => {
    const folder = temporaryFolder(t);
    const modelPath = path.join(folder, "model.gguf");
    await makeTinyCheckpoint(folder, { layers: 2, segmentSize: 64 });
    await convertCheckpoint({ checkpoint: folder, output: modelPath, outType: "f32" });
    const script = fileURLToPath(new URL("../../helpers/lan-page-process.js", import.meta.url));
    const [command, ...args] = inNamespace([process.execPath, script, address, modelPath]);
    const { stdout } = await promisify(execFile)(command!, args, { timeout: 180_000 });
    const { answer, pasted, ...rest } = JSON.parse(stdout) as Record<string, unknown>;
    t.deepEqual(rest, {
        isSecureContext: false,
        taken: true,
        pastedCode: "let a = 1;",
        memories: 1,
        problems: [],
        foreign: []
    });
    t.is(typeof answer, "string");
    t.true((pasted as string).length > 0);
});
