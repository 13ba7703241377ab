"""Small real shards, in which every id of the split stands once, so that a lost or doubled one is seen."""

import hashlib
import json
import multiprocessing
import os
import time

import msgspec
import numpy as np

from mainspring.config import build
from mainspring.data.loader import Loader
from mainspring.data.shard_writer import ShardWriter
from mainspring.data.shards import Shards
from mainspring.data.window import Cursor, LoaderConfig

VOCAB = 2**20


def write_shards(folder, lengths, *, split="train", first=0, max_tokens=100, weighted=False, **more):
    """Segments of these lengths; ids count up from `first`, and every third is not trained if `weighted`."""
    settings = {"tokenizer": "counts up", "vocab_size": VOCAB, "id_type": "uint32"} | more
    scores = settings.get("scores", ())
    with ShardWriter(folder, split, max_tokens=max_tokens, **settings) as writer:
        for number, length in enumerate(lengths):
            ids = np.arange(first, first + length)
            weight = (ids % 3 > 0).astype(int) if weighted else None
            writer.add(ids, weight, f"doc-{number}", [float(-number)] * len(scores))
            first += length
    return Shards(folder, split, verify=True)


def load(folder, rank=0, ranks=1, **config):
    """A loader over two weighted sets of shards in a folder, shuffled, with small rows and windows."""
    values = {"tokens_per_row": 64, "rows_per_step": 6, "window_rows": 10, "seed": 3, "workers": 2} | config
    datasets = {name: Shards(folder / name) for name in ("a", "b")}
    return Loader(datasets, build(LoaderConfig, values), rank=rank, ranks=ranks)


def write_two(folder):
    chance = np.random.default_rng(0)
    for number, name in enumerate(("a", "b")):
        lengths = np.clip(chance.lognormal(3, 1, 500), 2, 200).astype(int)
        write_shards(folder / name, lengths, max_tokens=3000, first=number * 2**19, weighted=number == 1)


def hash_of(rows):
    """Over everything that a step holds."""
    found = hashlib.sha256()
    for row in rows:
        for part in (row.ids, row.pos, row.weight):
            found.update(part.tobytes())
        found.update(repr(row.segments).encode())
    return found.hexdigest()


def read_log(path):
    """The steps that a log holds; a line that a kill tore does not count."""
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    return [json.loads(line) for line in lines[:-1]]


def log_steps(folder, path, rank, ranks, config):
    """What a killed process does: go on behind the last logged step, log each one and wait for the disk."""
    done = read_log(path)
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    cursor = msgspec.convert(done[-1]["cursor"], Cursor) if done else None
    with path.open("ab") as stream:
        for step in load(folder, rank, ranks, **config).steps(cursor):
            line = {
                "step": step.number,
                "hash": hash_of(step.rows),
                "cursor": msgspec.to_builtins(step.cursor),
            }
            stream.write(json.dumps(line).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
            time.sleep(0.003)  # so that the killer keeps up


def other_process(target, *arguments):
    """A process forked from one that has imported the loader, started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mainspring.data.loader"])
    process = context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process
