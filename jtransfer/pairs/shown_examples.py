"""A few examples of a pair as people look at them: attacks, and what networks said."""

import base64
import dataclasses
import io
import re
from collections.abc import Sequence

import numpy as np
from scipy import special

from jtransfer import pairs

NUM_SHOWN = 8
"""The first ones of the random order, whatever they show."""
LARGEST_SIDE = 96
"""Of a picture; larger ones are made smaller."""
_SPECIAL = ("[PAD]", "[CLS]", "[SEP]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """The class that a network takes an example for."""

    name: str
    probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers of one network to an example."""

    before: Answer
    on_target: Answer
    """Under the attack that was made on the target's model."""
    on_source: Answer
    """Under the attack that was made on the source."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownPictures:
    """An image and the attacks on it, each a PNG in base64."""

    before: str
    on_target: str
    """Changes, from dark at -epsilon to light at epsilon; grey for none."""
    on_source: str

    def __post_init__(self):
        """Refuses what is no PNG: it would be put on a page."""
        for picture in (self.before, self.on_target, self.on_source):
            if re.fullmatch(r"iVBORw0KGgo[A-Za-z0-9+/]*={0,2}", picture) is None:
                raise ValueError("pair has an example whose picture is no PNG")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownWords:
    """A text and the attacks on it, each as many tokens."""

    before: list[str]
    on_target: list[str]
    on_source: list[str]

    def __post_init__(self):
        """Refuses lists of different lengths."""
        if not len(self.before) == len(self.on_target) == len(self.on_source):
            raise ValueError("pair has an example whose attacks differ in length")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownExample:
    """An example, both attacks on it, and what both networks said."""

    label: str
    target: Answers
    source: Answers
    pictures: ShownPictures | None = None
    words: ShownWords | None = None


def shown_examples(
    pair: pairs.Pair,
    examples: pairs.ImageExamples | pairs.TextExamples,
    labels: Sequence[str],
    *,
    target_names: Sequence[str],
    source_names: Sequence[str],
    tokens: Sequence[str] = (),
) -> list[ShownExample]:
    """Returns the first examples of a pair with their attacks.

    Args:
      pair: the pair.
      examples: where its functions met.
      labels: names of the classes of the examples.
      target_names: names of the outputs of the target's model; numbers where they are
        not as many.
      source_names: those of the source.
      tokens: the vocabulary, if they are texts.
    """
    clean = pair.target_outputs, pair.source_outputs
    on_target = pair.on_target.own, pair.to_source.deviations
    on_source = pair.to_target.deviations, pair.on_source.own
    shown = []
    for i in range(min(NUM_SHOWN, len(examples))):
        answers = [
            Answers(
                before=_answer(before[i], names),
                on_target=_answer(before[i] + first[i], names),
                on_source=_answer(before[i] + second[i], names),
            )
            for before, first, second, names in zip(
                clean, on_target, on_source, (target_names, source_names), strict=True
            )
        ]
        is_text = isinstance(examples, pairs.TextExamples)
        shown.append(
            ShownExample(
                label=str(labels[i]),
                target=answers[0],
                source=answers[1],
                pictures=None if is_text else _pictures(pair, examples, i),
                words=_words(pair, examples, tokens, i) if is_text else None,
            )
        )
    return shown


def _answer(outputs: np.ndarray, names: Sequence[str]) -> Answer:
    first = int(np.argmax(outputs))
    name = names[first] if len(names) == len(outputs) else f"output {first}"
    shares = special.softmax(np.asarray(outputs, float))
    return Answer(name=str(name), probability=float(shares[first]))


def _words(pair, examples: pairs.TextExamples, tokens, i: int) -> ShownWords:
    names = [tokens[number] for number in examples.ids[i]]
    ends = [place for place, name in enumerate(names) if name == "[SEP]"]
    # Where the second text of a pair begins.
    between = set(ends[:-1])

    def words(ids: np.ndarray) -> list[str]:
        return [
            "|" if place in between else tokens[number]
            for place, number in enumerate(ids)
            if place in between or names[place] not in _SPECIAL
        ]

    return ShownWords(
        before=words(examples.ids[i]),
        on_target=words(pair.on_target.ids[i]),
        on_source=words(pair.on_source.ids[i]),
    )


def _pictures(pair, examples: pairs.ImageExamples, i: int) -> ShownPictures | None:
    image, epsilon = examples.images[i], examples.settings.epsilon
    if image.ndim != 3:
        return None  # A function of vectors has no picture.
    if image.dtype != np.uint8:
        image = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    changes = [
        np.rint(127.5 * (1 + np.clip(np.nan_to_num(attack.deltas[i] / epsilon), -1, 1)))
        for attack in (pair.on_target, pair.on_source)
    ]
    first, second = (_png(change.astype(np.uint8)) for change in changes)
    return ShownPictures(before=_png(image), on_target=first, on_source=second)


def _png(image: np.ndarray) -> str:
    """A PNG in base64 of an image `[h, w, c]`, made smaller where it is large."""
    from PIL import Image

    flat = image[:, :, 0] if image.shape[2] not in (3, 4) else image[:, :, :3]
    picture = Image.fromarray(flat)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
