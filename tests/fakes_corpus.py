"""Token shards with a held-out split, for pre-training, and a recipe that is quick on them."""

from fakes_bpe import make_tokenizer
from fakes_datasets import add_dataset, add_tokenizer, plain
from mainspring.config import build
from mainspring.data.shard import ShardSettings
from mainspring.data.shard_dataset import shard_dataset
from mainspring.train.recipe import load_recipe

QUICK = (
    "data.dataset=dataset/ids", "model.max_position_embeddings=64", "train.plan={dtype: fp32, threads: 1}",
    "train.plan.micro_batch_tokens=256",
)  # fmt: skip


def add_corpus(registry, *, count=330, held=6):
    """Documents of about 30 ids each in the splits train and validation."""
    documents = plain(count + held)
    splits = {"train": documents[held:]} | ({"validation": documents[:held]} if held else {})
    source, dataset = add_tokenizer(registry), add_dataset(registry, splits)
    return shard_dataset(registry, dataset, source, make_tokenizer(), build(ShardSettings, {}), name="ids")[0]


def quick(*settings):
    return load_recipe("pretrain", (), [*QUICK, *settings])
