"""Measures between a source and the reference model, kept on disk."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from experiments.adversarial.support import attacks
from experiments.adversarial.support.attacks import Attack
from experiments.adversarial.support.converged_heads import Target
from experiments.kept_networks import Model, digest
from jtransfer import networks as library
from jtransfer import pairs
from jtransfer.networks import Network


def measures(
    name: str,
    network: Network,
    target: Target,
    attack: Attack,
    *,
    has_head: bool,
    num_gradients: int,
    out: Path,
    reference: Callable[[], pairs.Attacked],
) -> dict[str, float]:
    """The measures between a source and the reference model, kept on disk.

    Args:
      name: of the source.
      network: the source, or the source with its new head.
      target: the second data set and its reference model.
      attack: on both.
      has_head: whether it is the one with the new head.
      num_gradients: images of the Jacobians; 0 leaves measures of gradients out.
      out: folder of what is kept.
      reference: returns the attacks on the reference model.
    """
    # The name tells the norm, which has no text of its own.
    settings = dataclasses.replace(attack.settings, norm=None)
    described = (
        *(name, has_head, target.model.name, attack.name),
        *(settings, num_gradients, digest(target.x)),
    )
    file = out / "outputs" / f"many-{digest(*described)}.npz"
    if file.exists():
        with np.load(file) as held:
            return {
                key: held[key] if held[key].ndim else float(held[key]) for key in held
            }
    print(f"{attack.name} on {name}{' with its head' if has_head else ''}", flush=True)
    values = attacked_measures(network, target, attack, num_gradients, reference())
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, **values)
    partial.rename(file)
    return values


def attacked_measures(
    network: Network,
    target: Target,
    attack: Attack,
    num_gradients: int,
    reference: pairs.Attacked,
) -> dict[str, float]:
    """Alphas in both directions; cosine and gradient matching, if there are images."""
    function = library.function(network)
    blocks = np.zeros(len(target.x), int)
    own = pairs.attacked(
        function, target.x, jax.random.key(0), settings=attack.settings
    )
    values: dict[str, float] = {}
    for way, first, second in (("T->S", reference, own), ("S->T", own, reference)):
        transfer = pairs.transfer(first, second, target.x, blocks)
        sums = pairs.merged(transfer.blocks)
        wrong = transfer.mismatched
        chance = float(np.mean(wrong.alpha1 / wrong.count))
        alpha1 = pairs.alpha1_of_sums(sums)
        values[f"{way}, alpha1"] = alpha1
        values[f"{way}, alpha1 less chance"] = alpha1 - chance
        values[f"{way}, alpha2"] = pairs.alpha2_of_sums(sums)
        values[f"{way}, alpha1 * alpha2"] = pairs.alpha12_of_sums(sums)
        if way == "T->S":
            values["per image"] = transfer.alpha1
    if not num_gradients:
        return values
    named = [Model("", n) for n in (target.model.network, network)]
    values["cosine of loss gradients"] = float(
        attacks.gradient_cosines(*named, target.x).mean()
    )
    few = target.x[:num_gradients]
    both = library.function(target.model.network), function
    products = pairs.gradients(*both, few, np.zeros(len(few), int))
    values["minus gradient matching distance"] = -float(
        pairs.distance(pairs.merged(products.blocks))
    )
    return values


def over_means(alphas: np.ndarray, losses: np.ndarray, size: int) -> float:
    """Pearson of the means of so many images each, in the order of the draw."""
    whole = len(alphas) // size * size
    a, b = (x[:whole].reshape(-1, size).mean(axis=1) for x in (alphas, losses))
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
