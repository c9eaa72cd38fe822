"""What sentences of facts stand in: letters, lists, minutes, chats, logs, news, comments of code."""


def capital(text):
    return text[0].upper() + text[1:]


# {f}: the sentence without its full stop, {F}: with a capital; {n} {m}: somebody; {d}: a small number; {x}: another
# sentence of no account
AROUND = (
    "Dear {n}, {F}. Yours, {m}",
    "Dear {n},\n{F}. I hope that you are well.\n{m}",
    "- {F}\n- {X}",
    "- {X}\n- {F}",
    "1. {X}\n2. {F}",
    "To do: {f}",
    "Minutes, item {d}: {F}",
    "Item {d}. {F}. Agreed.",
    "[{d}:{e}] <{n}> {f}",
    "{n} ({d}:{e}): {F}",
    "{n}: {F}, by the way",
    "// {F}",
    "# {F}",
    "/* {F} */",
    "# TODO({n}): {f}",
    "Note to self: {f}",
    "({F}.)",
    "* {F}.",
    "> {F}.",
    "BREAKING: {F}",
    "News in brief: {F}. {X}",
    "From the diary of {n}: {F}",
    "Chapter {d}. {F}",
    "Tip of the day: {f}",
    "Re: your question. {F}",
    "Fwd: {F}",
    "Postcard from {n}: {F}!",
    "Voice mail, {d}:{e}: {f}",
    "{X}. {F}. {Y}",
    "{X}. {F}",
    "{F}. {X}",
    "Log entry {d}{e}: {F}",
    "Summary: {f}; {x}",
    "Reported by {n}: {f}",
    "I quote: {F}",
    "P.P.S. {F}",
    "Announcement: {F}. Thank you.",
    "Good morning! {F}. {X}",
    "According to the notice board, {f}",
    "Lost and found, entry {d}: {f}",
    "Step {d}: {x}. Remember: {f}",
    "commit by {n}: {f}",
    'Excerpt: "{F}."',
)
HELD_AROUND = (
    "{F} STOP {X} STOP",
    "Caption: {f}",
    "Memo to all staff. {F}",
    "Fig. {d}: {f}",
    "<!-- {F} -->",
    "Review by {n}: {F}. Three stars.",
    "Obituary: {f}",
)
FILLERS = (
    "the heating is off on Friday",
    "bring warm socks",
    "there is nothing else to report",
    "the keys are where they always are",
    "we will talk about it tomorrow",
    "please pass this on",
    "it has been raining for a week",
    "the rest can wait",
    "nothing else has changed",
    "the tea is cold",
    "all are well",
    "nobody was hurt",
    "the line is bad today",
    "the matter is closed",
    "the committee meets again in spring",
    "more about this below",
    "we had a good laugh",
    "I have no time to write more",
    "the post is late again",
    "the lift is still broken",
)


def around(text, rng, name, held):
    """The sentence in a context. `name()` gives somebody's name."""
    form = rng.choice(HELD_AROUND) if held and rng.random() < 0.5 else rng.choice(AROUND)
    bare = text[:-1] if text.endswith(".") else text
    x, y = rng.sample(FILLERS, 2)
    return form.format(
        f=bare,
        F=capital(bare),
        n=name(),
        m=name(),
        d=rng.randint(1, 23),
        e=f"{rng.randint(0, 59):02d}",
        x=x,
        X=capital(x),
        Y=capital(y),
    )
