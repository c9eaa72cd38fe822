import { rmSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { importBuildModule } from "../../plugin/native/library.js";
import { FakePackage } from "../helpers/fake-package.js";

const { BuildError, build } = await importBuildModule();

test("a first build patches the source in the patches' order and builds the library and the addon", async (t) => {
    const fake = new FakePackage(t);
    fake.patch("0002-second.diff", "first", "second");
    fake.patch("0001-first.diff", "plain", "first");
    const steps: string[] = [];
    const percents: number[] = [];
    const { built } = await build({
        ...fake,
        onStep: (line) => steps.push(line),
        onProgress: (percent) => percents.push(percent)
    });
    t.true(built);
    t.is(fake.library, "second\n");
    t.is(fake.read("native/build/armt.node"), "addon");
    t.is(steps.length, 3);
    t.deepEqual(percents, [50, 100]);
});

test("node-llama-cpp's patches are applied before ours", async (t) => {
    const fake = new FakePackage(t);
    fake.patch("0001-ours.diff", "upstream", "ours");
    fake.write(
        "node_modules/node-llama-cpp/llama/patches/PR-1.diff",
        "--- a/source.txt\n+++ b/source.txt\n@@ -1 +1 @@\n-plain\n+upstream\n"
    );
    await build({ ...fake });
    t.is(fake.library, "ours\n");
});

test("a second build without changes does nothing", async (t) => {
    const fake = new FakePackage(t);
    await build({ ...fake });
    const { built } = await build({ ...fake, onStep: () => t.fail() });
    t.false(built);
    t.is(fake.compilations, 1);
});

test("a changed patch replaces the old one in the source", async (t) => {
    const fake = new FakePackage(t);
    fake.patch("0001-a.diff", "plain", "one");
    await build({ ...fake });
    fake.patch("0001-a.diff", "plain", "two");
    await build({ ...fake });
    t.is(fake.library, "two\n");
    rmSync(path.join(fake.root, "patches", "0001-a.diff"));
    await build({ ...fake });
    t.is(fake.library, "plain\n");
});

test("a changed engine file compiles the library again without unpacking the source", async (t) => {
    const fake = new FakePackage(t);
    await build({ ...fake });
    fake.write("native/engine/armt-graph.cpp", "new");
    const steps: string[] = [];
    await build({ ...fake, onStep: (line) => steps.push(line) });
    t.is(steps.length, 1);
    t.regex(steps[0]!, /compiling libllama/);
    t.is(fake.compilations, 2);
});

test("a changed addon file does not rebuild the library", async (t) => {
    const fake = new FakePackage(t);
    await build({ ...fake });
    fake.write("native/addon/addon.cpp", "new");
    await build({ ...fake });
    t.is(fake.compilations, 1);
});

test("a patch that does not apply is named, and the next build starts over", async (t) => {
    const fake = new FakePackage(t);
    fake.patch("0001-stale.diff", "something else", "new");
    await t.throwsAsync(build({ ...fake }), { instanceOf: BuildError, message: /^applying 0001-stale\.diff failed/ });
    t.is(fake.compilations, 0);
    fake.patch("0001-stale.diff", "plain", "new");
    await build({ ...fake });
    t.is(fake.library, "new\n");
});

test("a compiler error shows its own lines and the path of the log", async (t) => {
    const fake = new FakePackage(t);
    fake.patch("0001-a.diff", "plain", "broken");
    const message = /compiling libllama failed.*native\/build\/build\.log\n +source\.txt:1: error: this is broken$/;
    await t.throwsAsync(build({ ...fake }), { instanceOf: BuildError, message });
    t.regex(fake.read("native/build/build.log"), /\[1\/2\] first/);
    fake.patch("0001-a.diff", "plain", "mended");
    await build({ ...fake });
    t.is(fake.library, "mended\n");
});

test("an interrupted unpacking is repeated", async (t) => {
    const fake = new FakePackage(t);
    fake.write("native/build/llama.cpp/half.txt", "left by a build that was ended");
    await build({ ...fake });
    t.is(fake.library, "plain\n");
});

test("a missing result is built again", async (t) => {
    const fake = new FakePackage(t);
    await build({ ...fake });
    rmSync(path.join(fake.root, "native", "build", "lib"), { recursive: true });
    await build({ ...fake });
    t.is(fake.library, "plain\n");
});

test("a forced build starts from scratch", async (t) => {
    const fake = new FakePackage(t);
    await build({ ...fake });
    await build({ ...fake, force: true });
    t.is(fake.compilations, 2);
});

test("a build is refused while another runs, and a lock whose process has ended is ignored", async (t) => {
    const fake = new FakePackage(t);
    fake.write("native/build/build.lock", String(process.pid));
    await t.throwsAsync(build({ ...fake }), { message: /another build is running/ });
    // no process has this id, since Linux ids end at 2^22
    fake.write("native/build/build.lock", String(2 ** 30));
    await build({ ...fake });
    t.is(fake.library, "plain\n");
});
