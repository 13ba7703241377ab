"""Samples: the same ones however documents are spread, as many as were asked for, cut where texts differ."""

import hashlib
import random

from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.decisions import Decision, Sample, Samples, make_sample, writable
from mainspring.data.document import Document
from mainspring.data.recipe import SampleSettings

REASONS = ["short", "long"]
IDS = st.lists(st.tuples(st.integers(0, 500), st.sampled_from(REASONS)), unique=True, max_size=60)


def sample(number, reason):
    return Sample(fate="dropped", id=f"d#{number}", rule="size", reason=reason)


def kept(samples):
    return b"".join(samples.lines())


@given(IDS, st.integers(0, 6), st.integers(0, 99))
def test_samples_of_parts_together_are_those_of_the_whole_in_any_order(ids, most, seed):
    settings = SampleSettings(per_reason=most)
    whole, together, parts = Samples(settings), Samples(settings), [Samples(settings) for _ in range(3)]
    for number, reason in ids:
        whole.add(sample(number, reason))
    random.Random(seed).shuffle(ids)
    for number, reason in ids:
        parts[number % 3].add(sample(number, reason))
    for part in parts:
        for number, reason in ids:
            if f'"d#{number}"'.encode() in kept(part):
                together.add(sample(number, reason))
    assert kept(together) == kept(whole)


@given(IDS, st.integers(0, 6))
def test_kept_are_those_with_the_least_hashes(ids, most):
    samples = Samples(SampleSettings(per_reason=most))
    for number, reason in ids:
        is_wanted = samples.wants("dropped", "size", reason, f"d#{number}")
        before = kept(samples)
        samples.add(sample(number, reason))
        assert is_wanted or kept(samples) == before
    for reason in REASONS:
        named = [f"d#{number}" for number, of in ids if of == reason]
        wanted = sorted(named, key=lambda name: _hash(f"size\0{reason}\0{name}"))[:most]
        lines = [line for line in samples.lines() if f'"reason":"{reason}"'.encode() in line]
        assert [line.split(b'"id":"')[1].split(b'"')[0].decode() for line in lines] == wanted


def _hash(text):
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@given(st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_a_change_is_shown_where_it_begins(before, after):
    decision = Decision(id="d", rule="r", reason="why")
    made = make_sample(
        decision, "changed", Document(id="d", text=before), Document(id="d", text=after), text="", most=20
    )  # fmt: skip
    first = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    start = max(0, first - 5)
    assert made.text == before[start : start + 20]
    assert made.after == (after[start : start + 20] if after[start : start + 20] != made.text else "")


def test_what_a_rule_says_decides_is_shown_and_half_characters_are_not():
    document = Document(id="d", text="long text")
    made = make_sample(
        Decision(id="d", rule="r", reason="why"), "dropped", document, None, text="x\ud800" * 30, most=20
    )
    assert made.text == "x?" * 10
    assert writable("é") == "é"
