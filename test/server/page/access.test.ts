import { createRequire } from "node:module";
import type { ExecutionContext } from "ava";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { inBrowser, openPage } from "../../helpers/browser.js";
import { screenshot } from "../../helpers/browser-driver.js";
import { until } from "../../helpers/until.js";

const axe: { source: string } = createRequire(import.meta.url)("axe-core");

const book = Array.from({ length: 40 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.\n`).join("");
const document = { name: "a-book-with-a-rather-long-name-without-spaces.txt", mimeType: "text/plain" };
const markdown =
    "# Rooms\n\nThe **lamp** is in the [kitchen](https://example.com).\n\n" +
    "```ts\nconst room = rooms.find((one) => one.things.includes('the lamp, which nobody has moved since')) ?? kitchen;\n```\n\n" +
    "| thing | room |\n| --- | --- |\n| lamp | `kitchen` |\n\n- one\n- two\n";
const scripted = {
    special: ["<|user|>", "<|assistant|>"],
    template: "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}{{ '<|assistant|>' }}",
    script: [["<|assistant|>", markdown, "<eos>"]]
};

async function focused(page: Page): Promise<string> {
    return await page.evaluate("document.activeElement.id || document.activeElement.textContent");
}

async function noFinding(t: ExecutionContext, page: Page, state: string): Promise<void> {
    await page.evaluate(axe.source);
    const { violations } = (await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")) as AxeResults;
    t.deepEqual(
        violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html) })),
        [],
        state
    );
}

async function overflow(page: Page): Promise<number> {
    return await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
}

inBrowser("the page works with the keyboard alone", async (t) => {
    const { page, server, problems } = await openPage(t);
    await page.getByText(/segments of 64 tokens/).waitFor();
    t.false(await page.getByText("API key").isVisible(), "this server needs none");
    await page.getByLabel(/Drop texts/).setInputFiles([
        { ...document, name: "one.txt", buffer: Buffer.from(book) },
        { ...document, name: "two.txt", buffer: Buffer.from(book) }
    ]);
    await page.getByText(/two.txt is ready/).waitFor();
    await page.keyboard.press("Tab");
    await page.locator("body").press("Home");
    await page.locator(".skip").focus();
    await page.keyboard.press("Enter");
    t.is(await focused(page), "question");
    await page.keyboard.type("Hello");
    await page.keyboard.press("Tab");
    t.is(await focused(page), "send");
    await page.keyboard.press("Enter");
    await until(() => server.engine.pool.busy === 1, "an answer is being written");
    await page.keyboard.press("Escape");
    await until(() => server.engine.pool.busy === 0, "Escape stopped it");
    t.is(await page.locator("#status").textContent(), "Stopped.");

    // arrows choose a document
    await page.getByRole("radio", { name: "two.txt" }).focus();
    await page.keyboard.press("ArrowUp");
    t.is(await page.locator("#subject").textContent(), "About one.txt");
    await page.keyboard.press("Tab");
    t.is(await focused(page), "Save");
    await page.keyboard.press("Tab");
    page.once("dialog", (dialog) => void dialog.accept());
    await page.keyboard.press("Enter");
    await page.getByText("one.txt is deleted.").waitFor();
    t.is(server.registry.count, 1);

    await page.locator("#open-settings").focus();
    await page.keyboard.press("Enter");
    t.is(await focused(page), "setting-temperature");
    await page.keyboard.type("0.5");
    await page.keyboard.press("Escape");
    t.false(await page.locator("#settings").isVisible());
    t.is(await focused(page), "open-settings");
    t.deepEqual(problems, []);
});

for (const colorScheme of ["light", "dark"] as const)
    inBrowser(`axe finds nothing on the page in any state, in ${colorScheme} colours`, async (t) => {
        const { page, problems } = await openPage(t, { tiny: scripted }, { colorScheme });
        await page.getByText(/segments of 64 tokens/).waitFor();
        await noFinding(t, page, "start");
        await page.getByLabel(/Drop texts/).setInputFiles([
            { ...document, buffer: Buffer.from(book) },
            { ...document, name: "paper.pdf", buffer: Buffer.from("%PDF-1.7") }
        ]);
        await page.locator(".failed").waitFor();
        await noFinding(t, page, "documents");
        await page.locator("#question").fill("Where is the lamp?");
        await page.locator("#question").press("Enter");
        await page.getByText(/Answer done/).waitFor();
        await noFinding(t, page, "answered");
        await screenshot(page, `markdown-${colorScheme}`);
        await page.getByRole("button", { name: "Edit this question" }).click();
        await noFinding(t, page, "editing");
        await page.getByRole("button", { name: "New chat" }).click();
        await page.getByText("Earlier chats").click();
        await noFinding(t, page, "earlier chats");
        await page.getByRole("button", { name: "Settings" }).click();
        await noFinding(t, page, "settings");
        await screenshot(page, `settings-${colorScheme}`);
        t.deepEqual(problems, []);
    });

inBrowser("the page fits a width of 375 pixels in every state", async (t) => {
    const viewport = { width: 375, height: 812 };
    const { page } = await openPage(t, { tiny: scripted }, { viewport, colorScheme: "dark" });
    await page.getByText(/segments of 64 tokens/).waitFor();
    t.true((await overflow(page)) <= 0);
    await page.getByLabel(/Drop texts/).setInputFiles({ ...document, buffer: Buffer.from(book) });
    await page.getByText(/is ready/).waitFor();
    await page.locator("#question").fill("Where is the lamp?".repeat(10));
    await page.locator("#question").press("Enter");
    await page.getByText(/Answer done/).waitFor();
    t.true((await overflow(page)) <= 0);
    await screenshot(page, "narrow");
    await page.getByRole("button", { name: "New chat" }).click();
    await page.getByText("Earlier chats").click();
    t.true((await page.evaluate("chats.scrollWidth - chats.clientWidth")) === 0, "no button of a chat is cut off");
    await page.getByRole("button", { name: "Settings" }).click();
    t.true((await overflow(page)) <= 0);
    await noFinding(t, page, "narrow");
});

inBrowser("the page asks for a key if the server requires one", async (t) => {
    const { page, problems } = await openPage(t, { apiKeys: ["open sesame"] });
    await page.getByText("not connected").waitFor();
    await page.getByLabel(/Key, kept/).fill("wrong");
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByText(/The API key is missing or wrong\. Enter it/).waitFor();
    await page.getByLabel(/Key, kept/).fill("open sesame");
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByText(/segments of 64 tokens/).waitFor();
    await page.reload();
    await page.getByText(/segments of 64 tokens/).waitFor();
    t.true(await page.getByText("API key").isVisible(), "it can be changed");
    // as in a new tab
    await page.evaluate("sessionStorage.clear()");
    await page.reload();
    await page.getByLabel(/Key, kept/).waitFor();
    t.deepEqual(problems, []);
});
