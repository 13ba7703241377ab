"""Every fault that token shards can have is seeded among clean segments and found; nothing else is."""

import json

import msgspec
import pytest

from fakes_bpe import CHATML, make_tokenizer
from fakes_datasets import add_shards, add_tokenizer, chats, encode_dataset, plain, sentence
from mainspring import artifact as artifacts
from mainspring.chat import render
from mainspring.data.shard_files import read_manifest, write_manifest
from mainspring.schema import Message

TOKENIZER = make_tokenizer()
END = TOKENIZER.special["<|im_end|>"]
START = TOKENIZER.special["<|im_start|>"]


def text(number):
    return [*TOKENIZER.encode(sentence(number)), END], None


def chat(number, *answers):
    turns = [
        turn
        for answer in answers
        for turn in (Message("user", sentence(number)), Message("assistant", answer))
    ]
    rendered = render(turns, TOKENIZER)
    return rendered.ids, rendered.weight


def clean(count=40):
    return [text(number) if number % 2 else chat(number, sentence(number + 50)) for number in range(count)]


def only(found, name):
    assert list(found) == [name]
    return found[name]


def places(found, name):
    return [each.where for each in only(found, name)]


def test_clean_segments_have_no_fault(registry, faults):
    assert faults(add_shards(registry, clean()), model="small") == {}


def test_a_segment_in_which_nothing_is_trained_is_found(registry, faults):
    ids, _ = chat(80, "Never.")
    only_first = [1, *[0] * (len(ids) - 1)]
    found = faults(add_shards(registry, [*clean(), (ids, [0] * len(ids)), ([*ids, 9], [*only_first, 0])]))
    assert places(found, "all_zero_mask") == ["train: doc-40 (segment 40), doc-41 (segment 41)"]


def test_an_answer_whose_ids_end_within_it_is_found(registry, faults):
    ids, weight = chat(80, "The owner winds it every day.")
    last = max(place for place, each in enumerate(weight) if each)
    found = faults(add_shards(registry, [*clean(), (ids[:last], weight[:last])]))
    (fault,) = only(found, "truncated_answer")
    assert fault.where == "train: doc-40 (segment 40)"
    assert fault.numbers == {"segments": 1, "of": 21}


def test_an_answer_that_the_models_context_cuts_is_found(registry, faults):
    long = chat(80, " ".join(map(sentence, range(40))))
    assert len(long[0]) > TOKENIZER.max_length
    dataset = add_shards(registry, [*clean(), long])
    assert faults(dataset) == {}
    (fault,) = only(faults(dataset, model="small"), "truncated_answer")
    assert "context of 256 ids" in fault.what
    texts = [([*TOKENIZER.encode(" ".join(map(sentence, range(60)))), END], None)]
    assert faults(add_shards(registry, [*clean(), *texts]), model="small") == {}


@pytest.mark.parametrize("answers", [("Never.",), ("Never.", "Now.")])
def test_an_answer_without_its_end_token_is_found(registry, faults, answers):
    ids, weight = chat(80, *answers)
    first = next(place for place, each in enumerate(weight) if each and ids[place] == END)
    found = faults(
        add_shards(
            registry, [*clean(), (ids[:first] + ids[first + 1 :], weight[:first] + weight[first + 1 :])]
        )
    )
    assert places(found, "missing_end_token") == ["train: doc-40 (segment 40)"]


def test_a_text_without_its_end_token_is_found(registry, faults):
    found = faults(add_shards(registry, [*clean(), (text(80)[0][:-1], None)]))
    assert places(found, "missing_end_token") == ["train: doc-40 (segment 40)"]


def test_two_begin_tokens_are_found_and_one_is_not(registry, faults):
    ids, _ = text(80)
    assert faults(add_shards(registry, [*clean(), ([START, *ids], None)])) == {}
    found = faults(add_shards(registry, [*clean(), ([START, START, *ids], None)]))
    assert places(found, "doubled_begin_token") == ["train: doc-40 (segment 40)"]


def test_a_begin_token_before_a_template_that_puts_one_itself_is_found(registry, faults):
    ids, weight = chat(1, "Never.")
    assert ids[0] == START
    doubled = ([START, *ids], [0, *weight])
    assert places(faults(add_shards(registry, [*clean(), doubled])), "doubled_begin_token")


def test_segments_without_text_and_lost_bytes_are_found(registry, faults):
    found = faults(add_shards(registry, [*clean(), ([START, END], None)]))
    assert places(found, "empty_document") == ["train: doc-40 (segment 40)"]
    half = TOKENIZER.encode("é")[:1]
    found = faults(add_shards(registry, [*clean(), ([*TOKENIZER.encode("word"), *half, END], None)]))
    assert places(found, "wrong_encoding") == ["train: doc-40 (segment 40)"]


def test_evaluation_text_is_found_in_ids(registry, faults, tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(
        json.dumps({"id": "g", "question": f"{sentence(90)} {sentence(91)} {sentence(92)}"}) + "\n"
    )
    leak = [*TOKENIZER.encode(f"{sentence(3)} {sentence(90)} {sentence(91)} {sentence(92)}"), END]
    found = faults(add_shards(registry, [*clean(), (leak, None)]), gold_files=[gold])
    assert places(found, "leaked_evaluation_text") == ["train: doc-40 (segment 40)"]


def test_shards_that_hold_the_same_are_found(registry, faults):
    twice = clean(6) * 2
    longest = sum(len(ids) for ids, _ in clean(6))
    by_sum, by_text = only(faults(add_shards(registry, twice, max_tokens=longest)), "duplicated_shards")
    assert by_sum.where == "shards/train-00000.ids, shards/train-00001.ids"
    assert by_text.where == "doc-6 (segment 6), doc-7 (segment 7), doc-8 (segment 8)"
    assert by_text.numbers == {"segments": 6, "of": 12}


def test_the_same_ids_with_other_weights_are_not_the_same(registry, faults):
    ids, weight = chat(2, "Never.")
    assert faults(add_shards(registry, [(ids, weight), (ids, [1] * (len(ids) - 1) + [0])])).keys() <= {
        "missing_end_token"
    }


def test_another_tokenizer_or_template_than_the_models_is_found(registry, faults):
    add_tokenizer(registry, "other", make_tokenizer(CHATML + " "))
    (fault,) = only(faults(add_shards(registry, clean()), model="other"), "template_mismatch")
    assert fault.what == "its ids are not those of tokenizer/other@1"


def test_shards_that_name_another_tokenizer_than_made_them_or_none_are_found(registry, faults):
    add_tokenizer(registry, "other", make_tokenizer(CHATML + " "))
    for parent in ("tokenizer/other@1", ""):
        found = faults(add_shards(registry, clean(), parent=parent))
        assert [each.where for each in found["template_mismatch"]] == ["train"]
        assert list(found) == ["template_mismatch"]


def test_ids_that_the_vocabulary_or_the_model_has_not_are_found(registry, faults):
    wide = TOKENIZER.vocab_size + 5
    segments = [*clean(), ([wide - 1, END], None)]
    dataset = add_shards(registry, segments, vocab_size=wide)

    def narrow(folder):
        TOKENIZER.save(folder)
        (folder / "config.json").write_text(json.dumps({"vocab_size": TOKENIZER.vocab_size}))

    registry.add(artifacts.write(registry.root, "model", "narrow", narrow))
    found = faults(dataset, model="narrow")
    assert found["label_outside_range"][0].where == f"train: doc-40 (segment 40): {wide - 1}"

    folder = registry.folder(dataset) / "shards"  # a manifest that was written by hand
    manifest = read_manifest(folder)
    write_manifest(folder, msgspec.structs.replace(manifest, vocab_size=TOKENIZER.vocab_size))
    assert "label_outside_range" in faults(dataset)


def test_splits_are_told_apart(registry, faults):
    dataset = add_shards(registry, [(text(1)[0][:-1], None)], split="validation")
    assert places(faults(dataset), "missing_end_token") == ["validation: doc-0 (segment 0)"]


def test_documents_and_conversations_as_data_shard_encodes_them_have_none(registry, faults):
    assert faults(encode_dataset(registry, [*plain(), *chats()]), model="small") == {}
