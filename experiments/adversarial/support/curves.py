"""The numbers of Figures 2 and 3 for one-hidden-layer networks, as pure functions."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from jtransfer import adversarial, jacobians, matching
from jtransfer.models import OneHiddenLayer, Variables, functional

GRADIENT, KNOWLEDGE = "gradient matching distance", "knowledge transfer distance"


def numbers(target: Variables, task) -> Callable[[Variables], dict]:
    """The function from a source to all its numbers."""
    target_jacobians = jacobians_of(target, task.inputs)
    total = jnp.sqrt(jnp.mean(jnp.sum(target_jacobians**2, axis=(1, 2))))
    spread = task.targets - task.targets.mean(axis=0, keepdims=True)
    length = jnp.sqrt(jnp.mean(jnp.sum(spread**2, axis=1)))

    def at(source: Variables) -> dict:
        source_jacobians = jacobians_of(source, task.inputs)
        distance = matching.gradient_matching_distance(
            target_jacobians, source_jacobians
        )
        left = matching.function_matching_distance(
            task.targets, outputs(source, task.inputs)
        )
        values = {GRADIENT: distance / total, KNOWLEDGE: left / length}
        pairs = {
            "T->S": (target_jacobians, source_jacobians),
            "S->T": (source_jacobians, target_jacobians),
        }
        for name, pair in pairs.items():
            sizes, directions = alphas(*pair)
            for i in (1, 2):
                values[f"alpha1 {name}, attack {i}"] = sizes[i - 1]
                values[f"alpha2 {name}, attack {i}"] = directions[i - 1]
        return values

    return at


@jax.jit
def alphas(first, second):
    """alpha1 (its mean) and alpha2 from a first to a second model, by two attacks.

    Attacks are first-order, see `jtransfer.adversarial.generalized_deviations`.
    """
    ratios = jax.vmap(adversarial.generalized_alpha1)(first, second)
    own, transferred = jax.vmap(adversarial.generalized_deviations)(first, second)
    directions = [adversarial.alpha2(own[:, i], transferred[:, i]) for i in (0, 1)]
    return jnp.mean(ratios[:, :2], axis=0), directions


@jax.jit
def jacobians_of(variables: Variables, inputs):
    """Jacobians of the outputs of a network, `[n, m, p]`."""
    return jax.vmap(jacobians.jacobian(lambda x: apply(variables, x)))(inputs)


@jax.jit
def outputs(variables: Variables, inputs):
    """Outputs of the network that these variables are of."""
    return jax.vmap(lambda x: apply(variables, x))(inputs)


def apply(variables: Variables, x):
    """Outputs for one example; the sizes are those of the variables."""
    num_features, width = variables.params["hidden"]["kernel"].shape
    num_outputs = variables.params["classifier"]["kernel"].shape[1]
    return _function(num_features, width, num_outputs)(variables, x)[0]


@functools.cache
def _function(num_features, width, num_outputs):
    model = OneHiddenLayer(
        num_features=num_features,
        num_classes=num_outputs,
        width=width,
        rngs=nnx.Rngs(0),
    )
    return functional(model)[0]


def moved(variables: Variables, direction, scale) -> Variables:
    """A network moved away from W to W + t V."""
    params = jax.tree.map(lambda w, v: w + scale * v, variables.params, direction)
    return Variables(params, variables.stats)


def random_direction(key, variables: Variables):
    """V: uniform on (-.5, .5) for every entry of kernels and biases."""
    leaves, structure = jax.tree.flatten(variables.params)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.uniform(key, leaf.shape, minval=-0.5, maxval=0.5)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)
