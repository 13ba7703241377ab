import pytest

from mainspring.data.scores import Score, gather, read_scores
from mainspring.errors import DocumentError


def test_what_is_missing_from_any_document_that_may_be_chosen_is_missing():
    whole = gather(
        [Score(id="a", nll=1.0, vector=[1]), Score(id="b", probabilities=[0.5, 0.5], vector=[2])], "margin"
    )
    assert whole.uncertainty_N.tolist() == [1.0, 1.0]
    assert whole.vectors_ND.shape == (2, 1)
    half = gather([Score(id="a", nll=1.0), Score(id="b", vector=[2])], "margin")
    assert half.uncertainty_N is None
    assert half.vectors_ND is None
    done = gather([Score(id="a", nll=1.0), Score(id="b", labelled=True)], "margin")
    assert done.uncertainty_N[0] == 1.0
    assert done.labelled_N.tolist() == [False, True]


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([], "no scores to choose by"),
        ([Score(id="a"), Score(id="a")], "two scores of 'a'"),
        ([Score(id="a", probabilities=[0.5, 0.4])], "add up to 0.9"),
        ([Score(id="a", probabilities=[1.5, -0.5])], "with -0.5 as the least"),
        ([Score(id="a", nll=float("nan"))], "not finite"),
        ([Score(id="a", vector=[float("inf")])], "not finite"),
        ([Score(id="a", vector=[1]), Score(id="b", vector=[1, 2])], "has 2 numbers, the first one 1"),
    ],
)
def test_scores_that_are_none_say_why(scores, says):
    with pytest.raises(DocumentError, match=says):
        gather(scores, "entropy")


@pytest.mark.parametrize(
    "line", ['{"nll": 1}', '{"id": "a", "prob": [1]}', "no", '{"id": "a", "nll": "x"}', "\xff"]
)
def test_a_line_that_is_no_score_is_named(tmp_path, line):
    file = tmp_path / "scores.jsonl"
    file.write_bytes(b'{"id": "z", "nll": 2}\n\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(DocumentError, match="Line 3"):
        list(read_scores(file))
    with pytest.raises(DocumentError, match="cannot be read"):
        list(read_scores(tmp_path / "none"))
