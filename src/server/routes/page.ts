import { fileURLToPath } from "node:url";
import express, { type RequestHandler } from "express";

/** The page at `/`: files as they are in the sources, so that there is nothing to build. */
export function page(): RequestHandler {
    const folder = fileURLToPath(new URL("../../../../src/server/page/", import.meta.url));
    return express.static(folder, { index: "index.html", dotfiles: "ignore", cacheControl: false });
}
