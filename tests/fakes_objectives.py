"""What tests of objectives share: batches of random segments, scores in the place of a model, and comparisons."""

import torch

from mainspring.train.batch import Segment, lay_out
from mainspring.train.outputs import Outputs

VOCAB = 11


class StandIn(Outputs):
    """Outputs whose scores are given, (T, V), and trained."""

    def __init__(self, batch, scores_TV=None, seed=0):
        if scores_TV is None:
            generator = torch.Generator().manual_seed(seed)
            scores_TV = torch.randn(len(batch.ids), VOCAB, generator=generator, dtype=torch.float64)
        super().__init__(None, batch, scores_TV.detach().requires_grad_())

    def logits(self, at_N):
        return self.hidden_TD.index_select(0, at_N)


def segment(seed, *, role="", label=None, reward=None, extras=(), prompt=3, answer=None, vocab=VOCAB):
    """Random ids behind a random prompt; random numbers for every extra, log-probabilities if their name says so."""
    generator = torch.Generator().manual_seed(seed)
    answer = answer or 2 + seed % 4
    ids = torch.randint(0, vocab, (prompt + answer,), generator=generator).tolist()
    numbers = {name: torch.randn(len(ids), generator=generator, dtype=torch.float64) for name in extras}
    made = {name: (-each.abs() - 1 if "logp" in name else each).tolist() for name, each in numbers.items()}
    return Segment(
        ids=ids, weight=[0.0] * prompt + [1.0] * answer, name=f"segment {seed}", role=role, label=label,
        reward=reward, extras=made,
    )  # fmt: skip


def pairs(count=3, extras=("reference_logp",), **more):
    return [
        (
            segment(2 * at, role="chosen", extras=extras, **more),
            segment(2 * at + 1, role="rejected", extras=extras, **more),
        )
        for at in range(count)
    ]


def one_batch(items):
    rows = [(group, each) for group, item in enumerate(items) for each in item]
    return lay_out([(index, group, each) for index, (group, each) in enumerate(rows)])


def per_segment(batch, x_T):
    """The trained tokens' numbers, a tensor a segment."""
    return [x_T[place.rows][batch.weight[place.rows] != 0] for place in batch.segments]


def log_probabilities(outputs):
    """log p(target) of every token, written out."""
    logp_TV = outputs.hidden_TD.log_softmax(-1)
    target_T = outputs.batch.target.clamp(min=0)
    return logp_TV.gather(1, target_T.unsqueeze(1)).squeeze(1)


def assert_same(ours, theirs, leaf, rel=1e-9):
    """Two scalars and their gradients with respect to a leaf."""
    torch.testing.assert_close(ours, theirs, rtol=rel, atol=0)
    (found,) = torch.autograd.grad(ours, leaf, retain_graph=True)
    (expected,) = torch.autograd.grad(theirs, leaf, retain_graph=True)
    assert expected.norm() > 0
    assert (found - expected).norm() <= rel * expected.norm()
