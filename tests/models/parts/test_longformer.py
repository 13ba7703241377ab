"""Sliding windows and the global first token, beside the formula written token by token."""

import pytest
import torch

from mainspring.models.attend import PackedAttend
from mainspring.models.mixer_specs import LongformerSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.longformer import Longformer

SPEC = LongformerSpec(num_heads=2, head_size=4, window=6)


def formula(mixer, x_LD):
    """softmax(q k) v over what each token sees; the first one's own projections for its row."""
    length, reach = len(x_LD), SPEC.window // 2
    rows = []
    for at in range(length):
        is_global = at == 0
        q, k, v = (
            (mixer.q_global, mixer.k_global, mixer.v_global) if is_global else (mixer.q, mixer.k, mixer.v)
        )
        seen = [m for m in range(length) if is_global or m == 0 or abs(m - at) <= reach]
        heads = []
        for head in range(SPEC.num_heads):
            part = slice(4 * head, 4 * head + 4)
            scores = k(x_LD[seen])[:, part] @ q(x_LD[at])[part] * 4**-0.5
            heads.append(scores.softmax(0) @ v(x_LD[seen])[:, part])
        rows.append(torch.cat(heads))
    return mixer.o(torch.stack(rows))


@pytest.mark.parametrize("lengths", [[1], [4], [7], [30], [1, 9, 9, 2, 13]])
def test_packed_segments_get_what_the_formula_gives_each_alone(lengths):
    torch.manual_seed(0)
    mixer, x_TD = Longformer(SPEC, 8, 0), torch.randn(sum(lengths), 8)
    attend = PackedAttend(lengths)
    around = Pass(pos_T=torch.zeros(0, dtype=torch.int64), attend=attend, rope=lambda *_: None)
    expected = torch.cat([formula(mixer, part) for part in x_TD.split(lengths)])
    torch.testing.assert_close(mixer(x_TD, around), expected, atol=1e-6, rtol=1e-5)


def test_a_far_token_reaches_the_others_through_the_global_one_only():
    torch.manual_seed(0)
    mixer, x_TD = Longformer(SPEC, 8, 0), torch.randn(20, 8, requires_grad=True)
    around = Pass(pos_T=torch.zeros(0, dtype=torch.int64), attend=PackedAttend([20]), rope=lambda *_: None)
    y_TD = mixer(x_TD, around)
    (grad,) = torch.autograd.grad(y_TD[5].sum(), x_TD, retain_graph=True)
    assert [at for at in range(20) if grad[at].abs().sum() > 0] == [0, 2, 3, 4, 5, 6, 7, 8]
    (grad,) = torch.autograd.grad(y_TD[0].sum(), x_TD)
    assert (grad.abs().sum(1) > 0).all()
