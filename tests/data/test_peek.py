"""A look into the files of a split: documents from everywhere, found without reading the rest."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.document import Document, write_documents
from mainspring.data.peek import documents


@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=30),
    cut=st.integers(1, 29),
    count=st.integers(1, 40),
)
@settings(deadline=None, max_examples=50)
def test_documents_are_spread_over_all_files(lengths, cut, count, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peek")
    (folder / "documents").mkdir()
    made = [Document(id=f"d#{number}", text="x" * length) for number, length in enumerate(lengths)]
    for number, part in enumerate([made[:cut], made[cut:]]):
        write_documents(folder / "documents" / f"train-{number:05d}.jsonl", part)
    found = documents(folder, "train", count)
    numbers = [int(each.id[2:]) for each in found]
    assert found == [made[number] for number in numbers]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    assert len(found) <= count
    if count > 2 * sum(len(line) + 30 for line in (each.text for each in made)):
        assert len(found) == len(made)


def test_a_long_line_is_found_from_any_of_its_bytes(tmp_path):
    (tmp_path / "documents").mkdir()
    long = Document(id="long", text="y" * 300_000)
    write_documents(tmp_path / "documents" / "train-00000.jsonl", [Document(id="a", text=""), long])
    assert documents(tmp_path, "train", 7)[1:] == [long]
