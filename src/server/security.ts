import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { RequestHandler } from "express";
import { ApiError } from "./errors.js";

/** Addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
    const name = host.replace(/^\[|\]$/g, "").toLowerCase();
    return name === "localhost" || name === "::1" || (isIP(name) === 4 && name.startsWith("127."));
}

/**
 * Rejects requests that a foreign web page has made a browser send. On loopback, `Host` must name this machine;
 * otherwise a page whose name was bound to 127.0.0.1 could read answers (DNS rebinding). At any address, a request with
 * an `Origin` must come from the server's own page or from one of the allowed origins.
 * @param allowed origins such as `https://example.com`; `*` allows all
 */
export function checkOrigin(listensOnLoopback: boolean, allowed: readonly string[] = []): RequestHandler {
    return ({ headers, method }, _response, next) => {
        const { host, origin } = headers;
        // clients of HTTP/1.0 may leave it out, browsers never do
        if (listensOnLoopback && host !== undefined && !isLoopback(hostName(host)))
            throw new ApiError(403, "the Host header must name this machine, e.g. 127.0.0.1 or localhost", {
                code: "forbidden_host"
            });
        if (origin !== undefined && (allowed.includes(origin) || allowed.includes("*"))) return next();
        // a navigation shows the page to its user only, not to the page with the link
        const isLink = method === "GET" && headers["sec-fetch-mode"] === "navigate";
        const isForeignSite = !isLink && ["cross-site", "same-site"].includes(String(headers["sec-fetch-site"]));
        const foreign = origin !== undefined ? !isOwn(origin, host) : isForeignSite;
        if (foreign)
            throw new ApiError(403, "requests from other web pages are not accepted", { code: "forbidden_origin" });
        next();
    };
}

function hostName(host: string): string {
    return host.replace(/:\d+$/, "");
}

function isOwn(origin: string, host: string | undefined): boolean {
    try {
        return new URL(origin).host === host;
    } catch {
        return false;
    }
}

/**
 * Requires one of the keys, as a bearer token or in Anthropic's header. It compares hashes in constant time, so that
 * the time reveals neither a key's length nor its beginning.
 */
export function checkApiKey(keys: readonly string[]): RequestHandler {
    const hashes = keys.map(hash);
    return ({ headers }, response, next) => {
        const bearer = /^Bearer (.+)$/i.exec(headers.authorization ?? "")?.[1];
        const given = bearer ?? String(headers["x-api-key"] ?? "");
        const digest = hash(given);
        let matches = 0;
        for (const key of hashes) matches |= Number(timingSafeEqual(key, digest));
        if (matches === 0) {
            response.set("WWW-Authenticate", "Bearer");
            throw new ApiError(401, "the API key is missing or wrong; send Authorization: Bearer <key>", {
                code: "invalid_api_key"
            });
        }
        next();
    };
}

function hash(text: string): Buffer {
    return createHash("sha256").update(text).digest();
}
