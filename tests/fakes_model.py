"""A scripted model, directory and documents: small, real, and in a thread of their own, as the engine is."""

import queue
import threading
import time
from dataclasses import dataclass, field

import numpy as np

from mainspring.database import Database
from mainspring.errors import ContextLengthError, MainspringError, NotFoundError
from mainspring.events import MIGRATION, EventLog
from mainspring.gateway import drawer
from mainspring.gateway.keys import Keys
from mainspring.gateway.pipeline import Pipeline
from mainspring.infer.stats import EngineStats
from mainspring.observe.feedback import Feedback
from mainspring.schema import Answer, Chunk, Citation, Delta, Hit, Reply, Sampling, Usage
from mainspring.serve.door import create
from mainspring.trace import Tracer

MAX_PROMPT_CHARACTERS = 5000


@dataclass
class Run:
    """A generation under way; also what the caller holds."""

    pieces: list[str]
    sampling: Sampling
    sink: object
    prompt_ids: tuple[int, ...]
    said: int = 0
    is_cancelled: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    reply: Reply | None = None
    error: Exception | None = None

    def cancel(self):
        self.is_cancelled = True

    def wait(self):
        self.done.wait()
        if self.error:
            raise self.error
        return self.reply


class ScriptedModel:
    """Says its pieces, one a step for every running generation; counts the steps it took.

    `answer` makes it an assistant; `error` is raised in its thread after `error_after` pieces.
    """

    def __init__(
        self, name, text="Hello there.", *, answer=None, step_s=0.0, error=None, error_after=0, echo=False
    ):
        self.name, self.text, self.answer, self.step_s = name, text, answer, step_s
        self.error, self.error_after, self.echo = error, error_after, echo
        self.default_sampling = Sampling(max_tokens=1000)
        self.runs: list[Run] = []
        self._waiting: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def start(self, messages, sampling, sink=None, *, ask=None):
        last = messages[-1].content
        if len(last) > MAX_PROMPT_CHARACTERS:
            raise ContextLengthError(f"The prompt has {len(last)} characters; {MAX_PROMPT_CHARACTERS} fit.")
        words = (last if self.echo else self.text).split(" ")
        pieces = [words[0], *(f" {word}" for word in words[1:])] if words[0] else []
        run = Run(pieces[: sampling.max_tokens], sampling, sink, tuple(last.encode()))
        self.runs.append(run)
        self._waiting.put(run)
        return run

    def reply(self, messages, sampling):
        return self.start(messages, sampling).wait()

    def replies(self, conversations, sampling):
        return [run.wait() for run in [self.start(messages, sampling) for messages in conversations]]

    def close(self):
        self._waiting.put(None)
        self._thread.join()

    def _loop(self):
        active: list[Run] = []
        while True:
            while not active or not self._waiting.empty():
                run = self._waiting.get()
                if run is None:
                    return
                active.append(run)
            time.sleep(self.step_s)
            for run in active:
                self._step(run)
            active = [run for run in active if not run.done.is_set()]

    def _step(self, run):
        if self.error and run.said >= self.error_after:
            run.error = self.error
            self._end(run, Delta(error=str(self.error)))
        elif run.is_cancelled or run.said == len(run.pieces):
            run.reply = self._reply(run)
            self._end(run, Delta(reply=run.reply))
        else:
            run.said += 1
            if run.sink:
                run.sink(Delta(text=run.pieces[run.said - 1]))

    def _end(self, run, delta):
        if run.sink:
            run.sink(delta)
        run.done.set()

    def _reply(self, run):
        text = "".join(run.pieces[: run.said])
        reason = "cancelled" if run.is_cancelled else "stop"
        usage = Usage(prompt_tokens=len(run.prompt_ids), completion_tokens=run.said, cached_tokens=1)
        return Reply(
            text=text,
            ids=tuple(range(run.said)),
            prompt_ids=run.prompt_ids,
            finish_reason=reason,
            usage=usage,
            answer=self.answer,
            attributes={"mainspring.engine.mode": "exact"},
        )


class WordEmbedder:
    """Unit vectors of length 4 from the bytes of a text."""

    name, width, fingerprint = "bytes", 4, "bytes-4"

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def decode(self, ids):
        return bytes(one % 256 for one in ids).decode(errors="replace")

    def embed(self, texts, *, advance=None):
        rows = np.array([[len(t), sum(t.encode()) % 97, t.count("e"), 1] for t in texts], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class OverlapReranker:
    """The share of a query's words that a text holds."""

    name = "overlap"

    def scores(self, query, texts):
        words = set(query.lower().split())
        return np.array(
            [len(words & set(t.lower().split())) / max(1, len(words)) for t in texts], dtype=np.float32
        )


class Shelf:
    """Models and documents by name."""

    def __init__(self, models=(), documents=()):
        self.models = {model.name: model for model in models}
        self.documents = {name: (title, text) for name, title, text in documents}
        self.fault = None
        self.prompts = {}

    def names(self):
        return list(self.models)

    def embedder_names(self):
        return ["bytes"]

    def reranker_names(self):
        return ["overlap"]

    def adapters(self):
        return {}

    def reranker(self, name):
        if name != "overlap":
            raise NotFoundError(f"There is no reranker '{name}'; there is overlap.")
        return OverlapReranker()

    def chat(self, name, scope):
        assert scope.tenant == "local"
        if name not in self.models:
            raise NotFoundError(f"There is no model '{name}'; known models are {', '.join(self.models)}.")
        return self.models[name]

    def embedder(self, name):
        if name != "bytes":
            raise NotFoundError(f"There is no embedding model '{name}'; known are bytes.")
        return WordEmbedder()

    def document(self, id, scope):  # noqa: A002
        if id not in self.documents or scope.tenant != "local":
            raise NotFoundError(f"There is no document '{id}'.")
        return self.documents[id]

    def prompt(self, name, version):
        if (name, version) not in self.prompts:
            raise NotFoundError(f"There is no prompt '{name}'; there is {list(self.prompts)}.")
        return f"prompt/{name}@1", self.prompts[name, version]

    def health(self):
        return self.fault

    def stats(self):
        return {"model/plain@1": EngineStats(num_running=3, prefix_hits=5)}


class House:
    """A door with everything behind it, over a log in a file."""

    def __init__(self, folder, shelf, key=None, aliases=None, limits=None):
        self.database = Database(folder / "workspace.db", [MIGRATION, drawer.MIGRATION])
        self.log = EventLog(self.database)
        self.shelf = shelf
        self.pipeline = Pipeline(shelf, Tracer(self.log), Keys(key), aliases)
        self.feedback = Feedback(self.log)
        self.drawer = drawer.Drawer(self.database, folder / "files")
        self.app = create(self.pipeline, shelf, self.feedback, drawer=self.drawer, limits=limits)

    def events(self, type):  # noqa: A002
        self.log.flush()
        return self.log.find(type=type)

    def close(self):
        for model in self.shelf.models.values():
            model.close()
        self.log.close()
        self.database.close()


QUOTE = "It was built in 1890 — of granite 🪨."
TOWER = f"The old tower stands at the harbour. {QUOTE} Its lamp turns every 12 seconds."


def tower_answer(kind="generated"):
    """An answer of two sentences whose second is cited, with what was found for it."""
    start = TOWER.index(QUOTE)
    chunk = Chunk(
        id="c1",
        document="guides/tower.md",
        title="The tower",
        heading="History",
        start=0,
        end=len(TOWER),
        text=TOWER,
    )
    text = "A fine question 🪨. It was built in 1890." if kind == "generated" else ""
    citation = Citation(
        number=1,
        document="guides/tower.md",
        title="The tower",
        chunk="c1",
        start=start,
        end=start + len(QUOTE),
        quote=QUOTE,
        sentence_start=19,
        sentence_end=41,
        support=0.9,
    )
    if kind == "extracted":
        text = QUOTE
        citation = Citation(
            number=1,
            document="guides/tower.md",
            title="The tower",
            chunk="c1",
            start=start,
            end=start + len(QUOTE),
            quote=QUOTE,
            sentence_start=0,
            sentence_end=len(QUOTE),
            support=1.0,
        )
    if kind == "abstained":
        text = "I don't know: the documents say nothing about this."
    return Answer(
        text=text,
        kind=kind,
        citations=() if kind == "abstained" else (citation,),
        hits=(Hit(chunk=chunk, score=0.83),),
        assistant="assistant/mainspring@1",
    )


def assistant(name="mainspring", kind="generated", **more):
    answer = tower_answer(kind)
    return ScriptedModel(name, answer.text, answer=answer, **more)


def broken(name="broken", after=1):
    return ScriptedModel(
        name, "one two three", error=MainspringError("the model fell over"), error_after=after
    )
