"""Everything that does not change from stream to stream: prose, word lists, the recall task's words."""

import json
import lzma
from pathlib import Path

from armt_train.data.corpus import sentences
from armt_train.tasks.values import Words

REPOSITORY = Path(__file__).parents[3]
SETTINGS = ("folder", "task", "own")


class Corpus:
    """Both splits. Settings: `folder` (what `armt-train corpus` wrote; default: train/data of the repository), `task` (default: assets/recall/task.json), and
    `own`, JSON Lines files of {"text", "question", "answer"}."""

    def __init__(self, tokenizer, settings):
        unknown = set(settings) - set(SETTINGS)
        if unknown:
            raise ValueError(f'data: unknown key "{sorted(unknown)[0]}"; known are {", ".join(SETTINGS)}')
        folder = Path(settings.get("folder") or REPOSITORY / "train" / "data")
        task = Path(settings.get("task") or REPOSITORY / "assets" / "recall" / "task.json")
        words = folder / "words.json"
        if not words.is_file():
            raise ValueError(f"{words} is missing; `armt-train corpus --out {folder}` writes it (data.folder names the folder)")
        lists = json.loads(words.read_text())
        task = json.loads(task.read_text())
        self.own = [fact for file in settings.get("own", []) for fact in read_own(Path(file))]
        self.train, self.heldOut = (Texts(tokenizer, split, folder, task, lists) for split in ("train", "heldOut"))


class Texts:
    """One split."""

    def __init__(self, tokenizer, split, folder, task, lists):
        self.split, self.tokenizer = split, tokenizer
        names = task["names"]
        held = lambda i, j: (i + j) % names["heldOutEvery"] == 0
        self.names = [s + e for i, s in enumerate(names["stems"]) for j, e in enumerate(names["endings"]) if held(i, j) == (split == "heldOut")]
        self.lists, self.kinds = task["lists"], task["kinds"]
        self.before, self.after = task["answer"]["before"], task["answer"]["after"]
        self.words = Words(split, lists[split], lists["train"])
        file = folder / f"prose-{split}.txt.xz"
        if not file.is_file():
            raise ValueError(f"{file} is missing; `armt-train corpus --out {folder}` writes it (data.folder names the folder)")
        # a passage is a paragraph of at least two sentences that fit a segment
        chapters = lzma.decompress(file.read_bytes()).decode().split("\n\n")
        self.chapters = [found for found in ([p for p in chapter.split("\n") if len(p) > 60] for chapter in chapters) if found]
        if not self.chapters:
            raise ValueError(f"{file} has no paragraph of prose")

    def passage(self, rng):
        """Sentences of some paragraphs in a row."""
        chapter = rng.choice(self.chapters)
        start = rng.randrange(len(chapter))
        found = []
        for paragraph in chapter[start : start + rng.randint(1, 4)]:
            found.append(sentences(paragraph))
        return [s for paragraph in found for s in paragraph]


def read_own(file):
    """Lines of {"text", "question", "answer"}."""
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise ValueError(f"data.own: cannot read {file}: {error.strerror}") from error
    facts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fact = json.loads(line)
            facts.append(tuple(str(fact[key]) for key in ("text", "question", "answer")))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"data.own: {file}, line {number}: an object with text, question and answer is expected") from error
    if not facts:
        raise ValueError(f"data.own: {file} is empty")
    return facts
