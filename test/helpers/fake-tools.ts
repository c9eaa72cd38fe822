import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/** The programs that the build looks for, each with the first line of its `--version` output. */
export const completeTools: Readonly<Record<string, string>> = {
    "c++": "c++ 12.2.0",
    cmake: "cmake version 3.25.1",
    git: "git version 2.39.5",
    python3: "Python 3.11.2",
    make: "GNU Make 4.3"
};

/** Makes a folder for `PATH` with programs that only print their version. */
export function makeTools(folder: string, tools: Readonly<Record<string, string>>): string {
    mkdirSync(folder, { recursive: true });
    for (const [name, version] of Object.entries(tools)) {
        const file = path.join(folder, name);
        writeFileSync(file, `#!/bin/sh\necho "${version}"\n`);
        chmodSync(file, 0o755);
    }
    return folder;
}
