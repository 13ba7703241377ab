"""Constrained output over a zip of JSON Schemas: how many compile, and whether every output holds to its schema.

python benchmarks/schemas.py --data ZIP --tokenizer FOLDER [--quick] [--json] [--outputs N]

Of each schema that compiles, outputs are drawn at random from the masks, with a bias to what closes, and judged by
the package jsonschema in the schema's own draft, formats included. What does not compile is counted by its reason.
"""

import argparse
import collections
import json
import random
import sys
import time
import zipfile
from pathlib import Path

import jsonschema
import numpy as np

from mainspring.errors import ConfigError, MainspringError
from mainspring.infer.grammar import Grammar, Grammars
from mainspring.schema import Constraint
from mainspring.tokenizer.base import Tokenizer
from report import row, show

MAX_STEPS = 3_000
FLOOR = 0.78


class Drawer:
    """Draws texts from a grammar, uniformly over the allowed ids but with a liking for ends."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._tokenizer, self._rng = tokenizer, random.Random(seed)
        self._ends = set(tokenizer.end_ids)
        texts = {token_id: tokenizer.decode([token_id]) for token_id in range(tokenizer.vocab_size)}
        self._closing = np.array([any(c in text for c in '"}]') for text in texts.values()])
        self.mask_s: list[float] = []

    def draw(self, grammar: Grammar) -> str | None:
        """One whole text, None where it did not end in MAX_STEPS ids."""
        state, ids = grammar.start(), list[int]()
        while len(ids) < MAX_STEPS:
            forced = state.forced()
            for token_id in forced:
                state.accept(token_id)
            ids += forced
            if state.is_done:
                return self._tokenizer.decode(ids)
            chosen = self._choose(state, len(ids))
            if chosen in self._ends:
                return self._tokenizer.decode(ids)
            state.accept(chosen)
            ids.append(chosen)
        return None

    def _choose(self, state: Grammar, length: int) -> int:
        started = time.perf_counter()
        mask = state.mask()
        self.mask_s.append(time.perf_counter() - started)
        allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
        hurry = 0.3 if length < MAX_STEPS // 10 else 0.9
        ends = [token_id for token_id in self._ends if token_id in allowed]
        if ends and self._rng.random() < hurry:
            return ends[0]
        closing = allowed[self._closing[allowed]]
        if len(closing) and self._rng.random() < hurry:
            return int(self._rng.choice(closing.tolist()))
        return int(self._rng.choice(allowed.tolist()))


def fault(schema: dict, text: str) -> str | None:
    """What is wrong with an output, None for nothing."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind(schema, format_checker=kind.FORMAT_CHECKER).validate(json.loads(text))
    except (ValueError, jsonschema.ValidationError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--outputs", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    tokenizer = Tokenizer.load(given.tokenizer)
    grammars, drawer = Grammars(tokenizer), Drawer(tokenizer, seed=0)
    archive = zipfile.ZipFile(given.data)
    names = [name for name in archive.namelist() if name.endswith(".json")][:: 10 if given.quick else 1]
    refused, faults, compile_s = collections.Counter[str](), list[str](), list[float]()
    num_outputs = num_unfinished = num_outgrown = 0
    for name in names:
        schema = json.loads(archive.read(name))
        started = time.perf_counter()
        try:
            grammar = grammars.compile(Constraint(kind="json_schema", value=schema))
        except ConfigError as error:
            refused[str(error).partition("refused: ")[2][:70] or str(error)[:70]] += 1
            continue
        compile_s.append(time.perf_counter() - started)
        for _ in range(given.outputs):
            try:
                text = drawer.draw(grammar)
            except MainspringError:  # the engine ends such a reply with an error: it is not accepted
                num_outgrown += 1
                continue
            if text is None:
                num_unfinished += 1
                continue
            num_outputs += 1
            wrong = fault(schema, text)
            if wrong is not None:
                faults.append(f"{name}: {wrong} in {text[:200]}")
    for line in [*faults, *(f"{count} refused: {reason}" for reason, count in refused.most_common())]:
        print(line, file=sys.stderr)
    rate = len(compile_s) / len(names)
    rows = [
        row(f"of {len(names)} schemas, compiled", "of 1", rate, {"all": 1.0}, FLOOR),
        row("outputs judged", "", num_outputs, {}),
        row("outputs that break their schema", "", len(faults), {}),
        row(f"outputs not ended in {MAX_STEPS:,} ids", "", num_unfinished, {}),
        row("outputs whose grammar outgrew its limits", "", num_outgrown, {}),
        row("compile, median", "ms", float(np.median(compile_s)) * 1e3, {}),
        row("compile, worst", "ms", max(compile_s) * 1e3, {}),
        row("mask, median", "us", float(np.median(drawer.mask_s)) * 1e6, {}),
        row("mask, 99th of 100", "us", float(np.quantile(drawer.mask_s, 0.99)) * 1e6, {}),
    ]
    if not show("schemas", rows, as_json=given.json) or faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
