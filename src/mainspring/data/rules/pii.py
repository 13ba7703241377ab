"""Personal and secret things, masked, replaced by stable pseudonyms, or the document dropped.

Source: the kinds and their finders are in data/pii, one file each with its standard; masking e-mail and IP
addresses of web text as FineWeb does (arXiv:2406.17557, section 3). No sample shows what was taken out.
Text and messages are redacted; what else stands in `meta` (an author, an address) stays as it is.
"""

import os
from collections import Counter

from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.pii.base import MIN_SCORE, PATTERNED, Kind, find
from mainspring.data.pii.redact import Policy, redact
from mainspring.data.rules.base import Outcome, change, drop, keep
from mainspring.data.rules.conversation import rewrite_messages
from mainspring.errors import ConfigError

EDITION = 1
MAX_KEY_BYTES = 64  # of the hash


class Settings(Config):
    default: Policy = Field("mask", description="What is done with kinds that `policies` does not name.")
    policies: dict[Kind, Policy] = Field(
        {},
        description="For each kind: keep, mask, hash or drop. Names of people are looked for if named here.",
    )
    min_score: float = Field(MIN_SCORE, ge=0, le=1, description="How sure a finding must be, 0 to 1.")
    key_variable: str = Field(
        "MAINSPRING_PII_KEY",
        description="The environment variable with the key of pseudonyms, so that no recipe holds it.",
    )


class Rule:
    name: str = "pii"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        policies: dict[Kind, Policy] = {kind: settings.default for kind in PATTERNED}  # noqa: C420 - keeps its type
        policies |= settings.policies
        self._policies: dict[Kind, Policy] = {kind: how for kind, how in policies.items() if how != "keep"}
        self._key = _key(settings.key_variable) if "hash" in self._policies.values() else b""

    def __call__(self, document: Document) -> Outcome:
        in_text: Counter[Kind] = Counter()
        in_messages: Counter[Kind] = Counter()
        text = self._redact(document.text, in_text)
        meta = rewrite_messages(document, lambda content: self._redact(content, in_messages))
        found = (
            in_text | in_messages
        )  # the messages say the text again, so the larger number of each kind counts
        if not found:
            return keep(document)
        numbers = {kind: float(count) for kind, count in found.items()}
        at = max(0, text.find("<" + next(iter(found)).upper()) - 80)
        sample = text[at : at + 200]
        if any(self._policies[kind] == "drop" for kind in found):
            return drop("holds_pii", numbers, sample)
        return change(document, "pii_redacted", text=text, numbers=numbers, sample=sample, **meta)

    def _redact(self, text: str, found: Counter[Kind]) -> str:
        spans = find(text, tuple(self._policies), self._settings.min_score)
        found.update(span.kind for span in spans)
        return redact(text, spans, self._policies, self._key) if spans else text


def _key(variable: str) -> bytes:
    key = os.environ.get(variable, "").encode()
    if not 16 <= len(key) <= MAX_KEY_BYTES:
        raise ConfigError(
            f"The policy `hash` needs a key of 16 to {MAX_KEY_BYTES} bytes in the environment variable {variable}; "
            f"it has {len(key)}. Set it, or choose `mask`."
        )
    return key
