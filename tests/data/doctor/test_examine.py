"""A clean dataset has no fault; what is looked for is what the guide names."""

import json
import os
from pathlib import Path

import pytest

from fakes_datasets import add_dataset, add_tokenizer, chat, chats, encode_dataset, plain
from mainspring.data.doctor.examine import CHECKS
from mainspring.data.document import Document

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("MAINSPRING_DATA", ROOT / ".." / "shared" / "data"))


def test_ten_faults_are_looked_for_and_each_has_a_name_of_its_own():
    assert len({check.name for check in CHECKS}) == 10


def test_clean_documents_have_no_fault(registry, faults):
    add_tokenizer(registry)
    documents = [*plain(), *chats(), chat(99, "And then?", "It stops.", "It goes on")]
    labelled = [Document(id=f"l#{n}", text=f"Number {n}", meta={"label": n % 3}) for n in range(30)]
    assert (
        faults(add_dataset(registry, {"train": documents, "test": labelled}), model="small", labels="0:2")
        == {}
    )


def test_clean_shards_have_no_fault(registry, faults):
    documents = [*plain(), *chats(), chat(99, "And then?", "It stops.", "It goes on")]
    assert faults(encode_dataset(registry, documents), model="small") == {}
    assert faults(encode_dataset(registry, documents, begin="<|im_start|>")) == {}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the public data sets are not beside the checkout")
def test_real_problems_and_what_they_are_encoded_to_have_no_fault(registry, faults, tmp_path):
    lines = (DATA / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    conversations = [chat(number, row["question"], row["answer"]) for number, row in enumerate(rows)]
    texts = [Document(id=f"g#{number}", text=" ".join(row.values())) for number, row in enumerate(rows)]
    gold = [tmp_path / "gold.jsonl"]
    claims = (DATA / "beir-scifact" / "claims.dev.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [{"id": number, "question": json.loads(line)["claim"]} for number, line in enumerate(claims)]
    gold[0].write_text("\n".join(map(json.dumps, asked)))
    assert faults(add_dataset(registry, conversations), gold_files=gold) == {}
    assert faults(add_dataset(registry, texts), gold_files=gold) == {}
    assert faults(encode_dataset(registry, conversations[:2000])) == {}
