"""Makes the filler prose: public-domain texts out of Debian packages, as one passage (chapter) a line.

    apt-get install bible-kjv jargon-text
    python -m armt_train.recall.corpus   # writes train/data/prose-{train,heldout}.txt and assets/recall/filler.txt.gz

Sources: the King James Bible (package bible-kjv-text; its copyright has expired) and the Jargon File (package
jargon-text; in the public domain).
Passages that training never sees are every eighth chapter; they are what `armt eval recall` and `armt demo` hide
facts in.
"""

import gzip
import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
HELD_OUT_EVERY = 8
# enough to go round for a hundred thousand tokens; the whole would double the package
HELD_OUT_CHARS_SHIPPED = 420_000


def bible_chapters():
    text = subprocess.run(
        ["bible", "-f", "Gen1:1-Rev22:21"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stdout
    chapters = {}
    for line in text.splitlines():
        where, verse = line.split(" ", 1)
        chapters.setdefault(where.split(":")[0], []).append(verse.strip())
    return [" ".join(verses) for verses in chapters.values()]


def jargon_chapters():
    text = gzip.decompress(Path("/usr/share/doc/jargon-text/jargon.txt.gz").read_bytes()).decode("latin-1")
    entries = []
    for block in re.split(r"\n\s*\n", text):
        block = " ".join(block.split())
        # plain prose only: no tables, drawings, phonetics or lists of links
        if len(block) < 120 or not block.endswith(".") or not re.fullmatch(r"[A-Za-z0-9 ,.;:'\"()?!-]+", block):
            continue
        entries.append(block)
    return [" ".join(entries[i : i + 12]) for i in range(0, len(entries), 12)]


def sentences(passage):
    """Sentences that end with a full stop, a question or an exclamation mark, of a length that fits a segment."""
    found = re.split(r"(?<=[.?!])\s+(?=[A-Z])", passage)
    return [s for s in found if 20 <= len(s) <= 300 and s[-1] in ".?!" and s.isascii()]


def main():
    passages = [" ".join(sentences(p)) for p in bible_chapters() + jargon_chapters()]
    passages = [p for p in passages if len(p) > 400]
    held_out = passages[::HELD_OUT_EVERY]
    train = [p for i, p in enumerate(passages) if i % HELD_OUT_EVERY]

    data = REPOSITORY / "train" / "data"
    data.mkdir(exist_ok=True)
    (data / "prose-train.txt").write_text("\n".join(train) + "\n")
    (data / "prose-heldout.txt").write_text("\n".join(held_out) + "\n")

    step = max(1, sum(map(len, held_out)) // HELD_OUT_CHARS_SHIPPED)
    shipped = "\n".join(held_out[::step]) + "\n"
    target = REPOSITORY / "assets" / "recall" / "filler.txt.gz"
    target.write_bytes(gzip.compress(shipped.encode(), 9, mtime=0))
    print(
        f"train {sum(map(len, train)):,} characters in {len(train)} passages, "
        f"held out {sum(map(len, held_out)):,} in {len(held_out)}, "
        f"shipped {len(shipped):,} characters as {target.stat().st_size:,} bytes"
    )


if __name__ == "__main__":
    main()
