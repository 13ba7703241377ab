"""A student learns what a teacher would say, not only what was said.

On a teacher's or a dataset's text it is supervised distillation (arXiv:1503.02531); on the student's own answers, as
rollouts give them, it is on-policy distillation (arXiv:2306.13649), where the reverse divergence fits best.

Shapes: N trained tokens of a batch, V vocabulary, k the teacher's likeliest tokens.
"""

from typing import Literal, Self

import pydantic
import torch
from pydantic import Field

from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.annotate import Annotator, TeacherLogits, TeacherTopK
from mainspring.train.batch import Batch
from mainspring.train.objectives.base import Loss, Objective
from mainspring.train.objectives.divergence import generalized_jsd
from mainspring.train.outputs import Outputs

SURELY = -1e-7  # a teacher's top k sums to at most exp of this, so that the rest has a logarithm


class Distill(Objective):
    """hard * -log p(target) + (1 - hard) * divergence of the teacher from the student, weighted, counted in tokens.

    With `top_k` the teacher is known by its likeliest tokens alone (extras `teacher_ids` and `teacher_logp`, made
    by a teacher or brought by the source), and all others are one outcome, or none.
    """

    kind: Literal["distill"] = "distill"
    beta: float = Field(
        default=0.0, ge=0, le=1, description="0 forward KL, 1 reverse KL, between them generalized JSD"
    )
    temperature: float = Field(
        default=1.0, gt=0, description="divides both models' scores; the loss is not multiplied by its square"
    )
    hard: float = Field(default=0.0, ge=0, le=1, description="share of the plain cross entropy")
    top_k: int = Field(
        default=0, ge=0, description="how many of the teacher's tokens are known; 0: the whole vocabulary"
    )
    rest: Literal["bucket", "renormalize"] = Field(
        default="bucket",
        description="tokens outside of top_k are one more outcome, or both models are taken over the k alone",
    )

    @pydantic.model_validator(mode="after")
    def _has_a_rest(self) -> Self:
        if not self.top_k and self.rest != type(self).model_fields["rest"].default:
            raise ValueError(
                f"`rest` is '{self.rest}', but without `top_k` all tokens are known and there is none; leave it out, "
                "or set top_k above 0"
            )
        if self.top_k and self.rest == "bucket" and self.temperature != 1:
            raise ValueError("what lies outside of top_k has no temperature; set `rest: renormalize`")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        return ("teacher_ids", "teacher_logp") if self.top_k else ("teacher_logits",)

    def annotator(self, teacher: Model) -> Annotator:
        """What makes a teacher's part of a batch; not needed where the source brings it."""
        return TeacherTopK(teacher, self.top_k) if self.top_k else TeacherLogits(teacher)

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        weight_N = batch.weight[batch.trained()]
        divergence_N = generalized_jsd(*self._both(outputs.trained_logits_NV, batch), self.beta)
        loss_N = divergence_N
        if self.hard:
            loss_N = (1 - self.hard) * divergence_N - self.hard * outputs.trained_logp_N
        metrics = {"divergence": float((divergence_N.detach() * weight_N).sum())}
        return Loss(sum=(loss_N * weight_N).sum(), count_key="tokens", metrics=metrics)

    def _both(self, scores_NV: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of the same outcomes by teacher and student."""
        if self.top_k:
            at_N = batch.trained()
            ids_Nk = batch.extras["teacher_ids"][at_N].long()
            logp_Nk = batch.extras["teacher_logp"][at_N].to(scores_NV.dtype)
            if self.rest == "bucket":
                return with_rest(logp_Nk), student_with_rest(scores_NV, ids_Nk)
            chosen_Nk = scores_NV.gather(1, ids_Nk) / self.temperature
            return (logp_Nk / self.temperature).log_softmax(-1), chosen_Nk.log_softmax(-1)
        teacher_NV = batch.extras["teacher_logits"]
        if teacher_NV.shape != scores_NV.shape:
            raise ConfigError(
                f"The teacher scores {teacher_NV.shape[1]:,} tokens, the student {scores_NV.shape[1]:,}; they must "
                "have the same vocabulary. Choose another teacher, or learn from its text instead (sft)."
            )
        teacher_NV = (teacher_NV / self.temperature).log_softmax(-1)
        return teacher_NV, (scores_NV / self.temperature).log_softmax(-1)


def with_rest(logp_Nk: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of k tokens and of anything else, (N, k + 1)."""
    said_N1 = logp_Nk.logsumexp(-1, keepdim=True).clamp(max=SURELY)
    return torch.cat([logp_Nk, (-torch.expm1(said_N1)).log()], dim=-1)


def student_with_rest(scores_NV: torch.Tensor, ids_Nk: torch.Tensor) -> torch.Tensor:
    """The same of a model whose scores are all known."""
    rest_N1 = scores_NV.scatter(1, ids_Nk, float("-inf")).logsumexp(-1, keepdim=True)
    outcomes = torch.cat([scores_NV.gather(1, ids_Nk), rest_N1], dim=-1)
    return outcomes - scores_NV.logsumexp(-1, keepdim=True)
