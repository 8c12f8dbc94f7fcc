"""A note on each score: its title, its meaning, its range, when not to trust it."""

from typing import NamedTuple

from jtransfer.ranking.score_table import DECLARED, SCORES

ACCURACY_TITLE = "Accuracy after transfer"


class Note(NamedTuple):
    """The words that pages have about a score."""

    title: str
    meaning: str
    range: str = ""
    """Empty where there is nothing to say."""
    caveat: str = ""

    @property
    def text(self) -> str:
        """All but the title."""
        return " ".join(filter(None, (self.meaning, self.range, self.caveat)))


_NOTES = {
    name: Note(entry.title, entry.meaning, entry.range, entry.caveat)
    for name, entry in (SCORES | DECLARED).items()
}


def note(score: str) -> Note:
    """Returns the note on a score; of one that is not known, its name and no more."""
    names = [score, score.removesuffix("_distance"), score.removesuffix("_accuracy")]
    unknown = Note(score, "Not among the scores that this page can explain.")
    return next((_NOTES[name] for name in names if name in _NOTES), unknown)
