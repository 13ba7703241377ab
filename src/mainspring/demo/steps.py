"""Steps that are seen and timed, and the memory of all processes while they run."""

import threading
import time
from collections.abc import Sequence

import psutil

from mainspring.progress import console, say

STEPS = {
    "open": "a workspace, and two real models as artifacts",
    "index": "documents to searchable, citable text",
    "ask": "questions answered from retrieved text, or not at all",
    "collect": "ratings and corrections of answers",
    "tune": "a LoRA adapter on what was corrected",
    "gate": "is it better, on questions it has not seen?",
    "serve": "the running server changes its version while it answers",
    "parity": "the model that was trained is the model that answers",
    "report": "what was made and where it lies",
}
SAMPLE_S = 0.2


class Steps:
    """Announces steps in order and keeps how long each took; beginning one ends the one before."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self._name, self._began = "", 0.0

    def begin(self, name: str) -> None:
        """Start a step; going on with the running one changes nothing."""
        if name == self._name:
            return
        self.end()
        self._name, self._began = name, time.monotonic()
        number = list(STEPS).index(name) + 1
        console.print(f"\n[bold]{number}/{len(STEPS)}  {name}[/bold]  [dim]{STEPS[name]}[/dim]")

    def end(self) -> None:
        if self._name:
            self.wall_s[self._name] = round(time.monotonic() - self._began, 2)
            say(f"     {self._name}: {self.wall_s[self._name]:.1f} s")
            self._name = ""

    def skip(self, names: Sequence[str], why: str) -> None:
        self.end()
        say(f"\n     {', '.join(names)}: skipped; {why}")


class PeakMemory:
    """The largest sum of resident memory over this process and all its children, sampled five times a second."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "PeakMemory":  # noqa: PYI034 - final by use
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._stop.wait(SAMPLE_S):
            total = 0
            for process in [this, *this.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak_bytes = max(self.peak_bytes, total)
