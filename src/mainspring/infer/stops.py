"""Stop strings: text is held back while it could still be the beginning of one."""

from collections.abc import Sequence


class StopFilter:
    """Passes text on up to the first stop string, which is never shown."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped_by: str | None = None

    def push(self, text: str) -> str:
        """The part of all text so far that is now certain to be shown."""
        if self.stopped_by is not None:
            return ""
        self._held += text
        found = [(self._held.find(stop), stop) for stop in self._stops if stop in self._held]
        if found:
            place, self.stopped_by = min(found, key=lambda pair: pair[0])
            shown, self._held = self._held[:place], ""
            return shown
        keep = max((overlap(self._held, stop) for stop in self._stops), default=0)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown

    def flush(self) -> str:
        """What was held back, once no more text comes."""
        rest, self._held = self._held, ""
        return rest


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
