"""Events as records: lines of a log, tables, JSON and others. Labels stand for the roles, in the order of the event."""

from armt_train.tasks.contexts import capital

LABELS = {
    "S": ("who", "name", "by", "person"),
    "O": ("what", "object", "item"),
    "=": ("as", "result"),
    "because": ("why", "reason", "cause"),
    "with": ("with",),
    "for": ("for",),
    "to": ("to", "destination"),
    "from": ("from", "source"),
    "in": ("in", "where"),
}


def label(role, noun, rng):
    if noun.kind in ("date", "year", "time"):
        return rng.choice(("when", noun.kind))
    if role == "S" and noun.kind != "person":
        return rng.choice((noun.kind, "what"))
    return rng.choice(LABELS.get(role, (role,)))


def record(event, rng, held):
    """The event as a record of some kind."""
    verb = event.verb
    what = event.frame.object.strip('"') if event.frame.object and "O" not in event.nouns else ""
    pairs = [(label(role, noun, rng), noun.text) for role, noun in event.nouns.items()]
    act = " ".join(part for part in (verb.past, what, event.frame.tail) if part)
    kind = rng.choice(("pairs", "log", "table", "json", "csv", "arrow") if not held else ("yaml", "xml", "table"))
    if kind == "pairs":
        return f"{capital(act)} ({'; '.join(f'{k}: {v}' for k, v in pairs)})"
    if kind == "log":
        stamp = f"{rng.randint(2001, 2025)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        return f"{stamp} {verb.base.upper()} " + " ".join(f'{k}="{v}"' for k, v in pairs)
    if kind == "table":
        return f"| {' | '.join(['', *(k for k, _ in pairs)]).strip()} |\n| {act} | {' | '.join(v for _, v in pairs)} |"
    if kind == "json":
        return "{" + ", ".join(f'"{k}": "{v}"' for k, v in [("action", act), *pairs]) + "}"
    if kind == "csv":
        return ", ".join(["action", *(k for k, _ in pairs)]) + "\n" + ", ".join([act, *(v for _, v in pairs)])
    if kind == "yaml":
        return f"{verb.base.replace(' ', '_')}:\n" + "\n".join(f"  {k}: {v}" for k, v in pairs)
    if kind == "xml":
        return f"<{verb.base.split()[0]} " + " ".join(f'{k}="{v}"' for k, v in pairs) + "/>"
    return f"{act}: " + " -> ".join(f"{k} {v}" for k, v in pairs)
