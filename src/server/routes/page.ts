import { fileURLToPath } from "node:url";
import express, { type RequestHandler } from "express";

/** Libraries that the page imports. They come from the installed packages, so that the page works offline. */
const libraries = { "/vendor/marked.js": "marked", "/vendor/dompurify.js": "dompurify" };

const questionForms = fileURLToPath(new URL("../../util/question-forms.js", import.meta.url));

/** The page at `/`: files as they are in the sources, and what it shares with other commands. */
export function page(): RequestHandler {
    const folder = fileURLToPath(new URL("../../../../src/server/page/", import.meta.url));
    const router = express.Router();
    router.use(express.static(folder, { index: "index.html", dotfiles: "ignore", cacheControl: false }));
    const installed = Object.entries(libraries).map(([route, name]) => [
        route,
        fileURLToPath(import.meta.resolve(name))
    ]);
    for (const [route, file] of [...installed, ["/question-forms.js", questionForms]] as [string, string][]) {
        router.get(route, (_request, response) => {
            response.type("text/javascript");
            response.sendFile(file, { dotfiles: "allow", cacheControl: false });
        });
    }
    return router;
}
