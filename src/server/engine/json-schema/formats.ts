import { Automaton } from "./regular/Automaton.js";
import { Work } from "./Work.js";

const year = "(?:(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26]|00)00)-02-29|";
const days =
    "\\d{4}-(?:02-(?:0[1-9]|1\\d|2[0-8])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|" +
    "(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])))";

/** RFC 3339's full-date, with the days that each month has. */
const date = `${year}${days}`;

const minute = "[0-5]\\d";
const hour = "(?:[01]\\d|2[0-3])";

/** RFC 3339's full-time, without leap seconds. */
const time = `${hour}:${minute}:${minute}(?:\\.\\d{1,9})?(?:Z|[+-]${hour}:${minute})`;

const octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const ipv4 = `${octet}(?:\\.${octet}){3}`;
const group = "[0-9a-fA-F]{1,4}";
/** Eight groups, or fewer around the one `::`. */
const ipv6 = [
    `(?:${group}:){7}${group}`,
    ...Array.from({ length: 7 }, (_, before) => {
        const after = 6 - before;
        const left = before === 0 ? "" : `${group}(?::${group}){0,${before - 1}}`;
        return `${left}::${after === 0 ? "" : `(?:${group}(?::${group}){0,${after - 1}})?`}`;
    })
].join("|");

/** Labels without two hyphens in a row, which would have to be valid Punycode. */
const label = "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*";
/** A host whose last label no URL parser takes for a part of an address. */
const domain = `(?:${label}\\.)+[A-Za-z]{2,}`;
/** A host of a length that is surely allowed. */
const short = "[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8})?";
const hostname = `${short}(?:\\.${short})?\\.[A-Za-z]{2,6}`;

/** A dot-atom of RFC 5322 at a domain. */
const email = `[A-Za-z0-9_+](?:[-.]?[A-Za-z0-9_+])*@${domain}`;

const pathCharacter = "[A-Za-z0-9._~!$&'()*+,;=:@-]";
const queryAndFragment = `(?:\\?(?:${pathCharacter}|[/?])*)?(?:#(?:${pathCharacter}|[/?])*)?`;
/** Web addresses; a URL parser accepts all of them. */
const uri = `https?://(?:${domain}|localhost|${ipv4})(?::[1-9]\\d{0,3})?(?:/${pathCharacter}*)*${queryAndFragment}`;
/** What ajv calls a URL has a public host, and a path before a query. */
const url = `https?://${domain}(?::[1-9]\\d{1,3})?(?:(?:/${pathCharacter}*)+${queryAndFragment})?`;
const uriReference = `${uri}|(?:/${pathCharacter}+)+${queryAndFragment}`;

const weeks = "\\d{1,9}W";
const dayTime = "\\d{1,9}H(?:\\d{1,9}M)?(?:\\d{1,9}S)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S";
const dates = "\\d{1,9}Y(?:\\d{1,9}M(?:\\d{1,9}D)?)?|\\d{1,9}M(?:\\d{1,9}D)?|\\d{1,9}D";
/** RFC 3339, appendix A. */
const duration = `P(?:${weeks}|(?:${dates})(?:T(?:${dayTime}))?|T(?:${dayTime}))`;

const sources = new Map<string, string>([
    ["date", date],
    ["time", time],
    ["date-time", `${date}T${time}`],
    ["duration", duration],
    ["email", email],
    ["hostname", hostname],
    ["ipv4", ipv4],
    ["ipv6", ipv6],
    ["uri", uri],
    ["uri-reference", uriReference],
    ["url", url],
    ["iri", uri],
    ["iri-reference", uriReference],
    ["idn-email", email],
    ["idn-hostname", hostname],
    ["json-pointer", "(?:/(?:[^~/]|~[01])*)*"],
    ["uuid", "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"],
    ["base64", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"],
    ["byte", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"],
    ["password", "[\\s\\S]*"],
    ["path", "[^\\0]+"],
    ["file-path", "[^\\0]+"],
    ["directory-path", "[^\\0]+"],
    ["binary", "[\\s\\S]*"]
]);

/** Formats of JSON Schema that say more than a pattern could. */
const unsupportedFormats = new Set(["relative-json-pointer", "regex", "uri-template"]);

/** The formats whose texts a grammar can write. */
export const formatNames: readonly string[] = [...sources.keys()];

const automata = new Map<string, Automaton>();

/** The texts of a format; undefined if it is unknown. They may be fewer than the format allows. */
export function formatAutomaton(name: string): Automaton | undefined {
    const source = sources.get(name);
    if (source === undefined) return undefined;
    // made once for all requests, so that no request counts it
    const make = () => Automaton.ofPattern(`^(?:${source})$`)[0]!;
    const known = automata.get(name) ?? new Work(Number.POSITIVE_INFINITY).during(make);
    automata.set(name, known);
    return known;
}

/** Whether a format is one of texts, supported or not. */
export function isTextFormat(name: unknown): boolean {
    return typeof name === "string" && (sources.has(name) || unsupportedFormats.has(name));
}

/** Whether a format that this file does not know may be left to its pattern, as validators' own are. */
export function isOwnFormat(name: string): boolean {
    return !unsupportedFormats.has(name);
}
