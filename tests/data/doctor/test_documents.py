"""Every fault that documents can have is seeded among clean ones and found; nothing else is."""

import json

import pytest

from fakes_bpe import make_tokenizer
from fakes_datasets import add_dataset, add_tokenizer, chat, chats, plain, sentence
from mainspring import artifact as artifacts
from mainspring.data.document import Document
from mainspring.errors import ConfigError, DocumentError, NotFoundError

LEAK = "How many turns of the spring does the keeper need before the lamp shines for a whole night?"


def only(found, name):
    """The faults of a check, if there are no others."""
    assert list(found) == [name]
    return found[name]


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff "])
def test_empty_documents_are_counted_by_split_and_the_first_are_named(registry, faults, text):
    empty = [Document(id=f"e#{number}", text=text + " " * number) for number in range(5)]
    (fault,) = only(
        faults(add_dataset(registry, {"train": [*plain(500), *empty], "test": chats()})), "empty_document"
    )
    assert fault.where == "train: e#0, e#1, e#2 and 2 more"
    assert fault.numbers == {"documents": 5, "of": 505}


@pytest.mark.parametrize(
    "text",
    [
        "Le cafÃ© est fermÃ©.",
        "It doesnâ€™t turn.",
        "Привет, мир".encode().decode("latin-1"),
        "The lamp \ufffd turns.",
        "The lamp\x00 turns.",
        "Grüße, schöne Wörter".encode().decode("latin-1"),
        "日本語の文".encode().decode("cp1252", "replace"),
        "so fast 😀".encode().decode("latin-1"),
    ],
)
def test_wrongly_decoded_text_is_found(registry, faults, text):
    found = faults(add_dataset(registry, [*plain(), Document(id="w#0", text=text)]))
    assert [each.where for each in only(found, "wrong_encoding")] == ["train: w#0"]


@pytest.mark.parametrize(
    "text",
    [
        "Le café est fermé, dit-il : «\u00a0Élan vital, né à\u00a0»",
        "«\u00a0Bien aimé\u00a0»",
        "„MENÜ“ steht über „CAFÉ“, größer wie früher",
        "SÃO PAULO, AMANHÃ, NÃO É",
        "Привет, мир. Ð is a letter.",
        "日本語の文、東京。",
        "Â is a letter, Ã is one, and 25 Â too",
        "😀 👩\u200d🔬 fine",
        "page\x0cbreak\ttab\r\nline",
        "It is 21\u00a0°C — “quoted” … £5 §3 ½",
        "A long text. " * 200 + "One lost character: \ufffd.",
    ],
)
def test_text_with_signs_of_many_languages_is_no_wrong_encoding(registry, faults, text):
    assert faults(add_dataset(registry, [*plain(), Document(id="w#0", text=text)])) == {}


def test_what_ftfy_would_repair_is_found_and_what_it_leaves_is_not(registry, faults):
    ftfy = pytest.importorskip("ftfy")
    real = [
        "Ärger über Öl",
        "où ça, déjà",
        "señor, ¿qué?",
        "žluťoučký kůň",
        "smørrebrød på",
        "5\u00a0€ — “ja”",
    ]
    broken = [text.encode().decode("windows-1252", "replace") for text in real]
    for text in (*real, *(each for each in broken if "\ufffd" not in each)):
        found = faults(add_dataset(registry, [*plain(), Document(id="w#0", text=text)]))
        assert bool(found) == (ftfy.fix_encoding(text) != text), text


def test_the_same_documents_in_two_files_or_splits_are_found(registry, faults):
    fault, more = only(
        faults(add_dataset(registry, {"train": plain(), "test": plain()})), "duplicated_shards"
    )
    assert fault.where == "documents/test-00000.jsonl, documents/train-00000.jsonl"
    assert more.numbers == {"documents": 60, "of": 120}
    (fault,) = only(
        faults(add_dataset(registry, {"train": plain(50), "test": plain(3)})), "duplicated_shards"
    )
    assert fault.numbers == {"documents": 3, "of": 53}


def test_one_repeated_text_among_many_is_no_duplicated_shard(registry, faults):
    documents = [*plain(320), Document(id="again", text=plain()[7].text)]
    assert faults(add_dataset(registry, documents)) == {}


def test_text_of_a_gold_file_or_of_a_known_set_in_training_is_found(registry, faults, tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"id": "g1", "question": LEAK}) + "\n")
    seeded = [*chats(), chat(77, f"Tell me: {LEAK.upper()}", "Three.")]
    documents = add_dataset(registry, {"train": seeded, "test": [Document(id="t", text=LEAK)]})
    assert faults(documents) == {}
    (fault,) = only(faults(documents, gold_files=[gold]), "leaked_evaluation_text")
    assert fault.where == "train: c#77"
    assert "gold.jsonl (1)" in fault.what

    def fill(folder):
        (folder / "answers.jsonl").write_text(gold.read_text())

    registry.add(artifacts.write(registry.root, "evaluation", "gate", fill))
    (fault,) = only(faults(documents), "leaked_evaluation_text")
    assert "evaluation/gate@1 (1)" in fault.what


def labelled(*labels):
    return [Document(id=f"l#{n}", text=sentence(n), meta={"label": label}) for n, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("labels", "allowed", "bad"),
    [
        ([0, 1, 4, 5], "0:4", "l#3 (5)"),
        ([0, 1, -1], "0:4", "l#2 (-1)"),
        ([0.5, 1.5], "0:1", "l#1 (1.5)"),
        ([1, "1", 2], "0:4", "l#1 ('1')"),
        ([True, 1, 2], "0:4", "l#0 (True)"),
        (["yes", "no", "perhaps"], "no,maybe,yes", "l#2 ('perhaps')"),
        ([1, 2, "two"], "", "l#2 ('two')"),
    ],
)
def test_a_label_that_is_not_allowed_is_found(registry, faults, labels, allowed, bad):
    dataset = add_dataset(registry, labelled(*labels))
    found = faults(dataset, labels=allowed)
    assert [each.where for each in only(found, "label_outside_range")] == [f"train: {bad}"]


def test_the_labels_that_a_dataset_declares_are_allowed(registry, faults):
    documents = labelled("yes", "no", "maybe")
    assert faults(add_dataset(registry, documents, labels=["yes", "no", "maybe"])) == {}
    (fault,) = only(faults(add_dataset(registry, documents, labels=["yes", "no"])), "label_outside_range")
    assert fault.what == "its label is not among yes, no"


def test_labels_beyond_those_of_the_model_are_found(registry, faults):
    def fill(folder):
        make_tokenizer().save(folder)
        kinds = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"}}
        (folder / "config.json").write_text(json.dumps(kinds))

    registry.add(artifacts.write(registry.root, "model", "judge", fill))
    (fault,) = only(faults(add_dataset(registry, labelled(0, 1, 2)), model="judge"), "label_outside_range")
    assert fault.where == "train: l#2 (2)"
    assert fault.what.endswith("0 to 1")


@pytest.mark.parametrize("given", ["4:0", "a:b", "1:2:3"])
def test_a_range_that_is_none_is_an_error(registry, faults, given):
    with pytest.raises(ConfigError, match="write a range such as 0:4"):
        faults(add_dataset(registry, plain()), labels=given)


def test_a_conversation_without_an_answer_trains_nothing(registry, faults):
    bad = [chat(80, "Who?", ""), Document(id="m", text="x", meta={"messages": [{"role": "tool"}]})]
    found = faults(add_dataset(registry, [*chats(), *bad]))
    assert [each.where for each in found["all_zero_mask"]] == ["train: c#80, m"]


def test_answers_that_were_cut_at_a_limit_are_found(registry, faults):
    told = [*chats(), chat(80, "Who?", "The owner of the", finish_reason="length")]
    (fault,) = only(faults(add_dataset(registry, told)), "truncated_answer")
    assert fault.where == "train: c#80"
    cut = [*chats(), *(chat(90 + n, "Tell me all.", (sentence(n) + " goes on" * 40)[:200]) for n in range(4))]
    (fault,) = only(faults(add_dataset(registry, cut)), "truncated_answer")
    assert "exactly 200 characters" in fault.what
    assert fault.numbers == {"documents": 4, "of": 44}


@pytest.mark.parametrize("text", ["<|begin_of_text|>The owner", "<s>[INST] Who? [/INST]", " <bos>The owner"])
def test_a_begin_token_written_into_the_text_is_found(registry, faults, text):
    found = faults(add_dataset(registry, [*plain(), Document(id="b", text=text)]))
    assert [each.where for each in only(found, "doubled_begin_token")] == ["train: b"]


def test_struck_out_text_is_no_begin_token(registry, faults):
    assert faults(add_dataset(registry, [*plain(), Document(id="b", text="<s>The owner</s> Nobody")])) == {}


def test_conversations_for_a_model_whose_template_cannot_render_them_are_found(registry, faults):
    add_tokenizer(registry, "mute", make_tokenizer(""))
    endless = "{% for turn in messages %}{{ turn['content'] + '\n' }}{% endfor %}"
    add_tokenizer(registry, "endless", make_tokenizer(endless))
    for name in ("mute", "endless"):
        (fault,) = only(faults(add_dataset(registry, chats()), model=name), "template_mismatch")
        assert f"tokenizer/{name}@1" in fault.what
    assert faults(add_dataset(registry, plain()), model="mute") == {}


def test_a_dataset_that_holds_nothing_and_a_model_that_is_not_there_are_errors(registry, faults):
    with pytest.raises(DocumentError, match="holds no documents"):
        faults(add_dataset(registry, []))
    with pytest.raises(NotFoundError, match="no tokenizer or model 'x'"):
        faults(add_dataset(registry, plain()), model="x")
