import { inBrowser, openPageOf } from "../../helpers/browser.js";
import { screenshot } from "../../helpers/browser-driver.js";
import { startModels } from "../../helpers/server.js";
import { until } from "../../helpers/until.js";

const book = Array.from({ length: 40 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.\n`).join("");

inBrowser("the page lets its user choose one of several models", async (t) => {
    const { url, server } = await startModels(t, { small: { layers: 1 }, large: { layers: 3 }, plain: "plain" });
    const { page, problems } = await openPageOf(t, url);
    await page.getByText("small · segments of 64 tokens").waitFor();
    t.is(server.models.stateOf("large"), "unloaded");
    await page.getByLabel("Model").selectOption("large");
    await page.getByText("large · segments of 64 tokens").waitFor();
    t.is(server.models.stateOf("large"), "loaded");
    const file = { name: "book.txt", mimeType: "text/plain", buffer: Buffer.from(book) };
    await page.getByLabel(/Drop texts/).setInputFiles(file);
    await page.getByText(/book.txt is ready/).waitFor();
    t.is(server.registry.list()[0]!.model, "large");
    await page.getByText(/read to its end · large/).waitFor();
    await screenshot(page, "models");

    // a question about the document is for the model that read it, whatever is chosen
    await page.getByLabel("Model").selectOption("small");
    await page.getByText("small · segments of 64 tokens").waitFor();
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Tokens at most").fill("4");
    await page.getByRole("button", { name: "Close" }).click();
    const models: (string | null)[] = [];
    page.on("request", (request) => {
        if (!request.url().endsWith("/v1/chat/completions")) return;
        models.push((JSON.parse(request.postData()!) as { model?: string }).model ?? null);
    });
    await page.locator("#question").fill("Where is the lamp?");
    await page.locator("#question").press("Enter");
    await page.getByText(/Answer done/).waitFor();
    await page.getByRole("radio", { name: "No document" }).check();
    await page.locator("#question").fill("Hello");
    await page.locator("#question").press("Enter");
    await until(() => models.length === 2, "two questions are asked");
    await page.getByText(/Answer done/).waitFor();
    t.deepEqual(models, [null, "small"]);

    // the choice outlives a reload, and a plain model reads no documents
    await page.getByLabel("Model").selectOption("plain");
    await page.getByText(/plain · a plain model/).waitFor();
    await page.reload();
    await page.getByText(/plain · a plain model/).waitFor();
    t.false(await page.locator("#document").isVisible());
    t.deepEqual(problems, []);
});
