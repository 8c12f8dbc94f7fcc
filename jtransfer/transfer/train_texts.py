"""From labelled texts to a trained network: a BERT, all of whose layers learn."""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from jtransfer import models, networks, training
from jtransfer._internal.provenance import arrays_fingerprint
from jtransfer.data import Texts
from jtransfer.models import layers
from jtransfer.networks import TextNetwork
from jtransfer.training import schedules
from jtransfer.transfer._run_folder import run_folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextRecipe:
    """Settings of fine-tuning a BERT: AdamW, a warm-up and a linear fall to zero."""

    num_epochs: int
    learning_rate: float = 5e-5
    warm_up: float = 0.1
    """Share of the steps over which the rate grows."""
    weight_decay: float = 0.01
    """On kernels and word vectors, not on biases and the scales of normalisation."""
    batch_size: int = 32
    num_tokens: int = 128
    """Of every text: longer ones are cut."""


TEXT_PRESETS = {
    "cpu": TextRecipe(num_epochs=2, num_tokens=64),
    "paper": TextRecipe(num_epochs=3, num_tokens=256),
}
"""`cpu`: minutes for a thousand texts and a small BERT; `paper`: that of adversarial
and knowledge transferability, G.2.2, where it says nothing with usual settings, but
without dropout."""


LEAST_STEPS = 60
"""About those that the preset `cpu` takes for a thousand texts."""


def with_enough_steps(recipe: TextRecipe, num_texts: int) -> TextRecipe:
    """Returns a recipe with as many epochs as move the weights where texts are few.

    Two epochs of fifty texts are two steps, after which a new classifier may well be
    worse than chance.

    Args:
      recipe: how more texts would be learnt.
      num_texts: how many there are.

    Returns:
      The recipe, of at least `LEAST_STEPS` steps.

    Example:
      >>> with_enough_steps(TextRecipe(num_epochs=2), 48).num_epochs
      60
      >>> with_enough_steps(TextRecipe(num_epochs=2), 2000).num_epochs
      2

    References:
      Mosbach, Andriushchenko and Klakow, "On the Stability of Fine-tuning BERT", 2021:
      small data need more steps, not other settings.
    """
    least = -(-LEAST_STEPS // _steps_of_epoch(recipe, num_texts))
    return dataclasses.replace(recipe, num_epochs=max(recipe.num_epochs, least))


def _steps_of_epoch(recipe: TextRecipe, num_texts: int) -> int:
    return max(1, num_texts // recipe.batch_size)


def with_new_classifier(
    network: TextNetwork, class_names: tuple[str, ...], *, seed: int
) -> TextNetwork:
    """Returns a network with the same encoder and a fresh last layer.

    Args:
      network: a network of texts.
      class_names: the new classes.
      seed: of the new weights.
    """
    architecture = dataclasses.replace(
        network.architecture, num_classes=len(class_names)
    )
    sizes = architecture.bert.width, len(class_names)
    fresh = layers.linear(*sizes, rngs=nnx.Rngs(seed))
    classifier = nnx.to_pure_dict(nnx.state(fresh, nnx.Param))
    params = {**network.variables.params, "classifier": classifier}
    return network._replace(
        architecture=architecture,
        variables=models.Variables(params, network.variables.stats),
        class_names=tuple(class_names),
        facts={},
    )


def train_text_network(
    start: TextNetwork,
    train: Texts,
    test: Texts | None,
    *,
    recipe: TextRecipe,
    folder: Path,
    seed: int,
    facts: dict,
) -> TextNetwork:
    """Trains all layers of a network and writes it; a killed run goes on where it was.

    Args:
      start: with the classifier that is to learn, see `networks.new_text_network` and
        `with_new_classifier`; fed the tokens of the recipe from now on.
      train: texts of the classes of `start`.
      test: looked at once, for the fact `source_accuracy`; None leaves it out.
      recipe: how to train.
      folder: gets checkpoints, a log, and the network with its tokenizer.
      seed: of the order of the texts.
      facts: what else to record of the network.

    Returns:
      The network after the last step.

    Raises:
      DataError: if the network takes fewer tokens, or another run or another tokenizer
        lies in the folder, or a run is at work there.
      NonFiniteLoss: if training diverges.
    """
    networks.check_tokenizer_place(folder, start)
    start = with_tokens(start, recipe.num_tokens)
    ids = networks.tokenized(start, train.texts).ids
    identity = {
        "architecture": dataclasses.asdict(start.architecture),
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "class_names": list(train.class_names),
        "start": arrays_fingerprint(*jax.tree.leaves(start.variables)),
        "texts": arrays_fingerprint(ids, train.labels),
    }
    with run_folder(folder, "run.json", identity):
        network = _fitted(start, ids, train, recipe, seed=seed, folder=folder)
        tested = {}
        if test is not None:
            tested["source_accuracy"] = float(are_right(network, test).mean())
        network = network._replace(
            facts={
                "parameters": networks.count(network.variables),
                **tested,
                "recipe": dataclasses.asdict(recipe),
                "seed": seed,
                **facts,
            }
        )
        networks.write_text_network(folder, network)
        return network


def fine_tune_text_network(
    network: TextNetwork, texts: Texts, *, recipe: TextRecipe, seed: int
) -> TextNetwork:
    """Re-initialises the last layer and trains the whole network, in memory.

    Args:
      network: a trained network of texts.
      texts: of the new classes.
      recipe: how to train.
      seed: of weights and order.

    Returns:
      The fine-tuned network.
    """
    start = with_new_classifier(network, texts.class_names, seed=seed)
    start = with_tokens(start, recipe.num_tokens)
    ids = networks.tokenized(start, texts.texts).ids
    return _fitted(start, ids, texts, recipe, seed=seed, folder=None)


def with_tokens(network: TextNetwork, num_tokens: int) -> TextNetwork:
    """Returns a network that is fed so many tokens of every text.

    Raises:
      DataError: if it takes fewer.
    """
    a = network.architecture
    networks.check_num_tokens(num_tokens, a.bert, network.tokenizer)
    architecture = dataclasses.replace(a, num_tokens=num_tokens)
    return network._replace(architecture=architecture)


def _fitted(
    start: TextNetwork,
    ids: np.ndarray,
    texts: Texts,
    recipe: TextRecipe,
    *,
    seed: int,
    folder: Path | None,
) -> TextNetwork:
    per_epoch = _steps_of_epoch(recipe, len(ids))
    num_steps = recipe.num_epochs * per_epoch
    checkpoints = None
    if folder is not None:
        checkpoints = training.Checkpoints(folder=folder, every=per_epoch)
    result = training.fit(
        training.supervised(_train_fn(start.architecture), inputs="ids"),
        start.variables,
        {"ids": ids, "labels": np.asarray(texts.labels, np.int32)},
        optimizer=_optimizer(recipe, num_steps),
        num_steps=num_steps,
        batch_size=min(recipe.batch_size, len(ids)),
        seed=seed,
        checkpoints=checkpoints,
        progress=folder is not None,
    )
    return start._replace(
        variables=models.Variables(result.state.params, result.state.stats),
        class_names=tuple(texts.class_names),
    )


def are_right(network: TextNetwork, texts: Texts) -> np.ndarray:
    """Tells which texts a network classifies as their labels say, booleans ``[n]``."""
    outputs = networks.text_outputs(network, texts.texts)
    logits = np.concatenate([logits for _, logits in outputs])
    return logits.argmax(axis=1) == texts.labels


@functools.lru_cache(maxsize=16)
def _train_fn(architecture):
    shapes = nnx.eval_shape(lambda: networks.model(architecture, rngs=nnx.Rngs(0)))
    return models.trainable(shapes)[0]


@functools.lru_cache(maxsize=64)
def _optimizer(recipe: TextRecipe, num_steps: int):
    # One object for equal arguments, so that `fit` compiles once.
    import optax

    warm_up = min(round(recipe.warm_up * num_steps), num_steps - 1)
    rising = optax.linear_schedule(0.0, recipe.learning_rate, warm_up)
    falling = optax.linear_schedule(recipe.learning_rate, 0.0, num_steps - warm_up)
    return optax.adamw(
        optax.join_schedules([rising, falling], [warm_up]),
        weight_decay=recipe.weight_decay,
        mask=schedules.kernels,
    )
