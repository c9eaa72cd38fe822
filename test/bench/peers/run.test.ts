import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import type { PeersResults } from "../../../bench/peers/results.js";
import { runProcess } from "../../helpers/process.js";
import { repositoryRoot } from "../../helpers/repository.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const script = path.join(repositoryRoot, "bench", "peers", "run.sh");

const resultOf = (what: string, more: object = {}) =>
    JSON.stringify({
        device: "a GPU",
        unit: "seconds",
        ...more,
        runs: [{ what, type: "bf16", layers: 1, hidden: 8, tokens: 512, median: 2, least: 1, most: 3 }]
    });

/** A folder with both checkouts, and with programs that only log their arguments and write a result. */
class Place {
    readonly folder: string;
    readonly out: string;

    constructor(t: ExecutionContext) {
        this.folder = temporaryFolder(t);
        this.out = path.join(this.folder, "out");
        for (const file of ["armt/modeling_amt/language_modeling.py", "diagonal/fast_executor.py"]) {
            mkdirSync(path.dirname(this.at(file)), { recursive: true });
            writeFileSync(this.at(file), "");
        }
        // python -c "import torch", or python authors.py FILE …
        const full = resultOf("PyTorch full attention (SDPA)", { sdpa: "cudnn" });
        this.program(
            "python",
            `case "$*" in -c*) ;; *cudnn) echo '${full}' >"$2" ;; *) echo '${resultOf("authors, segment 512 diagonal")}' >"$2" ;; esac`
        );
        // cuda-check speed FOLDER FILE PARTS
        this.program("check", `[ -d "$2" ] && echo '${resultOf("segment 512 diagonal")}' >"$3"`);
    }

    at(name: string): string {
        return path.join(this.folder, name);
    }

    program(name: string, text: string): void {
        writeFileSync(this.at(name), `#!/bin/sh\necho "$@" >>${this.at("calls")}\n${text}\n`);
        chmodSync(this.at(name), 0o755);
    }

    calls(): string[] {
        return existsSync(this.at("calls")) ? readFileSync(this.at("calls"), "utf8").trim().split("\n") : [];
    }

    results(): PeersResults {
        return JSON.parse(readFileSync(path.join(this.out, "peers.json"), "utf8")) as PeersResults;
    }

    run(options: readonly string[] = [], checkouts = [this.at("armt"), this.at("diagonal")]) {
        const args = ["-c", this.at("check"), "-t", this.at("python"), ...options, ...checkouts, this.out];
        return runScript(args);
    }
}

const runScript = (args: readonly string[]) => runProcess("bash", [script, ...args]);

test("the authors' code runs, then the engine, and both are merged", async (t) => {
    const place = new Place(t);
    const { code, stdout, stderr } = await place.run(["-p", "targets,stock"]);
    t.is(code, 0, stderr);
    const [torch, transformers, authors, engine, ...others] = place.calls();
    t.deepEqual([torch, transformers, others], ["-c import torch", "-c import transformers", []]);
    t.true(
        authors!.endsWith(
            `authors.py ${place.out}/authors.json --armt ${place.at("armt")} --diagonal ${place.at("diagonal")}`
        ),
        authors
    );
    t.regex(engine!, /^speed \S+ \S+\/out\/engine\.json targets,stock$/);
    t.false(existsSync(engine!.split(" ")[1]!), "its folder of random models is removed");
    t.deepEqual(
        place.results().parts.map(({ name, command, note }) => [name, command, note]),
        [
            ["authors", "python3 bench/peers/authors.py FILE --armt … --diagonal …", undefined],
            ["engine", "cuda-check speed FOLDER FILE targets,stock", undefined]
        ]
    );
    t.regex(stdout, /^512 +2\.000 \[1\.000 3\.000\] +2\.000 \[1\.000 3\.000\] +1\.00x$/m);
    t.true(readFileSync(path.join(place.out, "peers.svg"), "utf8").includes("this engine, diagonal"));
});

test("one program can run alone and adds to an earlier call's results", async (t) => {
    const place = new Place(t);
    t.is((await place.run(["-o", "engine"], ["-", "-"])).code, 0);
    t.deepEqual(
        place.results().parts.map(({ name }) => name),
        ["engine"]
    );
    t.is(place.calls().length, 1);
    const { code, stdout, stderr } = await place.run(["-o", "authors", "-d"]);
    t.is(code, 0, stderr);
    t.true(place.calls().at(-1)!.endsWith(`authors.py ${place.out}/cudnn.json --peers full --sdpa cudnn`));
    t.deepEqual(
        place.results().parts.map(({ name, command, note }) => [name, command, note]),
        [
            ["authors", "python3 bench/peers/authors.py FILE --armt … --diagonal …", undefined],
            ["cudnn", "python3 bench/peers/authors.py FILE --peers full --sdpa cudnn", undefined],
            ["engine", "cuda-check speed FOLDER FILE targets,stock,decode", "measured in an earlier call"]
        ]
    );
    t.regex(stdout, /^PyTorch full attention \(SDPA\), cudnn +2\.000/m);
});

test("one program's results are kept if the other one fails", async (t) => {
    const place = new Place(t);
    place.program("check", `printf '{"device": "a GPU", "runs": [' >"$3"; exit 3`);
    const { code, stderr } = await place.run();
    t.is(code, 1);
    t.regex(stderr, /run\.sh: failed, see above: cuda-check speed FOLDER FILE targets,stock,decode/);
    t.deepEqual(
        place.results().parts.map(({ name }) => name),
        ["authors"]
    );
    t.false(readdirSync(place.out).includes("engine.json"), "a later call must not read half a file");
});

test("results of an earlier call are not overwritten", async (t) => {
    const place = new Place(t);
    mkdirSync(place.out);
    writeFileSync(path.join(place.out, "engine.json"), "mine");
    const { code, stderr } = await place.run();
    t.is(code, 2);
    t.regex(stderr, /engine\.json exists: remove it, or take another folder/);
    t.is(readFileSync(path.join(place.out, "engine.json"), "utf8"), "mine");
    t.deepEqual(
        place.calls().filter((call) => !call.startsWith("-c")),
        []
    );
});

test("a missing requirement is named before anything is measured", async (t) => {
    const place = new Place(t);
    const [armt, diagonal] = [place.at("armt"), place.at("diagonal")];
    place.program("no-torch", `[ "$2" != "import torch" ]`);
    place.program("no-transformers", `[ "$2" != "import transformers" ]`);
    for (const [options, checkouts, message] of [
        [[], [place.at("none"), diagonal], /ARMT: .*none\/modeling_amt\/language_modeling\.py is missing; git clone /],
        [[], [armt, armt], /DIAGONAL: .*armt\/fast_executor\.py is missing; git clone /],
        [["-c", place.at("none")], [armt, diagonal], /none is missing: docs\/gpu\.md says how to build cuda-check/],
        [["-t", place.at("none")], [armt, diagonal], /none is missing; -t names another Python/],
        [["-t", place.at("no-torch")], [armt, diagonal], /no-torch cannot import torch: /],
        [["-t", place.at("no-transformers")], [armt, diagonal], /no-transformers cannot import transformers: /],
        [["-o", "both"], [armt, diagonal], /-o both: expected authors or engine/],
        [["-x"], [armt, diagonal], /no such option: -x/],
        [[], [armt], /expected ARMT DIAGONAL OUT/]
    ] as const) {
        const { code, stderr } = await place.run(options, [...checkouts]);
        t.is(code, 2, stderr);
        t.regex(stderr, message);
        t.is(stderr.trim().split("\n").length, 1, stderr);
    }
    t.deepEqual(
        place.calls().filter((call) => !call.startsWith("-c")),
        []
    );
});

test("-h prints the text at the top of the script", async (t) => {
    const { code, stdout } = await runScript(["-h"]);
    t.is(code, 0);
    t.true(stdout.startsWith("Compares the ARMT authors' PyTorch code"));
    // it lists every option of the script
    const options = /getopts :([a-z:]+) /.exec(readFileSync(script, "utf8"))![1]!.replaceAll(":", "");
    t.deepEqual([...stdout.matchAll(/^ {2}-([a-z])/gm)].map(([, letter]) => letter).sort(), [...options].sort());
    t.true(stdout.trimEnd().endsWith("the exit code is 1 then."));
});
