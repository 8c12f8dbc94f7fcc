"""A few examples of a pair on a page: attacks on them, and what both networks say."""

import re
from typing import NamedTuple

from jtransfer.pairs.results import PairSummary
from jtransfer.pairs.shown_examples import (
    Answer,
    Answers,
    ShownExample,
    ShownPictures,
    ShownWords,
)
from jtransfer.report.pages.pair_text import percent


class Span(NamedTuple):
    """A run of words of a text, and what an attack has put in their place."""

    before: str
    after: str | None


class Said(NamedTuple):
    """An answer in words, and whether it is another one than before the attack."""

    text: str
    is_changed: bool


class ExampleState(NamedTuple):
    """An example as it is, or under an attack."""

    title: str
    picture: str | None
    """PNG in base64."""
    spans: list[Span]
    target: Said
    source: Said


class ExampleView(NamedTuple):
    """An example as the page shows it."""

    label: str
    states: list[ExampleState]


def example_views(pair: PairSummary) -> list[ExampleView]:
    """Returns the examples that a pair has brought along, none of older files."""
    titles = ("as it is", f"attack on {pair.target.name}")
    titles += (f"attack on {pair.source.name}",)
    return [
        ExampleView(one.label, [_state(one, *both) for both in enumerate(titles)])
        for one in pair.examples
    ]


def _state(one: ShownExample, index: int, title: str) -> ExampleState:
    return ExampleState(
        title=title,
        picture=one.pictures and _states(one.pictures)[index],
        spans=spans(one.words.before, _states(one.words)[index]) if one.words else [],
        target=_said(one.target, index),
        source=_said(one.source, index),
    )


def _states(parts: Answers | ShownPictures | ShownWords) -> tuple:
    return parts.before, parts.on_target, parts.on_source


def _said(answers: Answers, index: int) -> Said:
    answer: Answer = _states(answers)[index]
    text = f"{answer.name} ({percent(answer.probability)})"
    return Said(text, answer.name != answers.before.name)


def spans(before: list[str], after: list[str]) -> list[Span]:
    """Returns the runs of tokens that an attack has left or changed, in order.

    Args:
      before: tokens of a text; pieces that continue a word begin with `##`.
      after: as many tokens of the attacked one.

    Example:
      >>> spans(["a", "fine", "film", "##s"], ["a", "poor", "film", "##s"])
      [Span(before='a', after=None), Span(before='fine', after='poor'),
       Span(before='films', after=None)]
    """
    runs: list[tuple[bool, list[str], list[str]]] = []
    for old, new in zip(before, after, strict=True):
        is_changed = old != new
        if not runs or runs[-1][0] != is_changed:
            runs.append((is_changed, [], []))
        runs[-1][1].append(old)
        runs[-1][2].append(new)
    return [
        Span(_joined(old), _joined(new) if is_changed else None)
        for is_changed, old, new in runs
    ]


def _joined(tokens: list[str]) -> str:
    # A run may begin with a piece whose beginning is in the run before.
    return re.sub("^##", "-", " ".join(tokens).replace(" ##", ""))
