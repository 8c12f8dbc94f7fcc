"""Arguments, result and errors of `jtransfer.training.fit`."""

import dataclasses
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jtransfer.training._steps import TrainState

if TYPE_CHECKING:
    from jtransfer.models import Variables


class FitResult(NamedTuple):
    """The result of `fit`.

    Attributes:
      state: after the last step.
      best: the variables with the highest criterion on the validation split, the
        first of equals; without validation those after the last step.
      best_step: the number of steps after which they were reached.
      history: the rows of the log. A row of training has `step` (from 1), `loss`,
        `gradient_norm` and the parts of the objective, now and then also
        `images_per_second` and `seconds` since the process began to train; a row of
        validation has `step` and `validation`, a dict. A part that is not finite is
        None.
    """

    state: TrainState
    best: "Variables"
    best_step: int
    history: list[dict[str, Any]]


def accuracy(metrics: Mapping[str, float]) -> float:
    """Returns the entry `accuracy`, the usual criterion of `Validation`."""
    return metrics["accuracy"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation:
    """The search of `fit` for the best variables; never with test examples.

    Attributes:
      evaluate: maps `Variables` to a dict of numbers, for instance by `evaluated`. It
        must not keep the arrays: training goes on in their memory.
      every: steps between two evaluations; there is one after the last step as well.
      criterion: maps that dict to the number to be maximised; NaN never wins.
    """

    evaluate: Callable[["Variables"], Mapping[str, float]]
    every: int
    criterion: Callable[[Mapping[str, float]], float] = accuracy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Folder and intervals of checkpoints of `fit`.

    Attributes:
      folder: of the run; it gets ``checkpoints/STEP/`` and ``log.jsonl``. A run that
        finds checkpoints there goes on from the last one.
      every: steps between two checkpoints; there is one after each evaluation and
        after the last step as well.
    """

    folder: str | Path
    every: int


class NonFiniteLoss(FloatingPointError):
    """Training stopped because a number is NaN or infinite.

    Attributes:
      step: the first step where that happened, from 1.
      parts: loss, gradient norm and parts of that step.
    """

    def __init__(self, step: int, parts: dict[str, float], saved: int | None):
        """Says so in one line."""
        shown = ", ".join(f"{name} = {value:.6g}" for name, value in parts.items())
        kept = "nothing is saved" if saved is None else f"step {saved} is saved"
        super().__init__(
            f"step {step} is not finite: {shown}; {kept}. Try a lower learning rate."
        )
        self.step = step
        self.parts = parts


class Interrupted(SystemExit):
    """SIGTERM came and the state is saved; uncaught, it exits with code 143.

    Attributes:
      step: the step that is saved.
    """

    def __init__(self, step: int):
        """Takes the step that is saved."""
        super().__init__(128 + signal.SIGTERM)
        self.step = step
