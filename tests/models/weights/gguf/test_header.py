import struct
import tracemalloc

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_bpe import make_tokenizer
from fakes_gguf import write_gguf
from mainspring.errors import WeightsError
from mainspring.models.weights.gguf.file import GgufFile


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file with all kinds of metadata and two tensors."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tensors = {"token_embd.weight": np.ones((8, 32), "f4"), "output_norm.weight": np.ones(32, "f4")}
    said = {"context_length": 7, "layer_norm_rms_eps": 1e-5, "causal_attention": True}
    return write_gguf(
        path, "llama", said, tensors, make_tokenizer()._backend, Type.Q8_0, bos_token_id=1
    ).read_bytes()


def open_bytes(tmp_path, data):
    path = tmp_path / "tiny.gguf"
    path.write_bytes(data)
    return GgufFile(path)


@pytest.mark.parametrize("share", [0, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999])
def test_a_truncated_file_is_named_wherever_it_is_cut(whole, tmp_path, share):
    with pytest.raises(WeightsError, match=r"tiny\.gguf .*(is damaged|truncated)"):
        open_bytes(tmp_path, whole[: int(share * len(whole))])


def test_a_file_of_another_kind_is_named(tmp_path):
    with pytest.raises(WeightsError, match="begins with b'PK"):
        open_bytes(tmp_path, b"PK\x03\x04 not a model")


@pytest.mark.parametrize(
    ("before", "code", "value", "message"),
    [
        (b"GGUF", "<I", 1, "version 1; versions 2 and 3"),
        (b"GGUF\x03\0\0\0", "<Q", 2**60, "is damaged"),
        (b"tokenizer.ggml.token_type\x09\0\0\0\x05\0\0\0", "<Q", 2**50, "is damaged"),
        (b"tokenizer.ggml.tokens\x09\0\0\0\x08\0\0\0", "<Q", 2**50, "is damaged"),
        (b"tokenizer.ggml.tokens\x09\0\0\0", "<I", 99, "of a value of kind 99"),
        (b"llama.context_length", "<I", 77, "of a value of kind 77"),
        (b"token_embd.weight", "<I", 2**31, "has 2147483648 dimensions; 4 is the most"),
        (b"token_embd.weight\x02\0\0\0", "<Q", 33, "of shape .8, 33. does not fit blocks of 32"),
        (b"token_embd.weight\x02\0\0\0", "<Q", 0, "of shape .8, 0. does not fit"),
        (b"token_embd.weight\x02\0\0\0", "<Q", 2**60, "is truncated"),
        (b"output_norm.weight\x01\0\0\0 \0\0\0\0\0\0\0", "<I", 16, "of type IQ2_XXS; read are F32, F16"),
        (b"output_norm.weight\x01\0\0\0 \0\0\0\0\0\0\0", "<I", 4, "of type number 4; read are F32, F16"),
        (b"output_norm.weight\x01\0\0\0 \0\0\0\0\0\0\0\0\0\0\0", "<Q", 2**60, "is truncated"),
    ],
)
def test_a_damaged_number_is_refused_at_once_without_room_for_it(
    whole, tmp_path, before, code, value, message
):
    at = whole.index(before) + len(before)
    packed = struct.pack(code, value)
    tracemalloc.start()
    with pytest.raises(WeightsError, match=message):
        open_bytes(tmp_path, whole[:at] + packed + whole[at + len(packed) :])
    assert tracemalloc.get_traced_memory()[1] < 50 * len(whole)
    tracemalloc.stop()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_damage_of_the_header_gets_further_than_an_error(whole, tmp_path_factory, data):
    damaged = bytearray(whole[: data.draw(st.sampled_from([len(whole), len(whole) - 100]))])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = open_bytes(tmp_path_factory.mktemp("x"), bytes(damaged))
    except WeightsError:
        return
    for name, shape in found.shapes.items():
        assert tuple(found.read(name).shape) == shape


def test_arrays_within_arrays_end_somewhere(tmp_path):
    nested = struct.pack("<IQ", 9, 1) * 50_000
    key = struct.pack("<Q1sI", 1, b"k", 9)
    with pytest.raises(WeightsError, match="of a value of kind 9, which there is not"):
        open_bytes(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + nested)


@pytest.mark.parametrize("align", [0, -1, "32"])
def test_an_alignment_that_is_none_is_named(tmp_path, align):
    packed = struct.pack("<IQ2s", 8, 2, b"32") if align == "32" else struct.pack("<Ii", 5, align)
    key = b"general.alignment"
    with pytest.raises(WeightsError, match=f"aligned to {align!r} bytes"):
        open_bytes(tmp_path, b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, len(key)) + key + packed)


def test_a_part_of_a_split_model_asks_for_the_whole(tmp_path):
    path = tmp_path / "a.gguf"
    write_gguf(path, "llama", {}, {})
    key = b"split.count"
    body = path.read_bytes()[:8] + struct.pack("<QQ", 0, 1)
    path.write_bytes(body + struct.pack("<Q", len(key)) + key + struct.pack("<IH", 2, 3))
    with pytest.raises(
        WeightsError, match=r"is one of 3 parts of a model; one whole file is read\. Join the parts first"
    ):
        GgufFile(path)
