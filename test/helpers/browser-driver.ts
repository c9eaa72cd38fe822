import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import type { Page } from "playwright-core";
import { repositoryRoot } from "./repository.js";

export const chromiumPath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"].find(
    (file) => file !== undefined && existsSync(file)
);

/** What a page must not do. */
export type Watched = {
    /** Exceptions and errors of the browser's console. */
    problems: string[];
    /** Requests to other servers. */
    foreign: string[];
};

/** How long the page may take, generous, since the machine may be busy with other tests. Unit: milliseconds. */
export const patience = 120_000;

/** A refused request, which the page shows; and a header that browsers heed only on HTTPS and on this machine. */
const harmless = /^(Failed to load resource|The Cross-Origin-Opener-Policy header has been ignored)/;

/** Collects what a page must not do. */
export function watch(page: Page, url: string): Watched {
    const problems: string[] = [];
    const foreign: string[] = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => {
        if (message.type() === "error" && !harmless.test(message.text())) problems.push(message.text());
    });
    page.on("request", (request) => {
        if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) foreign.push(request.url());
    });
    return { problems, foreign };
}

/** Waits until an expression is true in the page. Its security policy forbids playwright's own way. */
export async function untilTrue(page: Page, expression: string): Promise<void> {
    const end = performance.now() + patience;
    while (!(await page.evaluate(expression))) {
        if (performance.now() > end) throw new Error(`not within ${patience} ms: ${expression}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

/** A picture for people to look at, in `coverage/page/`. */
export async function screenshot(page: Page, name: string): Promise<void> {
    const folder = path.join(repositoryRoot, "coverage", "page");
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}

/**
 * Drops files on an element, as a user's mouse does.
 * @returns whether the page took them; otherwise the browser would show the file instead of the page
 */
export async function dropFiles(
    page: Page,
    selector: string,
    files: readonly { readonly name: string; readonly text: string }[]
): Promise<boolean> {
    const data = await page.evaluateHandle(`(() => {
        const data = new DataTransfer();
        for (const { name, text } of ${JSON.stringify(files)}) data.items.add(new File([text], name));
        return data;
    })()`);
    await page.dispatchEvent(selector, "dragover", { dataTransfer: data });
    await page.evaluate(
        `window.taken = new Promise((resolve) =>
            addEventListener("drop", ({ defaultPrevented }) => resolve(defaultPrevented), { once: true }));
        undefined`
    );
    await page.dispatchEvent(selector, "drop", { dataTransfer: data });
    return (await page.evaluate("window.taken")) as boolean;
}
