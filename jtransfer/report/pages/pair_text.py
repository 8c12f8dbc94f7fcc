"""What the page of a pair of networks says in sentences."""

from collections.abc import Mapping

from jtransfer.report.pages.charts import escape, finite, number

WAYS = {
    "to_source": "target \N{RIGHTWARDS ARROW} source",
    "to_target": "source \N{RIGHTWARDS ARROW} target",
}
"""Which network is attacked, and which one the attack is fed to."""
PAIR_NOTES = {
    "Alpha 1": """How far attacks made on one network move the outputs of the other, as
a share of what its own attack does, mean over the images. The own attack is the
stronger of its own and the one under test: only so is the share at most 1.""",
    "Alpha 2": """Whether the outputs of both networks turn together from image to image
under the attack. Chance alone gives about 1 over the root of n. Even a network with
itself reaches 1 only if all its deviations lie on one line: the table says how much is
possible here. The square is what some published tables print.""",
    "Alpha 1 \N{ASTERISK OPERATOR} 2": """Both at once: the same mean, each image
weighted by its alpha 1.""",
    "Explained gradients": """Share of one network's gradients (mean square) that the
best affine map of the other network explains. The matching distance is the root mean
square that is left.""",
    "Explained outputs": """The same of the outputs: how well a new linear layer on one
network imitates the other. With few images and many outputs it fits anything.""",
    "Chance": """What examples that are paired wrongly give: attacks, gradients and
outputs of other images, over 5 pairings: the mean (dashed) and the high end
(shaded).""",
    "Intervals": """95%: a jackknife that leaves out one of 10 blocks of images at a
time; of classes Student's t over their images. They cover the draw of the images, not
the training of the networks.""",
}


def pair_verdict(found: Mapping) -> list[str]:
    """Returns sentences as markup, the most important first."""
    source, target = (f"<b>{escape(found[of]['name'])}</b>" for of in _ROLES)
    rows = found["measures"]
    there, back = (rows["alpha1"][way] for way in WAYS)
    turns = [rows["alpha2"]["to_source"][k] for k in ("value", "ceiling", "chance")]
    together, possible, chance = (number(value, 2) for value in turns)
    gradients, outputs = (
        _percent(rows[f"explained_{of}"]["of_target"])
        for of in ("gradient", "function")
    )
    return [
        f"Attacks on {target} move {source} {_percent(there)} as far as its own do; "
        f"those of other images {_percent(there, 'chance')}.",
        f"The other way round, attacks on {source} move {target} {_percent(back)} as "
        f"far as its own do; those of other images {_percent(back, 'chance')}.",
        f"Under the attacks on {target} the outputs turn together to {together}, of "
        f"{possible} possible; chance gives {chance}.",
        f"The best affine map of {source} explains {gradients} of the gradients of "
        f"{target} and {outputs} of its outputs.",
    ]


_ROLES = ("source", "target")


def _percent(row: Mapping, key: str = "value") -> str:
    value = finite(row[key])
    return "\N{EN DASH}" if value is None else f"{100 * value:.0f}%"
