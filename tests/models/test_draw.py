import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.models.draw import draw, periods
from mainspring.models.families.base import FAMILIES, family

BLOCKS = family("gemma2").tiny().blocks
KINDS = [block.model_copy(update={"has_mixer_norm": has}) for has in (True, False) for block in BLOCKS]


def words(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_drawn_as_whole_xml_within_its_canvas(name):
    root = ET.fromstring(draw(family(name).tiny()))
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y = int(box.attrib.get("x", 0)), int(box.attrib.get("y", 0))
        assert x >= 0
        assert y >= 0
        assert x + int(box.attrib["width"]) <= width
        assert y + int(box.attrib["height"]) <= height


def test_experts_and_latents_are_drawn_with_their_sizes():
    said = words(draw(family("deepseek_v3").tiny()))
    assert said.count("latent attention 4 x 32, 32 kept") == 2
    assert "3 of 8 experts: 24 + 48" in said
    assert "2 of 4 experts: 96" in words(draw(family("mixtral").tiny()))


@given(st.lists(st.sampled_from(KINDS), max_size=24))
def test_repeated_patterns_unroll_to_the_layers(blocks):
    unrolled = [block for count, pattern in periods(blocks) for _ in range(count) for block in pattern]
    assert unrolled == blocks


def test_five_local_layers_and_a_full_one_are_drawn_once():
    config = family("gemma3_text").config(
        {**family("gemma3_text").published(family("gemma3_text").tiny()), "num_hidden_layers": 12,
         "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 2}
    )  # fmt: skip
    said = words(draw(config))
    assert "× 2" in said
    assert sum("window 8" in each for each in said) == 5
