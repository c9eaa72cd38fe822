import type { ExecutionContext } from "ava";
import { type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { chromiumPath, patience, type Watched, watch } from "./browser-driver.js";
import { testWith } from "./needs.js";
import { startServer, type TestServer, type TestServerOptions } from "./server.js";

/** A test of the page in headless Chromium. */
export const inBrowser = testWith({
    needs: "Chromium in /usr/bin, or its path in CHROMIUM",
    available: chromiumPath !== undefined,
    inCi: true
});

export type OpenPage = TestServer & Watched & { page: Page };

/** Opens the page of a server. */
export async function openPageOf(
    t: ExecutionContext,
    url: string,
    more: BrowserContextOptions = {}
): Promise<Watched & { page: Page }> {
    const browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox"] });
    t.teardown(() => browser.close());
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...more });
    page.setDefaultTimeout(patience);
    const { problems, foreign } = watch(page, url);
    await page.goto(url);
    return { page, problems, foreign };
}

/** Starts a server and opens its page. */
export async function openPage(
    t: ExecutionContext,
    options: TestServerOptions = {},
    more: BrowserContextOptions = {}
): Promise<OpenPage> {
    const running = await startServer(t, options);
    return { ...running, ...(await openPageOf(t, running.url, more)) };
}
