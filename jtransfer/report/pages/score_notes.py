"""A note on each score: its title, its meaning, its range, when not to trust it."""

from typing import NamedTuple

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
    "logme": Note(
        "LogME",
        "Log evidence per example of the labels under a Bayesian linear model of the "
        "features.",
        "Any real number.",
        "Right with fewer examples than features; blind to what is not linear in the "
        "features.",
    ),
    "regularized_h_score": Note(
        "Regularised H-score",
        "Share of the features' variance that the classes explain, summed over "
        "directions, with shrinkage.",
        "0 to classes \N{MINUS SIGN} 1.",
        "Strong shrinkage (few examples) draws all sources together.",
    ),
    "h_score": Note(
        "H-score",
        "The same without shrinkage.",
        "0 to min(d, classes \N{MINUS SIGN} 1).",
        "With no more examples than features it is near its maximum whatever the "
        "features: do not trust it.",
    ),
    "leep": Note(
        "LEEP",
        "Log probability of the labels given the source's own outputs.",
        "At most 0.",
        "Sees only these outputs; few examples and many source classes make it too "
        "high.",
    ),
    "nce": Note(
        "NCE",
        "Minus the entropy of the labels given the class that the source predicts, in "
        "nats.",
        "At most 0.",
        "Few examples and many source classes make it too high.",
    ),
    "bhattacharyya": Note(
        "Bhattacharyya",
        "Minus the log overlap of the classes, as Gaussians of diagonal covariance.",
        "Any real number.",
        "Few examples per class or correlated features mislead it.",
    ),
    "alpha1": Note(
        "Alpha 1",
        "How far attacks on one model move the other, against its own attacks.",
        "0 to about 1, more where its own attacks were too weak.",
        "Different attacks do not compare.",
    ),
    "alpha2": Note(
        "Alpha 2",
        "How alike attacks move the outputs of two models.",
        "0 to 1.",
        "Chance alone gives 1 over the root of n: compare at equal n only.",
    ),
    "alpha12": Note(
        "Alpha 1 and 2",
        "Both at once, weighted example by example; the limits of both.",
    ),
    "sinkhorn": Note(
        "Sinkhorn",
        "Minus the cost of carrying the teacher's class probabilities to a linear "
        "student's.",
        "No fixed range.",
        "Flat predictions alone raise it, so read it beside its chance level (of 5 "
        "shuffles here, and at most 1000 examples).",
    ),
    "gradient_matching": Note(
        "Gradient matching",
        "Minus the distance between gradients after the best affine map.",
        "At most 0.",
        "Noisy with few examples.",
    ),
    "function_matching": Note(
        "Function matching",
        "Minus the distance between outputs after the best affine map.",
        "At most 0.",
        "With few examples and many outputs the map fits anything.",
    ),
    "ridge_probe": Note(
        "Ridge probe",
        "Baseline: held-out accuracy of a linear classifier, in closed form.",
        "0 to 1.",
        "Where a score disagrees with it, look twice.",
    ),
    "source_accuracy": Note(
        "Source accuracy",
        "Baseline: accuracy on the source's own task.",
        "0 to 1.",
        "Knows nothing of the target.",
    ),
    "parameters": Note(
        "Parameters",
        "Baseline: the size of the model.",
        caveat="Knows nothing of the target.",
    ),
}


def note(score: str) -> Note:
    """Returns the note on a score; of one that is not known, its name and no more."""
    names = [score, score.removesuffix("_distance"), score.removesuffix("_accuracy")]
    unknown = Note(score, "Not among the scores that this page can explain.")
    return next((_NOTES[name] for name in names if name in _NOTES), unknown)
