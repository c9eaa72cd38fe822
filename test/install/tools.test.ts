import path from "node:path";
import test from "ava";
import { importBuildModule } from "../../plugin/native/library.js";
import { completeTools, makeTools } from "../helpers/fake-tools.js";
import { temporaryFolder } from "../helpers/temporary.js";

const { BuildError, findTools } = await importBuildModule();

test("all tools are found with their versions", (t) => {
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), completeTools);
    const tools = findTools({ PATH });
    t.is(tools.compiler.path, path.join(PATH, "c++"));
    t.is(tools.cmake.version, "cmake version 3.25.1");
    t.is(tools.ninja, null);
    t.is(tools.ccache, null);
});

test("Ninja and ccache are used if they are installed", (t) => {
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), { ...completeTools, ninja: "1.11", ccache: "4.7" });
    const tools = findTools({ PATH });
    t.is(tools.ninja, path.join(PATH, "ninja"));
    t.is(tools.ccache, path.join(PATH, "ccache"));
});

const missing = test.macro({
    exec(t, tool: string, message: RegExp) {
        const tools = Object.fromEntries(Object.entries(completeTools).filter(([name]) => name !== tool));
        const PATH = makeTools(path.join(temporaryFolder(t), "bin"), tools);
        const error = t.throws(() => findTools({ PATH }), { instanceOf: BuildError, message });
        t.false(error.message.includes("\n"));
    },
    title: (_, tool) => `a missing ${tool} is named, with what to install`
});
test(missing, "c++", /no C\+\+ compiler.*apt-get install g\+\+/);
test(missing, "cmake", /CMake was not found.*apt-get install cmake/);
test(missing, "git", /git was not found.*apt-get install git/);
test(missing, "python3", /Python 3.*was not found.*apt-get install python3/);
test(missing, "make", /make.*was not found.*apt-get install make/);

const remedy = test.macro({
    exec(t, system: string, tool: string, message: RegExp) {
        const tools = Object.fromEntries(Object.entries(completeTools).filter(([name]) => name !== tool));
        const PATH = makeTools(path.join(temporaryFolder(t), "bin"), tools);
        t.throws(() => findTools({ PATH }, system), { instanceOf: BuildError, message });
    },
    title: (_, system, tool) => `a missing ${tool} is named with what to install on ${system}`
});
test(remedy, "darwin", "c++", /no C\+\+ compiler.*xcode-select --install/);
test(remedy, "darwin", "cmake", /CMake was not found.*brew install cmake/);
test(remedy, "win32", "git", /git was not found.*winget install Git\.Git/);
test(remedy, "win32", "python3", /Python 3.*was not found.*winget install Python/);

test("on Windows, Visual Studio is left to CMake and node-gyp", (t) => {
    const { "c++": _, make: __, ...tools } = completeTools;
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), { ...tools, ninja: "1.11" });
    const { compiler, make, ninja } = findTools({ PATH }, "win32");
    t.deepEqual([compiler.path, make, ninja], ["", null, null]);
});

test("a CMake that is too old is refused, with the required version", (t) => {
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), { ...completeTools, cmake: "cmake version 3.9.6" });
    t.throws(() => findTools({ PATH }), { instanceOf: BuildError, message: /CMake 3\.9 is too old; install 3\.18/ });
});

test("a compiler in CXX that does not run is named", (t) => {
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), completeTools);
    t.throws(() => findTools({ PATH, CXX: "no-such-compiler" }), { message: /CXX \(no-such-compiler\)/ });
});
