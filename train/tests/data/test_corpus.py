import argparse
import json
import lzma
import struct
import zlib

import pytest

from armt_train.data import corpus, prose
from armt_train.data.corpus import sentences
from armt_train.data.prose import Source, blocks, by_heading, html_paragraphs, is_prose, r_character_vectors
from armt_train.errors import TrainError

SENTENCE = (
    "The {} keeper of the old lighthouse climbed the stairs each evening and lit the lamp before the ships came in. "
)


def paragraph(word):
    return (SENTENCE.format(word) * 2 + SENTENCE.format("same").rstrip()).strip()


def test_prose_is_told_from_tables_code_and_headings():
    assert is_prose(paragraph("first"))
    for text in (
        "CHAPTER XII. " * 12,
        "x = foo(bar[3]); return {a: 1} | b << 2; # " * 5,
        "1.5 2.5 3.5 4.5 " * 12 + "end.",
        "Too short.",
    ):
        assert not is_prose(text.strip()), text


def test_html_gives_its_paragraphs_without_code():
    page = "<p>One &amp; two</p><pre>code()</pre><ul><li>three</li></ul><script>var x</script>"
    assert html_paragraphs(page) == ["One & two", "three"]


def test_chapters_begin_at_headings():
    assert by_heading("Title\n\nCHAPTER I\n\nAa\nbb\n\nCc\n\nChapter 2\n\nDd") == [
        ["Title"],
        ["Aa bb", "Cc"],
        ["Dd"],
    ]
    assert blocks("a\nb\n\nc") == ["a b", "c"]


def test_texts_of_an_r_data_base_are_read(tmp_path):
    def record(lines):
        raw = b"X\n" + b"".join(b"\x00\x04\x00\x09" + struct.pack(">i", len(s)) + s.encode() for s in lines)
        return struct.pack(">I", len(raw)) + zlib.compress(raw)

    file = tmp_path / "Rdata.rdb"
    file.write_bytes(record(["EMMA", "", "By Jane Austen"]) + record(["Persuasion", "two"]))
    assert r_character_vectors(file) == ["EMMA\n\nBy Jane Austen", "Persuasion\ntwo"]


def test_sentences_end_where_a_new_one_begins():
    text = "He went to the U.S. in spring. Then he came back at once! And what did he bring home? nothing"
    assert sentences(text) == ["He went to the U.S. in spring.", "Then he came back at once!"]


@pytest.fixture
def made(tmp_path, monkeypatch):
    chapters = [[paragraph(f"n{c}x{i}") for i in range(3)] for c in range(16)]
    book = [[paragraph(f"book{c}x{i}") for i in range(8)] for c in range(8)]
    sources = (
        Source(
            "Text",
            (("npm", "text"),),
            "public domain",
            lambda folders: [*chapters, [*book[0], paragraph("other"), paragraph("more")]],
        ),
        Source("Book", (("npm", "book"),), "public domain", lambda folders: book, book="book"),
    )
    monkeypatch.setattr(corpus, "SOURCES", sources)
    monkeypatch.setattr(corpus, "fetch", lambda registry, package, folder: (folder, "1.0"))
    monkeypatch.setattr(corpus, "make_vocabulary", lambda cache, kept: {"train": {}, "heldOut": {}})
    return tmp_path, chapters, book


def run(folder):
    parser = argparse.ArgumentParser()
    corpus.add_arguments(parser)
    corpus.run(parser.parse_args(["--out", str(folder)]))
    return {
        name: lzma.decompress((folder / f"prose-{name}.txt.xz").read_bytes()).decode() for name in ("train", "heldOut")
    }


def test_chapters_are_split_and_a_book_is_kept_apart(made):
    folder, chapters, book = made
    text = run(folder)
    assert chapters[0][0] in text["heldOut"] and chapters[8][2] in text["heldOut"]
    assert all(p in text["train"] for c in (1, 7, 9, 15) for p in chapters[c])
    assert not any(line in text["heldOut"] for line in text["train"].split("\n") if line)
    # a paragraph of the book that another text has too is trained on nowhere
    assert not any(p in text["train"] + text["heldOut"] for chapter in book for p in chapter)
    assert book[3][2] in (folder / "books" / "book.txt").read_text()
    report = json.loads((folder / "sources.json").read_text())
    assert {entry["name"]: entry["license"] for entry in report} == {"Text": "public domain", "Book": "public domain"}
    assert report[0]["characters"] > report[0]["heldOut"] > 0


def test_a_source_without_prose_is_named(made, monkeypatch):
    monkeypatch.setattr(corpus, "SOURCES", (Source("Empty", (("npm", "x"),), "MIT", lambda folders: [["short"]]),))
    with pytest.raises(TrainError, match="Empty: no prose"):
        run(made[0])


def test_books_of_the_test_are_in_no_source_of_training():
    books = [s for s in prose.SOURCES if s.book]
    assert len(books) == 3
    assert not {s.name for s in books} & {s.name for s in prose.SOURCES if not s.book}
