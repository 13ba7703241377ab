import pytest

from fakes_corpus import quick
from mainspring.errors import ConfigError
from mainspring.models.describe import describe
from mainspring.models.load import understand
from mainspring.train.shape import WIDTHS, is_of_family, shaped, work_per_token


def test_a_width_of_the_recipes_own_is_the_recipes_own_model():
    model = quick().model
    assert shaped(model, 384) == model
    assert is_of_family(model, model)
    assert not is_of_family(model | {"num_hidden_layers": 7}, model)


def test_proportions_stay_at_every_width(tmp_path):
    model = quick().model | {"num_key_value_heads": 2}
    for width in WIDTHS:
        made = shaped(model, width)
        heads, kv = made["num_attention_heads"], made["num_key_value_heads"]
        assert width % heads == 0
        assert heads % kv == 0
        assert abs(made["num_hidden_layers"] - width / 64) <= 0.5 or width < 64
        assert made["intermediate_size"] == pytest.approx(width * 8 / 3, abs=4)
        assert is_of_family(made, model)


def test_the_work_of_a_token_is_six_operations_a_weight_and_its_attention(tmp_path):
    model = quick().model | {"vocab_size": 500}
    config = understand(model, tmp_path)
    norms = 384 * (2 * 6 + 1)
    keys = config.context // 2
    assert work_per_token(config) == 6 * (describe(config).parameters - norms) + 3 * 6 * 4 * 384 * keys


def test_a_model_without_sizes_is_refused():
    with pytest.raises(ConfigError, match="tells no num_hidden_layers"):
        shaped({"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 1}, 128)
