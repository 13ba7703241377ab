"""TRL's losses on given log-probabilities: bare trainers, made without a model, a data set or a device.

Importing this takes seconds: tests that do are slow.
"""

from collections import defaultdict
from types import SimpleNamespace

import torch
from torch.nn.utils.rnn import pad_sequence
from trl.experimental.cpo.cpo_trainer import CPOTrainer
from trl.experimental.gkd.gkd_trainer import GKDTrainer
from trl.experimental.orpo.orpo_trainer import ORPOTrainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.rloo_trainer import RLOOTrainer


class Accelerator:
    device = torch.device("cpu")
    num_processes = 1
    sync_gradients = True

    def gather(self, x):
        return x

    def gather_for_metrics(self, x):
        return x

    def reduce(self, x, reduction):
        return x


def bare(kind, **attributes):
    trainer = object.__new__(kind)
    made = {
        "accelerator": Accelerator(), "model": SimpleNamespace(training=True), "aux_loss_enabled": False,
        "_metrics": {"train": defaultdict(list)}, "_total_train_tokens": 0, "_tp_size": 1, "ref_model": None,
        **attributes,
    }  # fmt: skip
    trainer.__dict__.update(made)
    return trainer


def padded(rows):
    return pad_sequence(list(rows), batch_first=True)


def _sequences(rows):
    """Inputs as a collator makes them: one token of prompt, then the answer."""
    mask = padded([torch.ones(len(row), dtype=torch.int64) for row in rows])
    mask = torch.cat([torch.zeros(len(rows), 1, dtype=torch.int64), mask], dim=1)
    ids = torch.zeros_like(mask)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": mask}


def _model(logp_BT):
    def model(**_):
        zeros = torch.zeros_like(logp_BT)
        return SimpleNamespace(log_probs=logp_BT, entropy=zeros, mean_logits=zeros, is_top1=zeros > 0)

    return model


def dpo(logp, reference, *, loss, beta, label_smoothing=0.0):
    """Rows of tokens' log-probabilities, the chosen answers first, then the rejected."""
    trainer = bare(
        DPOTrainer, ld_alpha=None, precompute_ref_logps=True, f_divergence_type="reverse_kl",
        loss_types=[loss], loss_weights=[1.0], beta=beta, label_smoothing=label_smoothing, use_weighting=False,
    )  # fmt: skip
    chosen, rejected = torch.stack([each.sum() for each in reference]).chunk(2)
    inputs = {**_sequences(logp), "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    return trainer._compute_loss(_model(padded(logp)), inputs, return_outputs=False)


def kto(logp, reference, apart, apart_reference, labels, *, beta, desirable, undesirable):
    trainer = bare(
        KTOTrainer, calculate_KL=True, precompute_ref_logps=True, loss_type="kto", beta=beta,
        desirable_weight=desirable, undesirable_weight=undesirable,
    )  # fmt: skip
    trainer._compute_kl_logps = lambda model, batch: torch.stack([each.sum() for each in apart]).detach()
    inputs = {
        **_sequences(logp), "label": torch.tensor(labels),
        "ref_logps": torch.stack([each.sum() for each in reference]),
        "ref_KL_logps": torch.stack([each.sum() for each in apart_reference]),
    }  # fmt: skip
    return trainer._compute_loss(_model(padded(logp)), inputs, return_outputs=False)


def cpo(chosen, rejected, *, loss, beta, label_smoothing=0.0, gamma=0.0):
    """Mean over pairs."""
    trainer = bare(
        CPOTrainer, alpha=0.0, beta=beta, loss_type=loss, label_smoothing=label_smoothing, simpo_gamma=gamma
    )
    return trainer.cpo_loss(chosen, rejected)[0].mean()


def orpo(chosen, rejected, *, beta):
    return -bare(ORPOTrainer, beta=beta).odds_ratio_loss(chosen, rejected)[0].mean()


def reward(chosen, rejected, margin, *, centering):
    trainer = bare(
        RewardTrainer, args=SimpleNamespace(center_rewards_coefficient=centering),
        maybe_activation_offload_context=None,
    )  # fmt: skip
    logits = torch.cat([chosen, rejected]).unsqueeze(1)
    inputs = {"margin": margin, "attention_mask": torch.ones(len(logits), 1)}
    return trainer.compute_loss(lambda **_: SimpleNamespace(logits=logits), inputs)


def grpo(logp, old, reference, advantage, **settings):
    """Settings of GRPOConfig's names; `sampler` are the log-probabilities that a cap corrects to."""
    args = SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1)
    values = {
        "loss_type": "grpo", "beta": 0.0, "epsilon_low": 0.2, "epsilon_high": 0.2, "max_completion_length": 1,
        "importance_sampling_level": "token", "entropy_coef": 0.0, "entropies": None, "correction": None,
        **settings,
    }  # fmt: skip
    correction = values.pop("correction")
    trainer = bare(
        GRPOTrainer, args=args, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        use_vllm=correction is not None, vllm_importance_sampling_correction=correction is not None,
        current_gradient_accumulation_steps=1, use_adaptive_entropy=False,
        _entropy_bonus_enabled=values["entropy_coef"] > 0, **values,
    )  # fmt: skip
    rows = padded(logp)
    entropies = torch.zeros_like(rows) if values["entropies"] is None else padded(values["entropies"])
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (rows, entropies, None)
    mask = _sequences(logp)["completion_mask"][:, 1:]
    inputs = {
        "prompt_ids": torch.zeros(len(logp), 1), "prompt_mask": torch.ones(len(logp), 1),
        "completion_ids": torch.zeros_like(rows), "completion_mask": mask, "advantages": padded(advantage),
        "old_per_token_logps": padded(old), "ref_per_token_logps": padded(reference),
        "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    if correction is not None:
        inputs["importance_sampling_ratio"] = padded(correction)
    return trainer._compute_loss(None, inputs)


def rloo(logp, old, advantage):
    trainer = bare(RLOOTrainer, epsilon_low=0.2, epsilon_high=0.2)
    rows = padded(logp)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (rows, torch.zeros_like(rows), None)
    inputs = {
        "prompt_ids": torch.zeros(len(logp), 1), "prompt_mask": torch.ones(len(logp), 1),
        "completion_ids": torch.zeros_like(rows), "completion_mask": _sequences(logp)["completion_mask"][:, 1:],
        "advantages": advantage, "old_logps": torch.stack([each.sum() for each in old]),
    }  # fmt: skip
    return trainer._compute_loss(None, inputs)


def jsd(student, teacher, *, beta, temperature):
    """Sum over rows of scores."""
    return GKDTrainer.generalized_jsd_loss(
        student, teacher, beta=beta, temperature=temperature, reduction="sum"
    )
