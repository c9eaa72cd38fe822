import test from "ava";
import { names, namesAny, namesOnly } from "../../../src/eval/questions/grading.js";

test("a text names whole words, case apart", (t) => {
    t.true(names("In the Hem of the curtain", "hem"));
    t.false(names("them", "hem"));
    t.true(names("the codes are 1234567, 7654321", "7654321"));
    t.false(names("the code is 12345678", "1234567"));
    t.true(names("c++ (an odd name)", "c++"));
});

test("an answer is right when its first sentence names one of the right ones", (t) => {
    t.true(namesAny("She sewed it into the hem. Nobody knew.", ["the hem", "hem"]));
    t.false(namesAny("Nobody knew. The hem.", ["hem"]));
    t.false(namesAny("", ["hem"]));
});

test("an answer that names another part of the story is wrong, unless the question names it", (t) => {
    const all = ["Lena", "mill", "porch"];
    t.true(namesOnly("Lena is in the mill.", "mill", "Where is Lena?", all));
    t.true(namesOnly("mill", "mill", "Where is Lena?", all));
    t.false(namesOnly("in the mill or on the porch", "mill", "Where is Lena?", all));
    t.false(namesOnly("porch", "mill", "Where is Lena?", all));
});
