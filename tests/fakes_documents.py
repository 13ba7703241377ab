"""Documents of many kinds to hold rules against: made up ones of every fault, and texts of installed packages."""

import importlib.metadata
import random

from mainspring.data.document import Document

WORDS = [
    "river", "stone", "keeper", "window", "the", "of", "and", "to", "with", "that", "have", "be",
    "morning", "paper", "small", "letter", "garden", "under", "table", "music", "year", "people",
    "great", "number", "water", "found", "between", "country", "machine", "answered", "slowly",
    "without", "island", "because",
]  # fmt: skip


def sentence(rng: random.Random, least: int = 5, most: int = 14) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randint(least, most))]
    return " ".join(words).capitalize() + rng.choice(".....!?")


def prose(rng: random.Random, sentences: int = 12, per_line: int = 3) -> str:
    each = [sentence(rng) for _ in range(sentences)]
    return "\n".join(" ".join(each[at : at + per_line]) for at in range(0, sentences, per_line))


def faulty(rng: random.Random, kind: int) -> str:
    """A text with one of the faults that the rules look for, more or less of it."""
    much = rng.random()
    lines = prose(rng, rng.randint(3, 30)).split("\n")
    many = max(1, int(much * 30))
    made = {
        0: lambda: " ".join(rng.choice(WORDS) for _ in range(int(100 * much) + 1)),
        1: lambda: "\n".join(("- " if rng.random() < 0.95 else "") + line for line in lines),
        2: lambda: "\n".join(line + ("..." if rng.random() < much else "") for line in lines),
        3: lambda: "\n".join([*lines, "#" * many, " ".join(["#tag"] * many)]),
        4: lambda: "\n".join([*lines, " ".join(str(rng.randint(1, 9999)) for _ in range(many * 3))]),
        5: lambda: "\n".join(lines + [rng.choice(lines) for _ in range(many)]),
        6: lambda: "\n\n".join([prose(rng, 3) for _ in range(5)] + [lines[0]] * rng.randint(1, 4)),
        7: lambda: "\n".join([*lines, " ".join([" ".join(WORDS[:many])] * rng.randint(2, 9))]),
        8: lambda: "\n".join([*lines, "Here function() { return 1; } is code of some kind."]),
        9: lambda: "\n".join([*lines, "And then lorem ipsum dolor sit amet was written here."]),
        10: lambda: "\n".join([*lines, "Please enable Javascript to see this page of ours.", "Home", "Menu"]),
        11: lambda: "\n".join([*lines, "This site uses cookies to make your visit much better."]),
        12: lambda: "\n".join(["ab", *lines[:2], "x" * 1200 + " is a very long word indeed."]),
        13: lambda: "\n".join(word for line in lines for word in line.split() if rng.random() < 0.8),
        14: lambda: " ".join("a" if rng.random() < much else rng.choice(WORDS) for _ in range(80)),
        15: lambda: " ".join("extraordinarily" * 2 if rng.random() < much else "of" for _ in range(80)),
        16: lambda: "\n".join(line + rng.choice(["[1]", "[edit]", ""]) for line in lines),
        17: lambda: "\n".join(line.rstrip(".!?") if rng.random() < 0.9 else line for line in lines),
        18: lambda: " ".join([rng.choice(["a b c", "b c d", "the end"]) for _ in range(many * 4)]),
    }
    return made[kind % len(made)]()


def made_up(count: int = 190, seed: int = 0) -> list[Document]:
    rng = random.Random(seed)
    return [Document(id=f"made#{at}", text=faulty(rng, at)) for at in range(count)]


def real(count: int = 40, most: int = 20_000) -> list[Document]:
    """Descriptions of installed packages: real text with lists, code, tables and badges."""
    found = {}
    for distribution in importlib.metadata.distributions():
        text = str(distribution.metadata.get_payload() or distribution.metadata["Description"] or "")
        if len(text) > 500:
            found[str(distribution.metadata["Name"])] = text[:most].replace("\r", "").strip()
    return [Document(id=name, text=found[name]) for name in sorted(found)[:count]]
