"""The nine steps."""

from collections.abc import Sequence
from pathlib import Path

from mainspring.app import ASSISTANT, CHAT_MODEL, EMBEDDER, IN_PRODUCTION, PRODUCTION, Workspace
from mainspring.artifact import Artifact
from mainspring.data import sources
from mainspring.demo.report import Report, closing_table, count, write
from mainspring.demo.server import Asked, Server, running
from mainspring.demo.show import show, show_gate
from mainspring.demo.stand_in import collect
from mainspring.demo.steps import PeakMemory, Steps
from mainspring.demo.switch import Switch, switch
from mainspring.evaluate.compare import MIN_ITEMS
from mainspring.evaluate.gold import Gold
from mainspring.flywheel import parity
from mainspring.flywheel.base_assistant import base_assistant
from mainspring.flywheel.judge import passing_evaluation
from mainspring.flywheel.loop import FlywheelConfig, turn
from mainspring.flywheel.promote import promote, rollback
from mainspring.knowledge.sync import IndexSettings
from mainspring.models.fetch import fetch
from mainspring.progress import say

NUM_ASKED = 4
SPEED_PROMPT = "Tell me what a language model is, what it is made of, and how it learns from text. " * 2
SPEED_TOKENS = 64
LOOP = ("collect", "tune", "gate")
QUESTIONS = ("What is this about?", "How is it installed?", "Which license does it have?", "Who wrote it?")


class Demo:
    """One run over one workspace. `items` may be empty or too few, which skips tuning."""

    def __init__(self, workspace: Workspace, items: Sequence[Gold]) -> None:
        self.workspace, self.steps, self.report = workspace, Steps(), Report()
        self.items = items
        self.training = [item for item in items if item.split == "train" and item.is_answerable]
        self.judging = [item for item in items if item.split == "heldout"]
        self.answers: list[Asked] = []
        self.switched: Switch | None = None

    def prepare(self, docs: Path | None) -> Artifact:
        """Steps 1 and 2: models, index and the base assistant, the first in production."""
        self.steps.begin("open")
        say(f"     workspace {self.workspace.root}")
        for name in (CHAT_MODEL, EMBEDDER):
            fetch(self.workspace.registry, name)
        self.steps.begin("index")
        found = sources.folder(docs) if docs else [*sources.packages(), *_guide()]
        synced, index = self.workspace.index(found, IndexSettings())
        for rejected in synced.rejected:
            say(f"     not indexed: {rejected.name}: {rejected.reason}")
        say(
            f"     {synced.documents} documents, {synced.chunks:,} chunks; {len(synced.unchanged)} were there"
        )
        self.report.documents, self.report.chunks = synced.documents, synced.chunks
        base = base_assistant(self.workspace, index, self.training)
        if not self.workspace.registry.labelled("assistant", ASSISTANT, PRODUCTION):
            say(f"     {base.reference} goes to production: {promote(self.workspace, base.reference)}")
        return base

    def ask(self, server: Server) -> None:
        """Step 3: some questions, one of them without an answer."""
        self.steps.begin("ask")
        known = [item.question for item in self.training[:NUM_ASKED]]
        unknown = [item.question for item in self.judging if not item.is_answerable][:1]
        for asked in server.ask_many([*known, *unknown] or list(QUESTIONS)):
            show(asked)
            self.answers.append(asked)

    def learn(self, server: Server) -> None:
        """Steps 4 to 6, and the switch of step 7 where the gate lets the candidate pass."""
        num_judging = sum(item.is_answerable for item in self.judging)
        production = self.workspace.registry.get(IN_PRODUCTION)
        if not self.training or num_judging < MIN_ITEMS:
            self.steps.skip(LOOP, f"there are {len(self.training)} gold answers to learn from and {num_judging} to "
                            f"judge with; it takes 1 and {MIN_ITEMS}. Give them with --gold FILE.")  # fmt: skip
            return
        if passing_evaluation(self.workspace, production.reference):
            self.steps.skip(
                LOOP, f"{production.reference} learnt from these answers and passed the gate before"
            )
            return
        self.steps.begin("collect")
        say("     no users here: gold answers stand in for them, as ratings and corrections over the API")
        rated, num_up = collect(server, self.training)
        self.answers += rated
        say(f"     {num_up} answers rated up, {len(rated) - num_up} corrected")

        def release(workspace: Workspace, reference: str) -> None:
            self.switched = switch(workspace, server, lambda: _promote(workspace, reference), self.questions)

        def announce(stage: str) -> None:
            self.steps.begin("serve" if stage == "promote" else stage)

        turn(
            self.workspace,
            FlywheelConfig(),
            self.judging,
            release=release,
            announce=announce,
            on_decision=show_gate,
        )

    def serve(self, server: Server, base: Artifact) -> None:
        """Step 7: the switch, if it was not shown yet, and how fast the server is."""
        self.steps.begin("serve")
        if self.switched is None:
            self.switched = self._switch_and_back(server, base)
        moved = self.switched
        say(f"     {moved.before} -> {moved.after} under {moved.in_flight} streams: none failed, none mixed")
        speed = server.speed(SPEED_PROMPT, SPEED_TOKENS)
        say(f"     ready in {server.ready_s:.1f} s; first token after {speed.first_token_s:.2f} s, then "
            f"{speed.tokens_per_s:.0f} tokens/s (one stream, exact mode)")  # fmt: skip
        self.report.server = {
            "ready_s": server.ready_s,
            "first_token_s": speed.first_token_s,
            "tokens_per_s": speed.tokens_per_s,
            "switched_in_flight": moved.in_flight,
        }

    def compare(self, server: Server) -> None:
        """Step 8."""
        if not self.workspace.registry.list("evaluation"):
            self.steps.skip(["parity"], "nothing was trained or evaluated")
            return
        self.steps.begin("parity")
        found = parity.check(self.workspace, server.url)
        say(f"     ids of {found.ids_checked} lessons {'equal' if found.ids_equal else 'DIFFER'}; "
            f"{found.texts_checked} greedy texts {'equal' if found.text_equal else 'DIFFER'} in the trainer's model, "
            "the evaluation and over HTTP")  # fmt: skip
        for difference in found.differences:
            say(f"     {difference}")
        self.report.parity = {"ids_equal": found.ids_equal, "text_equal": found.text_equal}

    def finish(self) -> None:
        """Step 9."""
        self.steps.begin("report")
        count(self.report, self.workspace, self.answers, self.workspace.spec(IN_PRODUCTION).support)
        evaluations = self.workspace.registry.list("evaluation")
        if evaluations:
            figures = self.workspace.registry.get(evaluations[-1]).config
            names = ("metric", "before", "few_shot", "after", "p_value", "decision")
            self.report.gate = {name: figures[name] for name in names}

    @property
    def questions(self) -> list[str]:
        """What the streams of the switch ask."""
        return [item.question for item in self.judging if item.is_answerable] or list(QUESTIONS)

    def _switch_and_back(self, server: Server, base: Artifact) -> Switch:
        """Show the switch with a version that is let pass or, where there is none, with a twin of the base."""
        production = self.workspace.registry.get(IN_PRODUCTION)
        if production.reference != base.reference:
            there = switch(
                self.workspace, server, lambda: _promote(self.workspace, base.reference), self.questions
            )
            promote(self.workspace, production.reference)
            return there
        spec = self.workspace.spec(base.reference)
        sampling = {**spec.sampling, "max_tokens": spec.sampling["max_tokens"] + 1}
        twin = self.workspace.save_assistant(spec.model_copy(update={"sampling": sampling}))

        def move() -> str:
            self.workspace.registry.label(twin, PRODUCTION, "the demo shows a switch and goes back")
            return twin.reference

        there = switch(self.workspace, server, move, self.questions)
        say(f"     rolled back to {rollback(self.workspace)}")
        return there


def run(root: Path, docs: Path | None, items: Sequence[Gold]) -> Path:
    """Carry documents through to a served assistant; returns where the report lies."""
    with PeakMemory() as memory, Workspace(root) as workspace:
        demo = Demo(workspace, items)
        base = demo.prepare(docs)
        with running(root) as server:
            demo.ask(server)
            demo.learn(server)
            demo.serve(server, base)
            demo.compare(server)
        demo.finish()
        demo.steps.end()
        demo.report.peak_rss_bytes, demo.report.wall_s = memory.peak_bytes, demo.steps.wall_s
        path = write(demo.report, workspace)
        closing_table(workspace, path)
    return path


def _guide() -> list[sources.Source | sources.Rejected]:
    """The pages of the project's guide, where it is run from a checkout."""
    pages = Path(__file__).parents[3] / "docs" / "guide"
    return list(sources.folder(pages)) if pages.is_dir() else []


def _promote(workspace: Workspace, reference: str) -> str:
    promote(workspace, reference)
    return reference
