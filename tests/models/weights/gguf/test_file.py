import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from fakes_gguf import finish, write_gguf
from mainspring.errors import WeightsError
from mainspring.models.weights.gguf.file import GgufFile
from mainspring.models.weights.gguf.header import READ_TYPES
from oracle_ggml import BLOCKS, dequantized, random_blocks


def write_raw(path, kind, raw):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("one", raw, raw_dtype=Type[kind])
    finish(writer)
    return GgufFile(path)


@pytest.mark.parametrize("kind", BLOCKS)
def test_random_blocks_come_out_as_the_formats_definition_says(kind, tmp_path):
    raw = random_blocks(kind, 3, 4)
    expected = dequantized(kind, raw)
    found = write_raw(tmp_path / "one.gguf", kind, raw)
    assert found.shapes == {"one": expected.shape}
    assert np.allclose(found.read("one").numpy(), expected, rtol=1e-5, atol=1e-4)
    assert np.abs(expected).max() > 1


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_plain_numbers_come_out_as_they_are(kind, tmp_path):
    values = np.random.default_rng(0).standard_normal((3, 5)).astype("<f4")
    stored = {
        "F32": values,
        "F16": values.astype("<f2"),
        "BF16": (values.view("<u4") >> 16).astype("<u2").view(np.uint8).reshape(3, 10),
    }[kind]
    expected = {
        "F32": values,
        "F16": stored.astype("<f4"),
        "BF16": (values.view("<u4") >> 16 << 16).view("<f4"),
    }[kind]
    assert np.array_equal(write_raw(tmp_path / "one.gguf", kind, stored).read("one").numpy(), expected)


def test_every_type_that_is_read_was_tested():
    assert set(READ_TYPES) == {*BLOCKS, "F32", "F16", "BF16"}


@pytest.mark.parametrize("kind", ["Q4_K", "Q8_0", "F32"])
def test_a_part_of_a_stack_is_its_slice(kind, tmp_path):
    if kind == "F32":
        raw = np.random.default_rng(0).standard_normal((5, 4, 32)).astype("<f4")
    else:
        raw = random_blocks(kind, 20, 1).reshape(5, 4, -1)
    found = write_raw(tmp_path / "one.gguf", kind, raw)
    whole = found.read("one")
    assert whole.ndim == 3
    for part in range(5):
        assert found.read("one", part).equal(whole[part])


def test_metadata_equal_what_the_formats_own_reader_finds(tmp_path):
    said = {
        "context_length": 7,
        "layer_norm_rms_eps": 1e-5,
        "chat_template": "{{ a }}",
        "token_list": ["ä", ""],
    }
    path = write_gguf(tmp_path / "a.gguf", "llama", said, {})
    theirs = gguf.GGUFReader(path)
    expected = {
        name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")
    }
    assert GgufFile(path).fields == expected
    assert expected["tokenizer.ggml.tokens"] == ["ä", ""]


def test_a_tensor_that_stands_twice_is_refused(tmp_path):
    path = write_gguf(tmp_path / "a.gguf", "llama", {}, {"aa": np.ones(8, "f4"), "ab": np.ones(8, "f4")})
    path.write_bytes(path.read_bytes().replace(b"ab", b"aa"))
    with pytest.raises(WeightsError, match=r"a\.gguf .* is damaged: tensor 'aa' stands in it twice"):
        GgufFile(path)
