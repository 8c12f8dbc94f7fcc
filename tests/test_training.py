"""Tests of jtransfer.training and jtransfer.training.schedules."""

import functools
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from flax import nnx
from PIL import Image

from jtransfer import data, models, training
from jtransfer.training import _checkpoints, schedules

SHARED = pathlib.Path(__file__).resolve().parents[1].parent / "shared" / "data"

quiet_fit = functools.partial(training.fit, progress=False)


def dense(seed=0):
    """A network without statistics: train_fn, apply_fn, variables."""
    model = models.OneHiddenLayer(
        num_features=3, num_classes=2, width=4, rngs=nnx.Rngs(seed)
    )
    return (models.trainable(model)[0], *models.functional(model))


def convolutional(seed=0, **options):
    """A network with batch normalisation, for images of 8 x 8."""
    model = models.VGG(
        depth=4, num_classes=3, base_width=1, rngs=nnx.Rngs(seed), **options
    )
    return (models.trainable(model)[0], *models.functional(model))


def vectors(n=24, seed=0):
    """Two classes that a line separates."""
    x = np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)
    return {"images": x, "labels": (x.sum(axis=1) > 0).astype(np.int32)}


def pictures(n=24, seed=0):
    """Three classes, each bright in one channel."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 100, (n, 8, 8, 3))
    images[np.arange(n), :, :, labels] += 100
    return {"images": images.astype(np.uint8), "labels": labels}


@functools.cache
def optimizer():
    return schedules.sgd(0.1)


@functools.cache
def preprocess():
    statistics = data.ChannelStatistics(
        np.full(3, 0.4, np.float32), np.full(3, 0.3, np.float32)
    )
    augment = functools.partial(data.augmented, padding=1)
    return training.preprocessing(statistics, augment=augment)


def losses(result):
    return [row["loss"] for row in result.history if "loss" in row]


def logged(folder):
    return [
        json.loads(line) for line in (folder / "log.jsonl").read_text().split("\n")[:-1]
    ]


def steps_of(rows):
    return [row["step"] for row in rows if "loss" in row]


def saved_steps(folder):
    return sorted(int(place.name) for place in (folder / "checkpoints").iterdir())


# Schedules.


def test_warm_up_multiplies_a_schedule():
    cosine = optax.cosine_decay_schedule(0.3, 7)
    warm = schedules.warm_up(cosine, num_steps=4)
    for t in range(9):
        expected = min((t + 1) / 4, 1) * cosine(t)
        np.testing.assert_allclose(warm(t), expected, atol=1e-7)
    assert schedules.warm_up(0.3, num_steps=0)(0) == np.float32(0.3)
    with pytest.raises(ValueError, match="steps must"):
        schedules.warm_up(0.1, num_steps=-1)


def test_only_kernels_decay():
    params = convolutional()[2].params
    masks = jax.tree_util.tree_leaves_with_path(schedules.kernels(params))
    assert {path[-1].key: mask for path, mask in masks} == {
        "kernel": True,
        "bias": False,
        "scale": False,
    }


@pytest.mark.parametrize("decays", [schedules.kernels, None])
def test_sgd_against_the_definition(decays):
    rng = np.random.default_rng(0)
    params = {"kernel": rng.standard_normal((2, 3)), "bias": rng.standard_normal(3)}
    params = jax.tree.map(np.float32, params)
    gradients = [jax.tree.map(lambda p, s=s: s * np.cos(p), params) for s in (1, 2)]
    rates = optax.piecewise_constant_schedule(0.1, {1: 0.5})
    optimizer = schedules.sgd(rates, momentum=0.8, weight_decay=0.01, decays=decays)
    ours, state = params, optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, ours)
        ours = optax.apply_updates(ours, updates)
    for name, param in params.items():
        decay = 0.01 if name == "kernel" or decays is None else 0
        velocity = 0
        for rate, gradient in zip((0.1, 0.05), gradients, strict=True):
            velocity = 0.8 * velocity + gradient[name] + decay * param
            param = param - rate * velocity
        np.testing.assert_allclose(ours[name], param, rtol=1e-5)


# Objectives and evaluation.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_cross_entropy_against_scipy(dtype):
    logits = jnp.asarray([[1e4, 0.0, -1e4], [0.5, 0.25, 0.0]], dtype)
    labels = np.array([2, 1])
    value, parts = training.classification_loss((logits, {}), {"labels": labels})
    reference = -scipy.special.log_softmax(np.float64(logits), axis=1)[[0, 1], labels]
    np.testing.assert_allclose(value, reference.mean(), rtol=1e-6)
    assert value.dtype == jnp.float32
    assert parts["accuracy"] == 0
    gradient = jax.grad(
        lambda z: training.classification_loss((z, {}), {"labels": labels})[0]
    )
    chex.assert_tree_all_finite(gradient(logits))


def test_supervised_hands_over_inputs_and_other_arrays():
    seen = {}

    def train_fn(params, stats, x, key):
        seen["x"] = x
        return (x.mean(axis=(1, 2)) * params, {}), stats

    def loss(outputs, batch):
        seen["batch"] = batch
        return jnp.mean((outputs[0] - batch["teacher_logits"]) ** 2), {}

    batch = {**pictures(4), "teacher_logits": np.ones((4, 3), np.float32)}
    objective = training.supervised(train_fn, loss, preprocess=preprocess())
    key = jax.random.key(0)
    value, (parts, stats) = objective(jnp.float32(1), {"s": 0}, batch, key)
    np.testing.assert_array_equal(seen["batch"]["images"], seen["x"])
    assert seen["x"].dtype == jnp.float32
    assert (parts, stats) == ({}, {"s": 0})
    assert np.isfinite(value)
    assert objective == training.supervised(train_fn, loss, preprocess=preprocess())
    # The key decides on the augmentation.
    assert objective(jnp.float32(1), {}, batch, key)[0] == value
    assert objective(jnp.float32(1), {}, batch, jax.random.key(1))[0] != value


def test_preprocessing_augments_with_a_key_only():
    images = pictures(4)["images"]
    plain = preprocess()(images, None)
    np.testing.assert_allclose(plain, (images / 255 - 0.4) / 0.3, atol=1e-6)
    assert not np.array_equal(preprocess()(images, jax.random.key(0)), plain)


def test_equal_statistics_and_augmentation_are_one_preprocessing():
    def made(mean, augment=None):
        parts = np.full(3, mean, np.float32), np.full(3, 0.3, np.float32)
        return training.preprocessing(data.ChannelStatistics(*parts), augment=augment)

    assert made(0.4) == made(0.4)
    assert hash(made(0.4)) == hash(made(0.4))
    assert made(0.4) != made(0.5)
    assert made(0.4) != made(0.4, data.augmented)


def test_evaluated_equals_the_whole_set_at_once():
    _, apply_fn, variables = convolutional()
    # Ten examples, batches of four: two of the last are filling.
    examples = pictures(10)
    chex.clear_trace_counter()
    counted = chex.assert_max_traces(apply_fn, n=1)
    result = training.evaluated(
        counted,
        variables,
        examples["images"],
        examples["labels"],
        preprocess=preprocess(),
        batch_size=4,
    )
    logits, _ = jax.jit(apply_fn)(variables, preprocess()(examples["images"], None))
    loss, parts = training.classification_loss((logits, {}), examples)
    np.testing.assert_allclose(result["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(result["accuracy"], parts["accuracy"], rtol=1e-6)


def test_evaluated_rejects():
    _, apply_fn, variables = dense()
    x, y = vectors(4).values()
    with pytest.raises(ValueError, match="equal length"):
        training.evaluated(apply_fn, variables, x, y[:3])
    with pytest.raises(ValueError, match="number of images must be at least 1"):
        training.evaluated(apply_fn, variables, x[:0], y[:0])


# One step.


def test_updated_against_the_definition():
    def objective(params, stats, batch, key):
        noise = jax.random.normal(key)
        value = jnp.mean((batch["x"] - params) ** 2)
        return value, ({"noise": noise}, stats + 1)

    state = training.initial_state(
        (jnp.float32(1), jnp.int32(0)), optax.sgd(0.5), seed=3
    )
    options = {"objective": objective, "optimizer": optax.sgd(0.5)}
    batch = {"x": np.array([1.0, 2.0, 6.0, 7.0], np.float32)}
    new, metrics = jax.jit(functools.partial(training.updated, **options))(
        state, batch, {}
    )
    assert float(new.params) == 4
    assert float(metrics["loss"]) == (0 + 1 + 25 + 36) / 4
    assert float(metrics["gradient_norm"]) == 6
    assert (int(new.stats), int(new.step)) == (1, 1)
    again = training.updated(new, batch, {}, **options)[1]
    assert again["noise"] != metrics["noise"]
    # Statistics go through both micro-batches, everything else is a mean.
    new, halves = training.updated(state, batch, {}, **options, accumulate=2)
    assert (float(new.params), int(new.stats)) == (4, 2)
    assert halves["loss"] == metrics["loss"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [({"loss": 1.0}, "must not be called 'loss'"), ({"a": jnp.ones(2)}, "be a scalar")],
)
def test_updated_rejects_parts(parts, message):
    def objective(params, stats, batch, key):
        return params * 1.0, (parts, stats)

    state = training.initial_state((jnp.float32(1), {}), optimizer(), seed=0)
    with pytest.raises(ValueError, match=message):
        training.updated(state, {}, {}, objective=objective, optimizer=optimizer())


# fit.


def test_fit_learns_and_leaves_the_start_alone():
    train_fn, apply_fn, variables = dense()
    before = jax.tree.map(np.array, variables)
    examples = vectors(64)
    result = quiet_fit(
        training.supervised(train_fn),
        variables,
        examples,
        optimizer=optimizer(),
        num_steps=60,
        batch_size=16,
        seed=0,
        log_every=7,
    )
    chex.assert_trees_all_equal(variables, before)
    assert steps_of(result.history) == list(range(1, 61))
    assert np.mean(losses(result)[-5:]) < np.mean(losses(result)[:5]) / 2
    assert set(result.history[0]) == {
        "step",
        "loss",
        "accuracy",
        "gradient_norm",
        "seconds",
    }
    assert result.history[-1]["images_per_second"] > 0
    assert (result.best_step, int(result.state.step)) == (60, 60)
    results = training.evaluated(apply_fn, result.best, *examples.values())
    assert results["accuracy"] > 0.9


def test_fit_goes_on_from_a_state():
    objective = training.supervised(dense()[0])
    options = {"optimizer": optimizer(), "batch_size": 5, "seed": 2}
    whole = quiet_fit(objective, dense()[2], vectors(), num_steps=6, **options)
    half = quiet_fit(objective, dense()[2], vectors(), num_steps=3, **options)
    rest = quiet_fit(objective, half.state, vectors(), num_steps=6, **options)
    chex.assert_trees_all_equal(rest.state, whole.state)
    assert losses(half) + losses(rest) == losses(whole)


def test_micro_batches_equal_the_batch():
    objective = training.supervised(dense()[0])
    options = {
        "optimizer": optimizer(),
        "num_steps": 5,
        "batch_size": 12,
        "seed": 0,
    }
    whole = quiet_fit(objective, dense()[2], vectors(), **options)
    parts = quiet_fit(objective, dense()[2], vectors(), **options, accumulate=3)
    chex.assert_trees_all_close(parts.state.params, whole.state.params, rtol=1e-5)
    np.testing.assert_allclose(losses(parts), losses(whole), rtol=1e-5)


def test_several_steps_a_dispatch_give_the_same_numbers():
    train_fn, _, variables = convolutional()
    objective = training.supervised(train_fn, preprocess=preprocess())
    seen = []
    options = {
        "optimizer": optimizer(),
        "num_steps": 9,
        "batch_size": 6,
        "seed": 0,
        "log_every": 2,
    }
    one = quiet_fit(objective, variables, pictures(), **options)
    many = quiet_fit(
        objective,
        variables,
        pictures(),
        **options,
        steps_per_dispatch=3,
        # Steps 1-3, then 4 and 5 singly, 6-8, and 9 singly.
        validation=training.Validation(
            evaluate=lambda v: (
                seen.append(jax.tree.map(np.array, v)) or {"accuracy": 0}
            ),
            every=5,
        ),
    )
    assert steps_of(many.history) == list(range(1, 10))
    np.testing.assert_allclose(losses(many), losses(one), atol=1e-5)
    chex.assert_trees_all_close(many.state.params, one.state.params, atol=1e-5)
    assert len(seen) == 2


def test_an_optimizer_that_keeps_the_parameters():
    average = optax.chain(schedules.sgd(0.1), _kept_parameters())
    result = quiet_fit(
        training.supervised(dense()[0]),
        dense()[2],
        vectors(),
        optimizer=average,
        num_steps=2,
        batch_size=5,
        seed=0,
    )
    chex.assert_trees_all_equal(result.state.opt_state[1], dense()[2].params)


def _kept_parameters():
    """Its state is the initial parameters: the very arrays, at first."""
    return optax.GradientTransformation(
        lambda params: params, lambda updates, state, params=None: (updates, state)
    )


def test_fit_compiles_once():
    traces = []

    def objective(params, stats, batch, key):
        traces.append(1)
        value = jnp.mean((batch["images"] @ params) ** 2)
        return value, ({}, stats)

    for seed in (0, 1):
        start = (np.ones(3, np.float32) + seed, {})
        options = {"num_steps": 4, "batch_size": 5, "seed": seed}
        quiet_fit(objective, start, vectors(), optimizer=optimizer(), **options)
    assert len(traces) == 1


def test_constants_reach_the_objective_unbatched():
    def objective(params, stats, batch, key):
        value = jnp.mean((batch["images"] @ params - batch["teacher"]["bias"]) ** 2)
        return value, ({"rows": batch["images"].shape[0]}, stats)

    result = quiet_fit(
        objective,
        (np.zeros(3, np.float32), {}),
        vectors(),
        optimizer=optimizer(),
        num_steps=1,
        batch_size=6,
        seed=0,
        accumulate=2,
        constants={"teacher": {"bias": jnp.float32(2)}},
    )
    assert result.history[0]["loss"] == 4
    assert result.history[0]["rows"] == 3


def test_half_precision_keeps_wide_parameters():
    train_fn, _, variables = convolutional(dtype=jnp.bfloat16)
    seen = []

    def observed(params, stats, x, key):
        outputs, stats = train_fn(params, stats, x, key)
        seen.append(outputs[1]["feature_maps"][0].dtype)
        return outputs, stats

    result = quiet_fit(
        training.supervised(observed, preprocess=preprocess()),
        variables,
        pictures(60),
        optimizer=optimizer(),
        num_steps=30,
        batch_size=12,
        seed=0,
    )
    assert set(seen) == {jnp.dtype(jnp.bfloat16)}
    chex.assert_trees_all_equal_dtypes(result.best, variables)
    assert {x.dtype for x in jax.tree.leaves(result.state.opt_state)} <= {
        jnp.dtype("float32"),
        jnp.dtype("int32"),
    }
    assert np.mean(losses(result)[-5:]) < np.mean(losses(result)[:5])


def test_best_variables_are_those_of_the_best_evaluation(tmp_path):
    train_fn, apply_fn, variables = convolutional()
    scores = iter([0.2, 0.7, 0.7, np.nan, 0.1])
    seen = []

    def evaluate(variables):
        seen.append(jax.tree.map(np.array, variables))
        return {"accuracy": next(scores), "loss": 1.0}

    options = {"optimizer": optimizer(), "batch_size": 6, "seed": 0}
    result = quiet_fit(
        training.supervised(train_fn, preprocess=preprocess()),
        variables,
        pictures(),
        **options,
        num_steps=9,
        validation=training.Validation(evaluate=evaluate, every=2),
        checkpoints=training.Checkpoints(folder=tmp_path, every=3),
    )
    assert result.best_step == 4
    chex.assert_trees_all_equal(result.best, seen[1])
    assert [r["validation"]["accuracy"] for r in result.history if "loss" not in r] == [
        0.2,
        0.7,
        0.7,
        None,
        0.1,
    ]
    assert result.history == logged(tmp_path)
    # On disk too, and readable without the network that they belong to.
    assert saved_steps(tmp_path) == [4, 8, 9]
    best, last = (
        training.saved_variables(tmp_path, last=last) for last in (False, True)
    )
    chex.assert_trees_all_equal(best, result.best)
    chex.assert_trees_all_equal(last.params, result.state.params)
    outputs = [
        jax.jit(apply_fn)(v, np.ones((2, 8, 8, 3)))[0] for v in (best, result.best)
    ]
    np.testing.assert_array_equal(*outputs)


def test_criterion_may_be_minus_the_loss():
    values = iter([3.0, 1.0, 2.0])
    result = quiet_fit(
        training.supervised(dense()[0]),
        dense()[2],
        vectors(),
        optimizer=optimizer(),
        num_steps=3,
        batch_size=5,
        seed=0,
        validation=training.Validation(
            evaluate=lambda variables: {"loss": next(values)},
            every=1,
            criterion=lambda metrics: -metrics["loss"],
        ),
    )
    assert result.best_step == 2


# Going on.


def resumable(folder, num_steps, **options):
    """A run with everything that has a state: key, statistics, momentum, schedule."""
    train_fn, _, variables = convolutional()
    return quiet_fit(
        training.supervised(train_fn, preprocess=preprocess()),
        variables,
        pictures(),
        optimizer=_decaying(),
        num_steps=num_steps,
        batch_size=7,
        seed=4,
        checkpoints=training.Checkpoints(folder=folder, every=3),
        **options,
    )


@functools.cache
def _decaying():
    return schedules.sgd(
        optax.piecewise_constant_schedule(0.1, {4: 0.1}), weight_decay=0.01
    )


def test_a_finished_run_is_read_and_an_extended_one_goes_on(tmp_path):
    whole = resumable(tmp_path / "whole", 8)
    resumable(tmp_path / "cut", 5)
    with (tmp_path / "cut" / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "loss": 9}\n{"step": 7, "lo')
    resumed = resumable(tmp_path / "cut", 8)
    chex.assert_trees_all_equal(resumed.state, whole.state)
    assert losses(resumed) == losses(whole)
    assert logged(tmp_path / "cut") == resumed.history
    again = resumable(tmp_path / "cut", 8)
    chex.assert_trees_all_equal(again, resumed)
    assert saved_steps(tmp_path / "cut") == [6, 8]


def test_sigterm_saves_first(tmp_path):
    def evaluate(variables):
        if not interrupted:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        return {"accuracy": 0.0}

    interrupted, mine = [], lambda *_: None
    before = signal.signal(signal.SIGTERM, mine)
    try:
        validation = training.Validation(evaluate=evaluate, every=4)
        with pytest.raises(training.Interrupted) as caught:
            resumable(tmp_path / "cut", 10, validation=validation)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    # The signal is seen after the next step.
    assert (caught.value.step, caught.value.code) == (5, 143)
    assert saved_steps(tmp_path / "cut") == [4, 5]
    assert steps_of(logged(tmp_path / "cut")) == [1, 2, 3, 4, 5]
    resumed = resumable(tmp_path / "cut", 10, validation=validation)
    whole = resumable(tmp_path / "whole", 10, validation=validation)
    chex.assert_trees_all_equal(resumed.state, whole.state)
    chex.assert_trees_all_equal(resumed.best, whole.best)
    assert resumed.best_step == whole.best_step == 4
    assert losses(resumed) == losses(whole)


def test_sigterm_while_the_last_state_is_saved(tmp_path):
    def evaluate(variables):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"accuracy": 0.0}

    with pytest.raises(training.Interrupted):
        resumable(
            tmp_path, 2, validation=training.Validation(evaluate=evaluate, every=2)
        )
    assert saved_steps(tmp_path) == [2]


def test_fit_works_outside_the_main_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(resumable(tmp_path, 2)))
    thread.start()
    thread.join()
    assert results[0].best_step == 2


KILLED = """
import pathlib, sys
sys.path.insert(0, {tests!r})
import conftest, jax, test_training
folder, num_steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
resumed = test_training.resumable(folder / "killed", num_steps)
if "again" in sys.argv:
    whole = test_training.resumable(folder / "whole", num_steps)
    test_training.chex.assert_trees_all_equal(resumed.state, whole.state)
    assert test_training.losses(resumed) == test_training.losses(whole)
    print("equal")
"""


@pytest.mark.timeout(120)
def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-c", KILLED.format(tests=str(here))]
    environment = {**os.environ, "PYTHONPATH": str(here.parent)}
    first = subprocess.Popen(
        [*command, str(tmp_path), "10000"], env=environment, cwd=tmp_path
    )
    folder = tmp_path / "killed"
    # Killed while it writes a checkpoint, which then has another name; if that is
    # never seen, soon afterwards.
    while first.poll() is None:
        names = [place.name for place in folder.glob("checkpoints/*")]
        done = max((int(name) for name in names if name.isdecimal()), default=0)
        if done >= 60 or (done >= 6 and not all(map(str.isdecimal, names))):
            break
        time.sleep(0.001)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    cut = _checkpoints.steps_in(folder)
    assert cut[-1] >= 6
    num_steps = cut[-1] + 10
    second = subprocess.run(
        [*command, str(tmp_path), str(num_steps), "again"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert second.stdout.strip() == "equal"
    assert second.stderr == ""
    assert steps_of(logged(folder)) == list(range(1, num_steps + 1))
    assert saved_steps(folder)[-1] == num_steps


def test_checkpoints_of_another_run_are_refused(tmp_path):
    resumable(tmp_path, 1)
    train_fn, _, variables = convolutional()
    common = {
        "optimizer": _decaying(),
        "num_steps": 2,
        "checkpoints": training.Checkpoints(folder=tmp_path, every=3),
    }
    objective = training.supervised(train_fn, preprocess=preprocess())
    with pytest.raises(ValueError, match="batch_size = 7, now it is 6; give") as caught:
        quiet_fit(objective, variables, pictures(), batch_size=6, seed=4, **common)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="of another network or optimiser") as caught:
        quiet_fit(objective, dense()[2], pictures(), batch_size=7, seed=4, **common)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="holds no checkpoints"):
        training.saved_variables(tmp_path / "elsewhere")


# Numbers that are not finite.


@pytest.mark.parametrize("steps_per_dispatch", [1, 2])
def test_a_nan_names_its_step_and_leaves_the_last_checkpoint(
    tmp_path, steps_per_dispatch
):
    examples = vectors(16)
    # The bad example is the last of the first epoch: step 8 from 1, at 2 a step.
    last = data.batch_indices(0, 7, num_examples=16, batch_size=2)[1]
    examples["images"][last] = np.nan
    with pytest.raises(training.NonFiniteLoss) as caught:
        quiet_fit(
            training.supervised(dense()[0]),
            dense()[2],
            examples,
            optimizer=optimizer(),
            num_steps=16,
            batch_size=2,
            seed=0,
            steps_per_dispatch=steps_per_dispatch,
            checkpoints=training.Checkpoints(folder=tmp_path, every=3),
        )
    message = str(caught.value)
    assert message.startswith("step 8 is not finite: loss = nan, accuracy = ")
    assert message.endswith("; step 6 is saved. Try a lower learning rate.")
    assert "gradient_norm = nan" in message
    assert "\n" not in message
    assert caught.value.step == 8
    assert steps_of(logged(tmp_path)) == list(range(1, 8))
    assert saved_steps(tmp_path) == [3, 6]
    chex.assert_tree_all_finite(training.saved_variables(tmp_path).params)


def test_a_gradient_that_is_not_finite_stops_too():
    def objective(params, stats, batch, key):
        return jnp.sqrt(params), ({}, stats)

    with pytest.raises(training.NonFiniteLoss, match="loss = 0, gradient_norm = inf"):
        quiet_fit(
            objective,
            (np.float32(0), {}),
            vectors(),
            optimizer=optimizer(),
            num_steps=3,
            batch_size=2,
            seed=0,
        )


def test_an_update_that_is_not_finite_is_not_saved(tmp_path):
    def objective(params, stats, batch, key):
        return params, ({}, stats)

    huge = optax.sgd(lambda step: jnp.where(step == 3, jnp.inf, 0.1))
    with pytest.raises(
        training.NonFiniteLoss, match="step 4 .*params = nan; step 2 is"
    ):
        quiet_fit(
            objective,
            (np.float32(0), {}),
            vectors(),
            optimizer=huge,
            num_steps=9,
            batch_size=2,
            seed=0,
            checkpoints=training.Checkpoints(folder=tmp_path, every=2),
        )
    assert saved_steps(tmp_path) == [2]


# The request itself.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps, .* at least 1, got 0"),
        ({"log_every": 0}, "at least 1, got 0"),
        ({"accumulate": 4}, "batch_size 6 must be a multiple of accumulate 4"),
        ({"arrays": {}}, "arrays must have one length"),
        ({"arrays": {"a": np.ones(3), "b": np.ones(4)}}, "'a': 3, 'b': 4"),
    ],
)
def test_fit_rejects(options, message):
    arguments = {
        "arrays": vectors(),
        "optimizer": optimizer(),
        "num_steps": 1,
        "batch_size": 6,
        "seed": 0,
        **options,
    }
    with pytest.raises(ValueError, match=message):
        quiet_fit(training.supervised(dense()[0]), dense()[2], **arguments)


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, _Terminal])
def test_progress_goes_to_stderr(stream, monkeypatch, capsys):
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    training.fit(
        training.supervised(dense()[0]),
        dense()[2],
        vectors(),
        optimizer=optimizer(),
        num_steps=6,
        batch_size=5,
        seed=0,
        log_every=2,
        validation=training.Validation(
            evaluate=lambda variables: {"accuracy": 0.25}, every=4
        ),
    )
    shown = stderr.getvalue()
    assert "6/6" in shown
    assert "step 4  validation: accuracy 0.2500  (best so far)" in shown
    assert "examples/s" in shown
    assert "0:00:00 left" in shown
    assert ("\x1b[" in shown) == (stream is _Terminal)
    assert capsys.readouterr().out == ""


@pytest.mark.timeout(60)
def test_importing_training_is_cheap():
    code = (
        "import sys\nfrom jtransfer.training import devices, schedules\n"
        "heavy = {'flax', 'optax', 'orbax', 'rich', 'ott', 'tensorflow_datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parents[1],
    )
    assert result.stdout.strip() == "[]"


# Real images.


def test_a_tiny_network_learns_real_images():
    packed = SHARED / "cifar10_test.npz"
    if not packed.exists():
        pytest.skip(f"{packed} is not there.")
    examples = _real_images(packed, 1200)
    split = data.held_out_split(examples["labels"], fraction=0.25, seed=0)
    train = {name: part[split.train] for name, part in examples.items()}
    held_out = {name: part[split.held_out] for name, part in examples.items()}
    model = models.VGG(depth=4, num_classes=10, base_width=4, rngs=nnx.Rngs(0))
    train_fn, _, _ = models.trainable(model)
    apply_fn, variables = models.functional(model)
    prepared = training.preprocessing(
        data.channel_statistics(train["images"]),
        augment=functools.partial(data.augmented, padding=2),
    )
    evaluate = functools.partial(
        training.evaluated, apply_fn, preprocess=prepared, batch_size=100
    )
    result = quiet_fit(
        training.supervised(train_fn, preprocess=prepared),
        variables,
        train,
        optimizer=schedules.sgd(
            optax.cosine_decay_schedule(0.1, 120), weight_decay=5e-4
        ),
        num_steps=120,
        batch_size=50,
        seed=0,
        validation=training.Validation(
            evaluate=lambda v: evaluate(v, *held_out.values()), every=60
        ),
    )
    results = evaluate(result.best, *held_out.values())
    # Chance is 0.1 with a deviation of 0.017.
    assert results["accuracy"] > 0.19


def _real_images(packed, count):
    """The first images, at 16 x 16; their order is balanced over the classes."""
    with np.load(packed, allow_pickle=False) as archive:
        blob, offsets = archive["blob"], archive["offsets"]
        edge, per_strip = int(archive["height"]), int(archive["per_strip"])
        labels = archive["label"][:count].astype(np.int32)
    strips = [
        np.asarray(Image.open(io.BytesIO(blob[offsets[i] : offsets[i + 1]].tobytes())))
        for i in range(-(-count // per_strip))
    ]
    images = np.concatenate(strips).reshape(-1, edge, edge, 3)[:count]
    blocks = images.reshape(count, edge // 2, 2, edge // 2, 2, 3)
    return {"images": blocks.mean(axis=(2, 4)).astype(np.uint8), "labels": labels}
