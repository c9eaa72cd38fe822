import test from "ava";
import { leadingSpaceTrimmer } from "../../../src/cli/shared/leading-space.js";

test("white space is taken from the start of a text only, however it is cut", (t) => {
    for (const pieces of [
        [" a", " b \n"],
        [" ", "\n", "a b", " ", "\n"],
        ["", " \n a b \n"]
    ]) {
        const trim = leadingSpaceTrimmer();
        t.is(pieces.map(trim).join(""), "a b \n");
    }
});
