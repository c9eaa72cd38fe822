import os from "node:os";
import path from "node:path";
import process from "node:process";
import test from "ava";
import { userCacheFolder } from "../../src/util/cache-folder.js";

const absolute = path.resolve("cache");

test("the cache is in XDG_CACHE_HOME, unless that is unset or not absolute", (t) => {
    t.is(userCacheFolder({ XDG_CACHE_HOME: absolute }), path.join(absolute, "node-llama-cpp-armt"));
    const usual = path.join(os.homedir(), ".cache", "node-llama-cpp-armt");
    t.is(userCacheFolder({}), usual);
    t.is(userCacheFolder({ XDG_CACHE_HOME: "cache" }), usual);
});

test.serial("an empty HOME does not put the cache into the current folder", (t) => {
    const { HOME } = process.env;
    t.teardown(() => {
        if (HOME === undefined) delete process.env.HOME;
        else process.env.HOME = HOME;
    });
    process.env.HOME = "";
    t.true(path.isAbsolute(userCacheFolder({})));
});
