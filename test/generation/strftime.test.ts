import test from "ava";
import { strftime } from "../../src/generation/chat-template/strftime.js";

// the expected texts are those of Python 3 in its default locale
const early = new Date(2024, 0, 5, 0, 7, 9);
const late = new Date(2026, 11, 31, 13, 45, 30);

test("dates are written as Python writes them", (t) => {
    t.is(strftime(early, "%A, %d %B %Y"), "Friday, 05 January 2024");
    t.is(strftime(late, "%a %-d %b %y"), "Thu 31 Dec 26");
    t.is(strftime(early, "%-d/%-m %e %j %I:%M:%S %p"), "5/1  5 005 12:07:09 AM");
    t.is(
        strftime(late, "%c|%D|%F|%R|%T|%r"),
        "Thu Dec 31 13:45:30 2026|12/31/26|2026-12-31|13:45|13:45:30|01:45:30 PM"
    );
    t.is(strftime(early, "%U %W %u %w %C"), "00 01 5 5 20");
    t.is(strftime(late, "%U %W %j"), "52 52 365");
    t.is(strftime(early, "%f|%h|%n|%t|%X|%x|%z|"), "000000|Jan|\n|\t|00:07:09|01/05/24||");
    t.is(strftime(late, "%s"), String(late.getTime() / 1000));
    t.is(strftime(late, "100%% %Z%Q %"), "100%  %Q %".replace("  ", " "));
});
