"""Everything that does not change from stream to stream: prose, word lists, the recall task's words."""

import json
import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from armt_train.data.corpus import HELD_OUT_EVERY, sentences
from armt_train.tasks.cloze import kinds_of
from armt_train.tasks.values import Words

REPOSITORY = Path(__file__).parents[3]
SETTINGS = ("folder", "task", "own")
TEXT_FILES = (".txt", ".md")
CHAPTER = 6000  # characters of a chapter of the user's own text, about
LONGEST = 300  # characters of a sentence of it, about


class Corpus:
    """Both splits. Settings: `folder` (what `armt-train corpus` wrote; default: train/data of the repository), `task`
    (default: assets/recall/task.json), and `own`, the user's own: JSON Lines files of {"text", "question", "answer"} or
    {"messages"}, and folders of text (.txt, .md), of which every eighth chapter is held out.
    """

    def __init__(self, tokenizer, settings):
        unknown = set(settings) - set(SETTINGS)
        if unknown:
            raise ValueError(f'data: unknown key "{sorted(unknown)[0]}"; known are {", ".join(SETTINGS)}')
        folder = Path(settings.get("folder") or REPOSITORY / "train" / "data")
        task = Path(settings.get("task") or REPOSITORY / "assets" / "recall" / "task.json")
        words = folder / "words.json"
        if not words.is_file():
            raise ValueError(
                f"{words} is missing; `armt-train corpus --out {folder}` writes it (data.folder names the folder)"
            )
        lists = json.loads(words.read_text())
        task = json.loads(task.read_text())
        own = [Path(place) for place in settings.get("own", [])]
        self.own = [fact for place in own if not place.is_dir() for fact in read_own(place)]
        chapters = [chapter for place in own if place.is_dir() for chapter in read_folder(place)]
        held = lambda i: i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        self.train, self.heldOut = (
            Texts(
                tokenizer,
                split,
                folder,
                task,
                lists,
                [chapter for i, chapter in enumerate(chapters) if held(i) == (split == "heldOut")],
            )
            for split in ("train", "heldOut")
        )


class Texts:
    """One split."""

    def __init__(self, tokenizer, split, folder, task, lists, own):
        self.split, self.tokenizer = split, tokenizer
        names = task["names"]
        held = lambda i, j: (i + j) % names["heldOutEvery"] == 0
        self.names = [
            s + e
            for i, s in enumerate(names["stems"])
            for j, e in enumerate(names["endings"])
            if held(i, j) == (split == "heldOut")
        ]
        self.lists, self.kinds = task["lists"], task["kinds"]
        self.before, self.after = task["answer"]["before"], task["answer"]["after"]
        self.words = Words(split, lists[split], lists["train"])
        # of both splits' words: a sentence of the check may have had any word in the place of the answer
        self.kinds_of = kinds_of(
            {name: lists["train"][name] + lists["heldOut"].get(name, []) for name in lists["train"]}
        )
        file = folder / f"prose-{split}.txt.xz"
        if not file.is_file():
            raise ValueError(
                f"{file} is missing; `armt-train corpus --out {folder}` writes it (data.folder names the folder)"
            )
        # a passage is a paragraph of at least two sentences that fit a segment
        chapters = lzma.decompress(file.read_bytes()).decode().split("\n\n")
        self.chapters = [
            found for found in ([p for p in chapter.split("\n") if len(p) > 60] for chapter in chapters) if found
        ]
        if not self.chapters:
            raise ValueError(f"{file} has no paragraph of prose")
        self.own = own

    def passage(self, rng, own_text=0.0):
        """Sentences of some paragraphs in a row, with probability `own_text` of the user's text, if any."""
        if self.own and rng.random() < own_text:
            chapter = rng.choice(self.own)
            start = rng.randrange(len(chapter))
            return [s for paragraph in chapter[start : start + rng.randint(1, 4)] for s in paragraph]
        chapter = rng.choice(self.chapters)
        start = rng.randrange(len(chapter))
        found = []
        for paragraph in chapter[start : start + rng.randint(1, 4)]:
            found.append(sentences(paragraph))
        return [s for paragraph in found for s in paragraph]


@dataclass(frozen=True)
class OwnFact:
    """A fact out of a user's file. `chat`: the messages before the question, for a base with a chat template; `text`
    has their contents.
    """

    text: str
    question: str
    answer: str
    chat: tuple = ()


def read_own(file):
    """Lines of {"text", "question", "answer"}, or of {"messages": [{"role", "content"}, ...]}: the last two messages
    are question and answer, and those before are the text.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"data.own: cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"data.own: {file} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    facts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            facts.append(
                chat_fact(record["messages"])
                if "messages" in record
                else OwnFact(*(str(record[key]) for key in ("text", "question", "answer")))
            )
        except (ValueError, KeyError, TypeError) as error:
            reason = f" ({error})" if isinstance(error, ChatError) else ""
            raise ValueError(
                f"data.own: {file}, line {number}: an object with text, question and answer, or with messages, is "
                f"expected{reason}"
            ) from error
    if not facts:
        raise ValueError(f"data.own: {file} is empty")
    return facts


class ChatError(ValueError):
    """A chat that is not a question about what stands before it."""


def chat_fact(messages):
    chat = [{"role": str(message["role"]), "content": str(message["content"])} for message in messages]
    if [message["role"] for message in chat[-2:]] != ["user", "assistant"]:
        raise ChatError("messages end with a user's question and the assistant's answer")
    *before, question, answer = chat
    if not any(message["role"] != "system" for message in before):
        raise ChatError("messages before the question hold what it asks about; there are none")
    text = "\n".join(message["content"] for message in before)
    return OwnFact(text, question["content"], answer["content"], tuple(before))


def read_folder(folder):
    """Chapters of a folder's text files: lists of paragraphs, which are lists of sentences."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in TEXT_FILES and file.is_file())
    if not files:
        raise ValueError(f"data.own: {folder} has no text ({', '.join(TEXT_FILES)})")
    chapters = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"data.own: cannot read {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"data.own: {file} is not UTF-8 text ({error.reason} at byte {error.start})") from error
        chapter, size = [], 0
        for paragraph in re.split(r"\n\s*\n", text):
            paragraph = " ".join(paragraph.split())
            found = [part for s in re.split(r"(?<=[.?!])\s+", paragraph) for part in parts_of(s)]
            if not found:
                continue
            chapter.append(found)
            size += len(paragraph)
            if size > CHAPTER:
                chapters.append(chapter)
                chapter, size = [], 0
        if chapter:
            chapters.append(chapter)
    if not chapters:
        raise ValueError(f"data.own: the files of {folder} are empty")
    return chapters


def parts_of(sentence):
    """A sentence in pieces of at most about LONGEST characters, cut between words."""
    return re.findall(rf"\S.{{0,{LONGEST}}}(?=\s|$)|\S{{{LONGEST + 1}}}", sentence)
