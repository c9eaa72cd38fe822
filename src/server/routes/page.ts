import { fileURLToPath } from "node:url";
import express, { type RequestHandler } from "express";

/** Libraries that the page imports. They come from the installed packages, so that the page works offline. */
const libraries = { "/vendor/marked.js": "marked", "/vendor/dompurify.js": "dompurify" };

/** The page at `/`: files as they are in the sources, so that there is nothing to build. */
export function page(): RequestHandler {
    const folder = fileURLToPath(new URL("../../../../src/server/page/", import.meta.url));
    const router = express.Router();
    router.use(express.static(folder, { index: "index.html", dotfiles: "ignore", cacheControl: false }));
    for (const [route, name] of Object.entries(libraries)) {
        const file = fileURLToPath(import.meta.resolve(name));
        router.get(route, (_request, response) => {
            response.type("text/javascript");
            response.sendFile(file, { dotfiles: "allow", cacheControl: false });
        });
    }
    return router;
}
