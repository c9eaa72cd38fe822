// Uses the page at an address that browsers do not trust like this machine's own ones, in a network namespace that has
// this address. Prints what it saw as JSON.
//
//     node lan-page-process.js <address> <model.gguf>
import { mkdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { chromium } from "playwright-core";
import { getLlama, LlamaLogLevel } from "../../plugin/index.js";
import { createApp } from "../../src/server/app.js";
import { createServer } from "../../src/server/create-server.js";
import { listen } from "../../src/server/listen.js";
import { chromiumPath, dropFiles, patience, watch } from "./browser-driver.js";
import { repositoryRoot } from "./repository.js";

const [host = "", modelPath = ""] = process.argv.slice(2);
const book = Array.from({ length: 200 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.\n`).join("");

const llama = await getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ sequences: 2, batchSize: 128, threads: 1 });
const server = createServer({ modelId: "tiny", context, apiKeys: ["open sesame"], loopback: false });
const { url } = await listen(createApp(server, "0.0.0"), { host, port: 0 }, server.limits);

const browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox"] });
const page = await browser.newPage();
page.setDefaultTimeout(patience);
const { problems, foreign } = watch(page, url);
await page.goto(url);
await page.getByLabel(/Key, kept/).fill("open sesame");
await page.getByRole("button", { name: "Use it" }).click();
await page.getByText(/segments of/).waitFor();
const isSecureContext: boolean = await page.evaluate("isSecureContext");
const taken = await dropFiles(page, "#drop", [{ name: "book.txt", text: book }]);
await page.getByText(/book.txt is ready/).waitFor();
await page.getByRole("button", { name: "Settings" }).click();
await page.getByLabel("Tokens at most").fill("8");
await page.getByRole("button", { name: "Close" }).click();
await page.locator("#question").fill("Where is the lamp?");
await page.locator("#question").press("Enter");
await page.getByText(/Answer done/).waitFor();
await page.getByRole("button", { name: "Copy this answer" }).click();
await page.getByText("Copied").waitFor();
await page.getByRole("button", { name: "New chat" }).click();
await page.locator("#question").press("Control+V");
const pasted = await page.locator("#question").inputValue();
// a random model writes no code
const chat = [
    { role: "user", content: "Code?" },
    { role: "assistant", content: "```\nlet a = 1;\n```" }
];
await page.evaluate(
    `localStorage.setItem("armt.chats", JSON.stringify([
        ...JSON.parse(localStorage.getItem("armt.chats")),
        { id: "a", messages: ${JSON.stringify(chat)} }
    ]))`
);
await page.reload();
await page.getByRole("radio", { name: "book.txt" }).waitFor();
await page.getByText("Earlier chats (2)").click();
await page.getByRole("button", { name: "Open the chat: Code?" }).click();
await page.getByRole("button", { name: "Copy the code" }).click();
await page.getByText("Copied").waitFor();
await page.locator("#question").press("Control+V");
const pastedCode = await page.locator("#question").inputValue();
await page.getByRole("button", { name: "Open the chat: Where is the lamp?" }).click();
const answer = await page.locator("#log .assistant .content").textContent();
const folder = path.join(repositoryRoot, "coverage", "page");
mkdirSync(folder, { recursive: true });
await page.screenshot({ path: path.join(folder, "lan.png"), fullPage: true });
await browser.close();
process.stdout.write(
    JSON.stringify({
        isSecureContext,
        taken,
        pasted,
        pastedCode,
        answer,
        memories: server.registry.count,
        problems,
        foreign
    })
);
process.exit(0);
