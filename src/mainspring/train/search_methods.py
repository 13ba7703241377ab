"""Who chooses what is tried next, and which trials are given up early."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mainspring.config import Config
from mainspring.errors import MissingExtraError

if TYPE_CHECKING:
    import optuna


def need_optuna() -> None:
    """Raise MissingExtraError where the search has nothing to search with."""
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("optuna", "search", "A search") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Tpe(Config):
    """Tree-structured Parzen estimators: what was good so far is drawn near. Paper: arXiv:2304.11127."""

    kind: Literal["tpe"] = "tpe"
    startup_trials: int = Field(default=10, ge=1, description="trials at random before the estimators")

    def build(self, seed: int) -> "optuna.samplers.BaseSampler":
        """The sampler of one trial."""
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed, n_startup_trials=self.startup_trials)


class CmaEs(Config):
    """Covariance matrix adaptation: for numbers, not for choices. Paper: arXiv:1604.00772."""

    kind: Literal["cmaes"] = "cmaes"
    population: int | None = Field(
        default=None, ge=4, description="trials of a generation; none: by dimensions"
    )

    def build(self, seed: int) -> "optuna.samplers.BaseSampler":
        """The sampler of one trial."""
        try:
            import cmaes  # noqa: F401 - optuna imports it late, in the middle of a study
        except ImportError:
            raise MissingExtraError("cmaes", "search", "A sampler of kind 'cmaes'") from None
        from optuna.samplers import CmaEsSampler, RandomSampler

        return CmaEsSampler(
            seed=seed, popsize=self.population, independent_sampler=RandomSampler(seed),
            warn_independent_sampling=False,
        )  # fmt: skip


class Nsga2(Config):
    """An evolution towards several objectives. Paper: DOI 10.1109/4235.996017."""

    kind: Literal["nsga2"] = "nsga2"
    population: int = Field(default=20, ge=2, description="trials of a generation")

    def build(self, seed: int) -> "optuna.samplers.BaseSampler":
        """The sampler of one trial."""
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(seed=seed, population_size=self.population)


class AtRandom(Config):
    """Every trial at random, for comparison."""

    kind: Literal["random"] = "random"

    def build(self, seed: int) -> "optuna.samplers.BaseSampler":
        """The sampler of one trial."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed)


class Never(Config):
    """Every trial comes to its end."""

    kind: Literal["none"] = "none"

    def build(self) -> "optuna.pruners.BasePruner":
        """The pruner of a study."""
        from optuna.pruners import NopPruner

        return NopPruner()


class Median(Config):
    """A trial ends when it is worse than the median of the others at the same step."""

    kind: Literal["median"] = "median"
    startup_trials: int = Field(default=5, ge=1, description="trials that come to their end first")
    warmup_steps: int = Field(default=0, ge=0, description="steps before which no trial ends")

    def build(self) -> "optuna.pruners.BasePruner":
        """The pruner of a study."""
        from optuna.pruners import MedianPruner

        return MedianPruner(self.startup_trials, self.warmup_steps)


class Hyperband(Config):
    """Successive halving in brackets of different patience. Paper: arXiv:1603.06560."""

    kind: Literal["hyperband"] = "hyperband"
    min_steps: int = Field(default=1, ge=1, description="steps that every trial gets")
    max_steps: int = Field(ge=1, description="steps of a whole trial")
    reduction: int = Field(default=3, ge=2, description="of so many trials one goes on")

    def build(self) -> "optuna.pruners.BasePruner":
        """The pruner of a study."""
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(self.min_steps, self.max_steps, self.reduction)


class Asha(Config):
    """Asynchronous successive halving. Paper: arXiv:1810.05934."""

    kind: Literal["asha"] = "asha"
    min_steps: int = Field(default=1, ge=1, description="steps that every trial gets")
    reduction: int = Field(default=4, ge=2, description="of so many trials one goes on")

    def build(self) -> "optuna.pruners.BasePruner":
        """The pruner of a study."""
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(self.min_steps, self.reduction)


Sampler = Annotated[Tpe | CmaEs | Nsga2 | AtRandom, Field(discriminator="kind")]
Pruner = Annotated[Never | Median | Hyperband | Asha, Field(discriminator="kind")]
