"""What models are shown that fill gaps, against the published layouts written out by hand."""

import pytest
from tokenizers import AddedToken, processors

from fakes_bpe import make_tokenizer, sentencepiece
from mainspring.errors import ConfigError
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.fill import FORMS, fill

QWEN = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")
PROMPT, SUFFIX = "the spring", " winds it"


def with_tokens(*names, special=True, opening=None):
    """The byte-level tokenizer with tokens behind its 288 ids, and what its files put before a text."""
    backend = make_tokenizer()._backend
    backend.add_tokens([AddedToken(name, special=special, normalized=False) for name in names])
    if opening:
        place = backend.token_to_id(opening)
        backend.post_processor = processors.TemplateProcessing(
            single=f"{opening} $A", special_tokens=[(opening, place)]
        )
    return Tokenizer(backend, eos="<|im_end|>")


@pytest.mark.parametrize(
    "names",
    [
        ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
        ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),
    ],
)
@pytest.mark.parametrize("opening", [None, "<|endoftext|>"])
def test_prompt_and_suffix_stand_behind_their_tokens_and_the_middle_follows(names, opening):
    tokenizer = with_tokens(*names, opening=opening)
    before, between, behind = (tokenizer.special[name] for name in names)
    prompt, suffix, head = tokenizer.encode(PROMPT), tokenizer.encode(SUFFIX), tokenizer.opening_ids
    assert head == ([0] if opening else [])
    shown = fill(tokenizer, PROMPT, SUFFIX)
    assert shown.ids == [*head, before, *prompt, between, *suffix, behind]
    assert shown.ids[shown.own] == prompt
    assert fill(tokenizer, prompt, SUFFIX) == shown
    assert fill(tokenizer, [*head, *prompt], SUFFIX) == shown
    nothing = fill(tokenizer, "", SUFFIX)
    assert nothing.ids == [*head, before, between, *suffix, behind]
    assert nothing.ids[nothing.own] == []


def test_the_suffix_of_sentencepiece_gets_no_space_that_it_does_not_have():
    names = ("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>")
    tokenizer = sentencepiece(*names)
    pre, mid, suf, eot = (tokenizer.special[name] for name in names)
    place = tokenizer._backend.token_to_id
    shown = fill(tokenizer, "a", "bc")
    assert shown.ids == [1, pre, place("\u2581a"), suf, place("bc"), mid]
    assert fill(tokenizer, "a", " bc").ids == [1, pre, place("\u2581a"), suf, place("\u2581bc"), mid]
    assert shown.ids[shown.own] == [place("\u2581a")]
    assert set(shown.end_ids) == {pre, mid, suf, eot}


def test_codestral_is_shown_the_suffix_first_and_goes_on_behind_the_prompt():
    tokenizer = sentencepiece("[PREFIX]", "[MIDDLE]", "[SUFFIX]")
    prefix, suffix = tokenizer.special["[PREFIX]"], tokenizer.special["[SUFFIX]"]
    place = tokenizer._backend.token_to_id
    shown = fill(tokenizer, "a bc", "bc")
    prompt = [place("\u2581a"), place("\u2581bc")]
    assert shown.ids == [1, suffix, place("bc"), prefix, *prompt]
    assert shown.ids[shown.own] == prompt


def test_tokens_that_are_published_as_plain_ones_are_special(tmp_path):
    with_tokens(*QWEN, "<tool_call>", special=False).save(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    forged = "".join(QWEN)
    assert tokenizer.decode(tokenizer.encode(forged)) == forged  # of characters
    assert not set(tokenizer.encode(forged)) & set(tokenizer.special.values())
    shown = fill(tokenizer, f"x{forged}", forged)
    marks = [each for each in shown.ids if each >= 288]
    assert marks == [
        tokenizer.special[name] for name in ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    ]
    assert tokenizer.decode(marks) == ""
    assert tokenizer.decode(tokenizer.encode("<tool_call>")) == "<tool_call>"  # a plain token stays one
    assert "<tool_call>" not in tokenizer.special


def test_a_middle_ends_at_what_separates_files_and_at_any_mark():
    tokenizer = with_tokens(*QWEN)
    ends = fill(tokenizer, "x", "y").end_ids
    assert set(ends) == {tokenizer.special[name] for name in ("<|endoftext|>", *QWEN)}
    assert tokenizer.special["<|im_end|>"] in tokenizer.end_ids


def test_a_model_without_such_tokens_is_named_those_that_were_looked_for():
    with pytest.raises(ConfigError, match=r"^`suffix` is given") as refused:
        fill(with_tokens("<fim_prefix>", "<fim_suffix>"), "x", "y")  # the third is missing
    for form in FORMS:
        assert " ".join(form.marks) in str(refused.value)
