"""Where trained stretches of a segment end."""

import numpy as np

from mainspring.data.shards import ShardSegment


def is_conversation(segment: ShardSegment) -> bool:
    """Whether only some ids are trained."""
    return not segment.weight.all()


def answer_ends(segment: ShardSegment) -> np.ndarray:
    """Places of the last ids of all trained stretches, int64; the first id of a segment is never trained."""
    is_trained = np.concatenate([segment.weight > 0, [False]])
    is_trained[0] = False
    return np.flatnonzero(is_trained[:-1] & ~is_trained[1:])
