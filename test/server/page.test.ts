import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import type { ExecutionContext } from "ava";
import { type Browser, chromium, type Page } from "playwright-core";
import { testWith } from "../helpers/needs.js";
import { repositoryRoot } from "../helpers/repository.js";
import { startServer, type TestServerOptions } from "../helpers/server.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { until } from "../helpers/until.js";

const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"].find(
    (file) => file !== undefined && existsSync(file)
);

const inBrowser = testWith({
    needs: "Chromium in /usr/bin, or its path in CHROMIUM",
    available: executablePath !== undefined,
    inCi: true
});

/** Where screenshots are left for people to look at. */
const screenshots = path.join(repositoryRoot, "coverage", "page");

const book = Array.from({ length: 400 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.\n`).join("");

async function open(t: ExecutionContext, options: TestServerOptions = {}, more: object = {}) {
    const running = await startServer(t, options);
    const browser: Browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    t.teardown(() => browser.close());
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...more });
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => {
        if (message.type() === "error" && !message.text().includes("401")) problems.push(message.text());
    });
    const foreign: string[] = [];
    page.on("request", (request) => {
        if (!request.url().startsWith(running.url) && !request.url().startsWith("data:")) foreign.push(request.url());
    });
    await page.goto(running.url);
    return { ...running, page, problems, foreign };
}

async function screenshot(page: Page, name: string): Promise<void> {
    mkdirSync(screenshots, { recursive: true });
    await page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true });
}

inBrowser("the page reads a document with a live bar and picture, and answers a question on it", async (t) => {
    const { page, server, problems, foreign } = await open(t, { tiny: { layers: 4 } });
    await page.getByText(/segments of 64 tokens/).waitFor();
    const file = path.join(temporaryFolder(t), "book.txt");
    writeFileSync(file, book.repeat(4));
    const seen = new Set<string>();
    const watching = setInterval(
        () =>
            void page
                .locator("#cells")
                .getAttribute("aria-label")
                .then((text) => seen.add(text ?? ""))
                .catch(() => {}),
        50
    );
    await page.getByLabel(/Drop a text here/).setInputFiles(file);
    await page.locator("#bar").evaluate(
        (bar) =>
            new Promise<void>((resolve) => {
                const timer = setInterval(() => {
                    if ((bar as unknown as { value: number }).value <= 0.2) return;
                    clearInterval(timer);
                    resolve();
                }, 10);
            })
    );
    await screenshot(page, "reading");
    await page.getByText(/tokens read once/).waitFor();
    clearInterval(watching);
    t.true(seen.size >= 3, "the picture changes while the document is read");
    const [memory] = server.registry.list();
    t.is(memory!.name, "book.txt");
    t.is(await page.locator("#tokens").textContent(), new Intl.NumberFormat("en").format(memory!.snapshot.tokensRead));

    await page.getByLabel("Tokens at most").fill("24");
    await page.getByLabel("Question").fill("Where is the lamp?");
    await page.keyboard.press("Enter");
    await page.getByText(/Answer done/).waitFor();
    const cached = new Intl.NumberFormat("en").format(memory!.snapshot.tokensRead);
    t.regex((await page.locator("#status").textContent())!, new RegExp(`${cached} of them not read again`));
    t.is(await page.locator("#log li").count(), 2);
    await screenshot(page, "answered");
    await page.getByRole("button", { name: "Forget it" }).click();
    await until(() => server.registry.count === 0, "the memory is gone");
    t.deepEqual(problems, []);
    t.deepEqual(foreign, []);
});

inBrowser("the page works with the keyboard alone, and everything that can be used has a name", async (t) => {
    const { page, server } = await open(t);
    await page.getByText(/segments of 64 tokens/).waitFor();
    const nameless = await page.evaluate(() => {
        const { document } = globalThis as unknown as {
            document: {
                querySelectorAll(query: string): Iterable<{
                    labels?: { length: number };
                    textContent: string;
                    id: string;
                    getAttribute(name: string): string | null;
                }>;
            };
        };
        return [...document.querySelectorAll("button, input, textarea, canvas, progress")]
            .filter(
                (one) =>
                    !one.labels?.length &&
                    one.textContent.trim() === "" &&
                    !one.getAttribute("aria-label") &&
                    !one.getAttribute("aria-labelledby")
            )
            .map(({ id }) => id);
    });
    t.deepEqual(nameless, []);
    const focused = () =>
        page.evaluate(
            () =>
                (globalThis as unknown as { document: { activeElement: { id: string; tagName: string } } }).document
                    .activeElement.id
        );
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    t.is(await focused(), "question");
    await page.keyboard.type("Hello");
    await page.keyboard.press("Tab");
    t.is(await focused(), "length");
    await page.keyboard.type("100000");
    await page.keyboard.press("Tab");
    t.is(await focused(), "send");
    await page.keyboard.press("Enter");
    await until(() => server.engine.pool.busy === 1, "an answer is being written");
    await page.keyboard.press("Escape");
    await until(() => server.engine.pool.busy === 0, "Escape stopped it");
    t.is(await page.locator("#status").textContent(), "Stopped.");
});

inBrowser("the page asks for a key if the server requires one, and fits a narrow dark screen", async (t) => {
    const { page } = await open(
        t,
        { apiKeys: ["open sesame"] },
        { viewport: { width: 390, height: 844 }, colorScheme: "dark" }
    );
    await page.getByLabel(/Key, kept/).fill("open sesame");
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByText(/segments of 64 tokens/).waitFor();
    const overflow = await page.evaluate(() => {
        const { document } = globalThis as unknown as {
            document: { documentElement: { scrollWidth: number; clientWidth: number } };
        };
        return document.documentElement.scrollWidth - document.documentElement.clientWidth;
    });
    t.true(overflow <= 0);
    await screenshot(page, "narrow");
});
