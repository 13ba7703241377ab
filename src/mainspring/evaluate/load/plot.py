"""A picture of a load: when tokens came, how long the first one took, how long the pauses were."""

from pathlib import Path

import numpy as np

from mainspring.evaluate.load.client import Answered
from mainspring.train.plots import label, picture

NUM_BINS = 60


def draw(answers: list[Answered], path: Path, title: str) -> Path:
    """Write a PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.

    """
    good = [each for each in answers if not each.error]
    start = min(each.begun for each in answers)
    moments = np.array([moment - start for each in good for moment in each.pieces])
    with picture(path, 1, 3, "The plot of a load") as (figure, (speed, first, gaps)):
        figure.suptitle(title)
        if len(moments):
            counts, edges = np.histogram(moments, bins=NUM_BINS)
            speed.plot(edges[:-1], counts / (edges[1] - edges[0]))
        label(speed, "seconds", "pieces per second")
        speed.set_ylim(bottom=0)
        first.scatter([each.begun - start for each in good], [each.first_token_s for each in good], s=8)
        label(first, "sent at (seconds)", "seconds to the first piece")
        first.set_ylim(bottom=0)
        gaps.hist([1000 * gap for each in good for gap in each.gaps_s], bins=NUM_BINS, log=True)
        label(gaps, "pause between pieces (ms)", "how often")
    return path
