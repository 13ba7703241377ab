"""What a config.json says that is not built here is refused, key by key."""

import pytest

from mainspring.errors import WeightsError
from mainspring.models.families.base import family


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_scaled_rotary_positions_are_refused(key):
    kind = family("llama")
    said = {**kind.published(kind.tiny()), key: {"rope_type": "yarn", "factor": 4.0}}
    with pytest.raises(WeightsError, match="'yarn'"):
        kind.config(said)


def test_the_rotary_base_is_found_where_newer_files_keep_it():
    kind = family("llama")
    said = {**kind.published(kind.tiny()), "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    assert kind.config(said).blocks[0].mixer.rope.theta == 5e5


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_act", "swish"), ("position_embedding_type", "relative_key")]
)
def test_a_bert_of_another_kind_is_refused(key, value):
    kind = family("bert")
    with pytest.raises(WeightsError, match=f"{key} '{value}'"):
        kind.config({**kind.published(kind.tiny()), key: value})
