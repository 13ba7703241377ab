import pytest
import torch

from fakes_engine import FIXED, PLAN
from mainspring.infer.kernels import ATTENTION_CHUNK
from mainspring.infer.paged import Group, KvCache, PagedAttend
from mainspring.models.attend import Scoring, reference_attend
from mainspring.models.families import llama

SIZE, NUM_BLOCKS = 16, 64
CONFIG = llama.tiny()
SPEC = CONFIG.blocks[0].mixer
SCORING = Scoring(scale=SPEC.head_size**-0.5)
HEADS, KV_HEADS, HEAD = SPEC.num_heads, SPEC.num_kv_heads, SPEC.head_size


class Sequence:
    """Random queries, keys and values of one sequence, and where its blocks lie."""

    def __init__(self, length, free, generator):
        self.q = torch.randn(length, HEADS, HEAD, generator=generator)
        self.k, self.v = (torch.randn(length, KV_HEADS, HEAD, generator=generator) for _ in range(2))
        blocks = torch.tensor([free.pop() for _ in range(-(-length // SIZE))])
        self.slots = (blocks.unsqueeze(1) * SIZE + torch.arange(SIZE)).view(-1)[:length]

    @property
    def expected(self):
        return reference_attend(self.q, self.k, self.v, SCORING)


def make(lengths, seed=0, poison=0.0):
    """Sequences in shuffled blocks of a cache whose other contents are `poison`."""
    generator = torch.Generator().manual_seed(seed)
    free = (torch.randperm(NUM_BLOCKS - 1, generator=generator) + 1).tolist()
    cache = KvCache(CONFIG, NUM_BLOCKS, SIZE, torch.float32)
    for tensor in (*cache.keys, *cache.values):
        tensor[:, SIZE:] = poison
    return [Sequence(length, free, generator) for length in lengths], cache


def group(members, rows, num_tokens):
    """The last tokens of some sequences, side by side."""
    ends = [len(member.slots) for member in members]
    width = -(-max(ends) // ATTENTION_CHUNK) * ATTENTION_CHUNK
    slots_NS = torch.zeros(len(members), width, dtype=torch.int64)
    for index, member in enumerate(members):
        slots_NS[index, : ends[index]] = member.slots
    last_NT = torch.tensor(ends).unsqueeze(1) - num_tokens + torch.arange(num_tokens)
    return Group(
        rows_NT=torch.tensor(rows).unsqueeze(1) + torch.arange(num_tokens), slots_NS=slots_NS, last_NT=last_NT
    )


def attend(sequences, cache, num_new, plan=PLAN, layer=1, scoring=SCORING):
    """Each sequence's last tokens; what came before already lies in the cache."""
    rows, row = [], 0
    for sequence, new in zip(sequences, num_new, strict=True):
        old = sequence.slots[: len(sequence.slots) - new]
        cache.keys[layer][:, old] = sequence.k[: len(old)].transpose(0, 1)
        cache.values[layer][:, old] = sequence.v[: len(old)].transpose(0, 1)
        rows.append(row)
        row += new
    padded = plan.pad(row)
    parts = [
        torch.cat([getattr(s, name)[-new:] for s, new in zip(sequences, num_new, strict=True)])
        for name in "qkv"
    ]
    q, k, v = (torch.nn.functional.pad(part, (0, 0, 0, 0, 0, padded - row)) for part in parts)
    slots_T = torch.zeros(padded, dtype=torch.int64)
    slots_T[:row] = torch.cat([s.slots[-new:] for s, new in zip(sequences, num_new, strict=True)])
    decoding = [index for index, new in enumerate(num_new) if new == 1]
    groups = [group([s], [rows[i]], num_new[i]) for i, s in enumerate(sequences) if i not in decoding]
    if decoding:
        groups.append(group([sequences[i] for i in decoding], [rows[i] for i in decoding], 1))
    o_THK = PagedAttend(cache, slots_T, groups, plan)(layer, q, k, v, scoring)
    assert not o_THK[row:].any()
    return [o_THK[start : start + new] for start, new in zip(rows, num_new, strict=True)]


@pytest.mark.parametrize("plan", [PLAN, FIXED], ids=["multiples", "fixed"])
@pytest.mark.parametrize("seed", range(4))
def test_mixed_groups_equal_the_formula(seed, plan):
    lengths = [1, 2, 17, 128, 129, 200, 255]
    most = 8 if plan.is_fixed else 512
    sequences, cache = make(lengths, seed)
    new = torch.randint(
        1, 3 if plan.is_fixed else 130, (len(lengths),), generator=torch.Generator().manual_seed(seed)
    )
    num_new = [min(length, int(n)) for length, n in zip(lengths, new, strict=True)]
    while plan.is_fixed and sum(num_new) > most:
        num_new[num_new.index(max(num_new))] = 1
    for sequence, n, got in zip(sequences, num_new, attend(sequences, cache, num_new, plan), strict=True):
        torch.testing.assert_close(got, sequence.expected[-n:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_what_others_left_in_the_cache_does_not_leak(poison):
    lengths, num_new = [3, 40, 150, 130], [1, 1, 1, 70]
    clean = attend(*make(lengths), num_new)
    poisoned = attend(*make(lengths, poison=poison), num_new)
    for one, other in zip(clean, poisoned, strict=True):
        assert torch.equal(one, other)


def test_a_sequence_full_of_nan_keeps_it_to_itself():
    lengths, num_new = [60, 61, 200], [1, 1, 1]
    sequences, cache = make(lengths)
    clean = attend(sequences, cache, num_new)
    hostile, cache = make(lengths)
    for part in (hostile[1].q, hostile[1].k, hostile[1].v):
        part.fill_(torch.nan)
    for index, got in enumerate(attend(hostile, cache, num_new)):
        assert got.isnan().all() if index == 1 else torch.equal(got, clean[index])


def test_neighbors_and_pieces_do_not_change_a_bit():
    sequences, cache = make([200, 30, 255])
    (alone,) = attend(sequences[:1], cache, [200])
    together = attend(sequences, cache, [1, 1, 1])
    piece = attend(sequences, cache, [77, 1, 100])
    assert torch.equal(together[0], alone[-1:])
    assert torch.equal(piece[0], alone[-77:])


@pytest.mark.parametrize("window", [1, 5, 100, 128, 129, 300])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_a_window_and_bent_scores_equal_the_formula(window, softcap):
    scoring = Scoring(scale=0.3, window=window, softcap=softcap)
    lengths, num_new = [1, 17, 129, 255, 255], [1, 9, 1, 1, 200]
    sequences, cache = make(lengths)
    for sequence, n, got in zip(
        sequences, num_new, attend(sequences, cache, num_new, scoring=scoring), strict=True
    ):
        expected = reference_attend(sequence.q, sequence.k, sequence.v, scoring)[-n:]
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_what_lies_before_a_window_does_not_count():
    scoring = Scoring(scale=0.3, window=20)
    sequences, cache = make([255])
    (clean,) = attend(sequences, cache, [1], scoring=scoring)
    sequences[0].k[:200], sequences[0].v[:200] = 1e30, 1e30
    (changed,) = attend(sequences, cache, [1], scoring=scoring)
    assert torch.equal(clean, changed)
