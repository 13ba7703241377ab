"""Small real models for tests: an embedder that hashes words, a chat model that says what it is told to."""

import hashlib
import threading

import numpy as np

from mainspring.data.sources import Source
from mainspring.knowledge import sentences
from mainspring.schema import Delta, Reply, Sampling, Usage

NOTES = {
    "tea.md": "# Tea\n\nGreen tea is steeped at 80 degrees. It tastes of grass.\n\n"
    "## Storage\n\nKeep tea in a tin box.\n",
    "rail.md": "# Rail\n\nThe night train leaves Vienna at 21:40. A sleeper ticket costs 59 euros.\n",
    "bread.rst": "Bread\n=====\n\nRye bread rests for two days.\n\n"
    "Recipe::\n\n    flour 500 g\n    water 350 g\n",
}


class HashEmbedder:
    """Every stem has its own random direction; a text is the unit sum of its stems."""

    def __init__(self, width: int = 64, name: str = "hash") -> None:
        self.name = name
        self.width = width
        self.fingerprint = f"{name}-{width}"
        self.texts: list[str] = []

    def embed(self, texts, *, advance=None):
        self.texts += texts
        vectors = np.zeros((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            for term in sentences.terms(text):
                seed = int.from_bytes(hashlib.sha256(term.encode()).digest()[:4], "big")
                vectors[row] += np.random.default_rng(seed).standard_normal(self.width)
            vectors[row, 0] += 1e-3
            vectors[row] /= np.linalg.norm(vectors[row])
        if advance:
            advance(len(texts))
        return vectors


class ScriptedModel:
    """Answers with the next text of its script, in deltas of a few characters from a thread of its own."""

    def __init__(self, *script: str, step: int = 3) -> None:
        self.name = "scripted"
        self.default_sampling = Sampling()
        self.script = list(script)
        self.step = step
        self.conversations = []
        self.hold = threading.Event()
        self.hold.set()

    def start(self, messages, sampling, sink=None, *, ask=None):
        self.conversations.append(tuple(messages))
        return _Speech(self.script.pop(0), self.step, sink, self.hold)

    def reply(self, messages, sampling):
        return self.start(messages, sampling).wait()

    def replies(self, conversations, sampling):
        return [self.reply(messages, sampling) for messages in conversations]


class _Speech:
    prompt_ids = (1, 2, 3)

    def __init__(self, text, step, sink, hold) -> None:
        self.text, self.step, self.sink, self.hold = text, step, sink or (lambda _: None), hold
        self.is_cancelled = False
        self.thread = threading.Thread(target=self._speak, daemon=True)
        self.thread.start()

    def _speak(self):
        said = ""
        for start in range(0, len(self.text), self.step):
            if self.is_cancelled:
                break
            piece = self.text[start : start + self.step]
            said += piece
            self.sink(Delta(text=piece))
            if not self.hold.is_set():
                self.hold.wait(5)
        reason = "cancelled" if self.is_cancelled else "stop"
        usage = Usage(prompt_tokens=3, completion_tokens=len(said))
        self.done = Reply(
            text=said,
            ids=tuple(map(ord, said)),
            prompt_ids=self.prompt_ids,
            finish_reason=reason,
            usage=usage,
            attributes={"model": "scripted"},
        )
        self.sink(Delta(reply=self.done))

    def cancel(self):
        self.is_cancelled = True

    def wait(self):
        self.thread.join()
        return self.done


def sources(notes=NOTES):
    formats = {"md": "markdown", "rst": "rst", "txt": "plain"}
    return [
        Source(name=name, format=formats[name.rpartition(".")[2]], data=text.encode())
        for name, text in notes.items()
    ]
