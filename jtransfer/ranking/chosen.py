"""What `jtransfer select` has chosen: teachers, their costs, and the student."""

import dataclasses
from typing import NamedTuple

SELECTION_FILE = "selection.json"
LEAST_GAP = 4.0
"""Of a cost's contrast, in units of epsilon; below it plans say little."""


class ChosenTeacher(NamedTuple):
    """A teacher of the student, and how well its cost tells classes apart."""

    name: str
    score: float
    """By the score that decided."""
    weight: float
    """Its part of the Sinkhorn term; all have the sum one."""
    largest_cost: float
    gap: float
    """What another class costs more than the nearest or the same, over epsilon."""
    own_mass: float
    """Share of a class's mass that the kernel leaves on that class."""

    def warning(self) -> str | None:
        """Returns a line about a cost that hardly tells classes apart, or None."""
        if not self.gap < LEAST_GAP:
            return None
        return (
            f"{self.name}: another class costs {self.gap:.1f} epsilon more than the "
            f"nearest, and {self.own_mass:.0%} of a class stays on it: below "
            f"{LEAST_GAP:g} its plans spread over all classes."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """A student and its teachers."""

    teachers: list[ChosenTeacher]
    student: str
    """The name of its model."""
    accuracy: float
    """On the target's test images."""

    def warnings(self) -> list[str]:
        """Returns the warnings of the teachers."""
        return [line for t in self.teachers if (line := t.warning()) is not None]
