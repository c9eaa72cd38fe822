import { networkInterfaces } from "node:os";

/**
 * The addresses at which browsers find a server: its own, or this machine's if it listens on all of them.
 * @param url where the server listens
 */
export function browserAddresses(url: string, interfaces = networkInterfaces()): string[] {
    const { hostname, port } = new URL(url);
    if (hostname !== "0.0.0.0" && hostname !== "[::]") return [url];
    const others = Object.values(interfaces)
        .flatMap((addresses) => addresses ?? [])
        .filter(({ family, internal }) => family === "IPv4" && !internal);
    // HTTP's own port is not written
    const end = port === "" ? "" : `:${port}`;
    return ["127.0.0.1", ...others.map(({ address }) => address)].map((address) => `http://${address}${end}`);
}
