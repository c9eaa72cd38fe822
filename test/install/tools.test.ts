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
test(missing, "c++", /^a C\+\+17 compiler is missing; install it with `apt-get install g\+\+`$/);
test(missing, "cmake", /^CMake is missing.*`apt-get install cmake`$/);
test(missing, "git", /^git is missing.*`apt-get install git`$/);
test(missing, "python3", /^Python 3 \(node-gyp needs it\) is missing.*`apt-get install python3`$/);
test(missing, "make", /^make is missing.*`apt-get install make`$/);

const none = test.macro({
    exec(t, system: string, programs: readonly string[], message: string, command: string) {
        const tools = Object.fromEntries(programs.map((name) => [name, "1.0"]));
        const PATH = makeTools(path.join(temporaryFolder(t), "bin"), tools);
        t.like(
            t.throws(() => findTools({ PATH }, system), { instanceOf: BuildError }),
            { message, command }
        );
    },
    title: (_, system, programs) => `all missing tools are named at once: ${system} ${programs}`
});
const all = "a C++17 compiler, CMake, git, Python 3 (node-gyp needs it) and make are missing; install them with";
const apt = "apt-get install g++ cmake git python3 make";
const dnf = "dnf install gcc-c++ cmake git python3 make";
const pacman = "pacman -S gcc cmake git python make";
const brew = "xcode-select --install && brew install cmake";
const winget = "winget install Kitware.CMake Git.Git Python.Python.3.12";
test(none, "linux", [], `${all} \`${apt}\``, apt);
test(none, "linux", ["apt-get", "dnf"], `${all} \`${apt}\``, apt);
test(none, "linux", ["dnf"], `${all} \`${dnf}\``, dnf);
test(none, "linux", ["pacman"], `${all} \`${pacman}\``, pacman);
test(none, "darwin", [], `${all} \`${brew}\``, brew);
const forWindows = "CMake, git and Python 3 (node-gyp needs it) are missing; install them with";
test(none, "win32", [], `${forWindows} \`${winget}\``, winget);

test("several faults are one line", (t) => {
    const { git: _, ...tools } = completeTools;
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), { ...tools, cmake: "cmake version 3.9.6" });
    t.throws(() => findTools({ PATH, CXX: "no-such" }), {
        message: /^git is missing.*; the C\+\+ compiler of .*CXX \(no-such\).*; CMake 3\.9 is too old[^\n]*$/
    });
});

const remedy = test.macro({
    exec(t, system: string, tool: string, message: RegExp) {
        const tools = Object.fromEntries(Object.entries(completeTools).filter(([name]) => name !== tool));
        const PATH = makeTools(path.join(temporaryFolder(t), "bin"), tools);
        t.throws(() => findTools({ PATH }, system), { instanceOf: BuildError, message });
    },
    title: (_, system, tool) => `a missing ${tool} is named with what to install on ${system}`
});
test(remedy, "darwin", "c++", /C\+\+17 compiler.*`xcode-select --install`/);
test(remedy, "darwin", "cmake", /CMake is missing.*brew install cmake/);
test(remedy, "win32", "git", /git is missing.*winget install Git\.Git/);
test(remedy, "win32", "python3", /Python 3.*is missing.*winget install Python/);

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
