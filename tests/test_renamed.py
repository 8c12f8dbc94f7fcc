"""Tests of the spellings of November 2026."""

import pytest

from jtransfer.commands.renamed import current_arguments


@pytest.mark.parametrize(
    ("november", "december", "num_notes"),
    [
        ("", "", 0),
        ("ls", "ls", 0),
        ("rank --num-images 5 --out x", "rank --num-examples 5 --out x", 1),
        ("pair a b --num_images=5", "pair a b --num-examples=5", 1),
        ("train --limit 9 --limit 9", "train --num-examples 9 --num-examples 9", 1),
        (
            "select --alpha 1 --beta 2",
            "select --label-weight 1 --transport-weight 2",
            2,
        ),
        (
            "distill --teacher t --method attention+jacobians --delta 1 --gamma=2",
            "distill attention-and-jacobians --teacher t --attention-weight 1 "
            "--jacobian-weight=2",
            3,
        ),
        (
            "distill --method=sinkhorn --beta 1",
            "distill sinkhorn --transport-weight 1",
            2,
        ),
        ("distill lwf --beta 3", "distill lwf --logits-weight 3", 1),
        ("distill lwf --logits-weight 3", "distill lwf --logits-weight 3", 0),
        ("distill", "distill", 0),
        ("distill --method", "distill ", 1),
    ],
)
def test_arguments_of_november_are_taken(november, december, num_notes):
    arguments, notes = current_arguments(november.split())
    assert " ".join(arguments) == december
    assert len(notes) == num_notes
