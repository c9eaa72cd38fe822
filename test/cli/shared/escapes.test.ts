import test from "ava";
import { readEscapes } from "../../../src/cli/shared/escapes.js";

test("new lines, tabs and backslashes are told apart, and all else is left alone", (t) => {
    t.is(readEscapes(String.raw`\nQ:\t{}\nA:`), "\nQ:\t{}\nA:");
    t.is(readEscapes(String.raw`C:\\new \d \u0041`), String.raw`C:\new \d \u0041`);
    t.is(readEscapes("a\nb"), "a\nb");
});
