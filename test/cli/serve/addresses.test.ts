import type { NetworkInterfaceInfo } from "node:os";
import test from "ava";
import { browserAddresses } from "../../../src/cli/serve/addresses.js";

const common = { netmask: "", mac: "", cidr: null };
const interfaces: NodeJS.Dict<NetworkInterfaceInfo[]> = {
    lo: [{ ...common, family: "IPv4", address: "127.0.0.1", internal: true }],
    eth0: [
        { ...common, family: "IPv4", address: "192.0.2.7", internal: false },
        { ...common, family: "IPv6", address: "fe80::1", internal: false, scopeid: 2 }
    ],
    gone: undefined
};

test("a server on all addresses is found at this machine's", (t) => {
    const found = ["http://127.0.0.1:8080", "http://192.0.2.7:8080"];
    t.deepEqual(browserAddresses("http://0.0.0.0:8080", interfaces), found);
    t.deepEqual(browserAddresses("http://[::]:8080", interfaces), found);
    t.deepEqual(browserAddresses("http://0.0.0.0:80", interfaces), ["http://127.0.0.1", "http://192.0.2.7"]);
});

test("a server on one address is found there", (t) => {
    for (const url of ["http://127.0.0.1:8080", "http://192.0.2.7:8080", "http://[::1]:8080"])
        t.deepEqual(browserAddresses(url, interfaces), [url]);
});
