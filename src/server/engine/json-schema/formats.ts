import { choice, literal, oneOf, type Part, repeat, sequence } from "./gbnf.js";

const digit = oneOf("0-9");
const text = literal;

const leapOfCentury = choice(
    sequence(text("0"), oneOf("48")),
    sequence(oneOf("2468"), oneOf("048")),
    sequence(oneOf("13579"), oneOf("26"))
);
const leapYear = choice(sequence(digit, digit, leapOfCentury), sequence(choice(text("00"), leapOfCentury), text("00")));
const dayTo28 = choice(
    sequence(text("0"), oneOf("1-9")),
    sequence(text("1"), digit),
    sequence(text("2"), oneOf("0-8"))
);
const dayTo30 = choice(dayTo28, text("29"), text("30"));
const monthOf30 = choice(text("04"), text("06"), text("09"), text("11"));
const monthOf31 = choice(text("01"), text("03"), text("05"), text("07"), text("08"), text("10"), text("12"));

/** RFC 3339's full-date, with the days that each month has. */
const date = choice(
    sequence(
        repeat(digit, 4, 4),
        text("-"),
        choice(
            sequence(text("02-"), dayTo28),
            sequence(monthOf30, text("-"), dayTo30),
            sequence(monthOf31, text("-"), choice(dayTo30, text("31")))
        )
    ),
    sequence(leapYear, text("-02-29"))
);

const hour = choice(sequence(oneOf("01"), digit), sequence(text("2"), oneOf("0-3")));
const minute = sequence(oneOf("0-5"), digit);

/** RFC 3339's full-time, without leap seconds. */
const time = sequence(
    hour,
    text(":"),
    minute,
    text(":"),
    minute,
    repeat(sequence(text("."), repeat(digit, 1, 9)), 0, 1),
    choice(text("Z"), sequence(oneOf("+-"), hour, text(":"), minute))
);

const hex = oneOf("0-9a-fA-F");
const times = (count: number) => repeat(hex, count, count);

/** The text between the quotes, for each supported format. */
export const formats: ReadonlyMap<string, Part> = new Map([
    ["date", date],
    ["time", time],
    ["date-time", sequence(date, text("T"), time)],
    ["uuid", sequence(times(8), text("-"), times(4), text("-"), times(4), text("-"), times(4), text("-"), times(12))]
]);
