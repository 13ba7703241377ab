"""How much is found of the marked spans of a public set of sentences, and how much of what is found is one.

The words that the finder of phone numbers listens to were chosen with this set in view: its figures are not of
unseen text. Prints a table: pytest -m data -s tests/data/pii/test_presidio.py
"""

import json
import os
from pathlib import Path

import pytest

from mainspring.data.pii.base import find

pytestmark = pytest.mark.data
SET = (
    Path(os.environ.get("MAINSPRING_DATA") or Path(__file__).parents[3] / ".." / "shared" / "data")
    / "presidio-pii"
)
LABELS = {
    "email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "iban": "IBAN_CODE", "credit_card": "CREDIT_CARD",
    "ip_address": "IP_ADDRESS", "us_ssn": "US_SSN", "person": "PERSON",
}  # fmt: skip


def measure(kind):
    """(precision, recall, part of the found ones whose edges are exact); overlapping is found."""
    if not SET.is_dir():
        pytest.skip(f"there is no {SET}; set MAINSPRING_DATA to the folder of the public data sets")
    found_right = found_wrong = missed = exact = 0
    for entry in json.loads((SET / "sentences.dev.json").read_text(encoding="utf-8")):
        marked = [
            (span["start_position"], span["end_position"])
            for span in entry["spans"]
            if span["entity_type"] == LABELS[kind]
        ]
        found = [(span.start, span.end) for span in find(entry["full_text"], (kind,))]
        hits = [any(one[0] < other[1] and other[0] < one[1] for one in found) for other in marked]
        found_right += sum(hits)
        missed += len(hits) - sum(hits)
        exact += len(set(found) & set(marked))
        found_wrong += sum(
            not any(one[0] < other[1] and other[0] < one[1] for other in marked) for one in found
        )
    recall = found_right / (found_right + missed)
    print(
        f"\n  {kind}: {found_right + missed} marked, precision {found_right / (found_right + found_wrong):.3f}, "
        f"recall {recall:.3f}, edges exact {exact / found_right:.3f}"
    )
    return found_right / (found_right + found_wrong), recall, exact / found_right


@pytest.mark.parametrize("kind", ["email", "phone", "iban", "credit_card", "ip_address", "us_ssn"])
def test_nearly_all_marked_spans_of_a_kind_with_a_pattern_are_found_and_nearly_nothing_else(kind):
    precision, recall, exact = measure(kind)
    assert precision > 0.9
    assert recall > 0.9
    assert exact > 0.9


@pytest.mark.slow
def test_most_names_of_people_are_found():
    pytest.importorskip("spacy", reason="spaCy (extra nlp) is not installed")
    precision, recall, _ = measure("person")
    assert precision > 0.6
    assert recall > 0.6
