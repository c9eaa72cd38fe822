const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const months = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December"
];

type Field = readonly [value: number, digits: number, fill?: string];

/** Numbers with the digits that they are filled up to. */
const numbers: Readonly<Record<string, (date: Date) => Field>> = {
    C: (date) => [Math.floor(date.getFullYear() / 100), 2],
    d: (date) => [date.getDate(), 2],
    e: (date) => [date.getDate(), 2, " "],
    f: (date) => [date.getMilliseconds() * 1000, 6],
    H: (date) => [date.getHours(), 2],
    I: (date) => [date.getHours() % 12 || 12, 2],
    j: (date) => [dayOfYear(date) + 1, 3],
    M: (date) => [date.getMinutes(), 2],
    m: (date) => [date.getMonth() + 1, 2],
    S: (date) => [date.getSeconds(), 2],
    s: (date) => [Math.floor(date.getTime() / 1000), 1],
    U: (date) => [Math.floor((dayOfYear(date) + 7 - date.getDay()) / 7), 2],
    u: (date) => [date.getDay() || 7, 1],
    W: (date) => [Math.floor((dayOfYear(date) + 7 - ((date.getDay() + 6) % 7)) / 7), 2],
    w: (date) => [date.getDay(), 1],
    Y: (date) => [date.getFullYear(), 4],
    y: (date) => [date.getFullYear() % 100, 2]
};

const texts: Readonly<Record<string, (date: Date) => string>> = {
    "%": () => "%",
    A: (date) => days[date.getDay()]!,
    a: (date) => days[date.getDay()]!.slice(0, 3),
    B: (date) => months[date.getMonth()]!,
    b: (date) => months[date.getMonth()]!.slice(0, 3),
    c: (date) => strftime(date, "%a %b %e %H:%M:%S %Y"),
    D: (date) => strftime(date, "%m/%d/%y"),
    F: (date) => strftime(date, "%Y-%m-%d"),
    h: (date) => strftime(date, "%b"),
    n: () => "\n",
    p: (date) => (date.getHours() < 12 ? "AM" : "PM"),
    R: (date) => strftime(date, "%H:%M"),
    r: (date) => strftime(date, "%I:%M:%S %p"),
    T: (date) => strftime(date, "%H:%M:%S"),
    t: () => "\t",
    X: (date) => strftime(date, "%T"),
    x: (date) => strftime(date, "%D"),
    // as in Python, a time without a zone
    Z: () => "",
    z: () => ""
};

/**
 * A date as Python's `strftime` writes it in English, which chat templates expect whatever the language of the system
 * is. A `-` leaves out leading zeros.
 */
export function strftime(date: Date, format: string): string {
    return format.replace(/%(-?)([A-Za-z%])/g, (directive, sign: string, letter: string) => {
        const field = numbers[letter]?.(date);
        if (field === undefined) return texts[letter]?.(date) ?? directive;
        const [value, digits, fill = "0"] = field;
        return sign === "-" ? String(value) : String(value).padStart(digits, fill);
    });
}

/** Days since the year began. */
function dayOfYear(date: Date): number {
    const year = date.getFullYear();
    return (Date.UTC(year, date.getMonth(), date.getDate()) - Date.UTC(year, 0, 1)) / 86_400_000;
}
