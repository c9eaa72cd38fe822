import os from "node:os";
import test from "ava";
import { availableCores } from "../../plugin/native/threads.js";

const cores = os.availableParallelism();

function withFiles(files: Record<string, string>): number {
    return availableCores((file) => {
        const content = files[file];
        if (content === undefined) throw new Error("ENOENT");
        return content;
    });
}

test("a container's quota limits the cores", (t) => {
    t.is(withFiles({ "/sys/fs/cgroup/cpu.max": "100000 100000\n" }), 1);
    t.is(
        withFiles({
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"
        }),
        1
    );
});

test("a quota below one core still gives one", (t) => {
    t.is(withFiles({ "/sys/fs/cgroup/cpu.max": "50000 100000\n" }), 1);
});

test("without a quota, or with one above the machine, all cores count", (t) => {
    t.is(withFiles({}), cores);
    t.is(withFiles({ "/sys/fs/cgroup/cpu.max": "max 100000\n" }), cores);
    t.is(withFiles({ "/sys/fs/cgroup/cpu.max": `${(cores + 1) * 100_000} 100000\n` }), cores);
    t.is(
        withFiles({
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"
        }),
        cores
    );
});
