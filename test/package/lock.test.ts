import { readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { repositoryRoot } from "../helpers/repository.js";

type LockedPackage = {
    version: string;
    optional?: boolean;
    os?: string[];
    optionalDependencies?: Record<string, string>;
};

// npm leaves out an optional package that the registry does not serve, and `npm ci` then refuses the lock file
test("package-lock.json has every optional package of node-llama-cpp", (t) => {
    const lock: { packages: Record<string, LockedPackage> } = JSON.parse(
        readFileSync(path.join(repositoryRoot, "package-lock.json"), "utf8")
    );
    const wanted = Object.entries(lock.packages["node_modules/node-llama-cpp"]!.optionalDependencies!);
    t.true(wanted.length > 10);
    const locked = (name: string) => lock.packages[`node_modules/${name}`];
    t.deepEqual(
        wanted.filter(([name, version]) => locked(name)?.version !== version),
        []
    );
    // without this, every machine would download all of them, or fail
    for (const [name] of wanted) t.true(locked(name)?.optional === true && locked(name)?.os !== undefined, name);
});
