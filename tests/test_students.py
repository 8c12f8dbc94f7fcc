"""Tests of jtransfer.transfer and of the batched Jacobians under it."""

import dataclasses
import functools
import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jtransfer import data, distillation, models, networks, training, transfer
from jtransfer.distillation import batch_jacobians
from jtransfer.training import _runs
from jtransfer.transfer import _student_steps, student_recipes, teacher_outputs

CLASSES, TEACHER_CLASSES, SIDE = 3, 4, 8
LABELS = np.arange(24, dtype=np.int32) % CLASSES
WEIGHTS = {"label_weight": 0.5, "logits_weight": 2.0, "jacobian_weight": 3.0}
METHODS = {
    "activations+jacobians": transfer.activations_and_jacobians_method(**WEIGHTS),
    "attention+jacobians": transfer.attention_and_jacobians_method(
        **WEIGHTS, attention_weight=5.0, teacher_layer=0, student_layer=0, window=2
    ),
    "lwf": transfer.lwf_method(label_weight=0.5, logits_weight=2.0),
}


def vgg4(second_head=False, num_classes=CLASSES, seed=0):
    rngs = nnx.Rngs(seed)
    model = models.VGG(depth=4, num_classes=num_classes, base_width=2, rngs=rngs)
    if second_head:
        model = models.TwoHeaded(model, num_teacher_classes=TEACHER_CLASSES, rngs=rngs)
    return model


def wide_variables(model):
    """Float64 variables with scales and offsets that are not those of the start."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda x: np.asarray(x, np.float64) + 0.1 * rng.normal(size=x.shape),
        models.functional(model)[1],
    )


def teacher_arrays(rng, n, num_outputs, size):
    """Random outputs of a teacher, in the names and shapes of a batch."""
    return {
        "teacher_logits": rng.normal(size=(n, num_outputs)),
        "teacher_indices": (np.arange(n, dtype=np.int32) % CLASSES)[:, None],
        "teacher_jacobians": rng.normal(size=(n, 1, size)),
        "teacher_attention": rng.uniform(size=(n, SIDE // 2, SIDE // 2)),
        "teacher_peaks": np.arange(n, dtype=np.int32) % 9,
        "teacher_peak_gradients": rng.normal(size=(n, size)),
    }


# The same network written anew: normalised by the statistics of `x` itself, which it
# returns, or by statistics that are given.
def reference_vgg4(params, x, given=None):
    result, maps = [], []
    for i in range(3):
        layer = params["stages"][i][0]
        x = jax.lax.conv_general_dilated(
            x,
            layer["conv"]["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        result.append((jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))))
        mean, variance = result[i] if given is None else given[i]
        scale = layer["norm"]["scale"] / jnp.sqrt(variance + 1e-5)
        x = (x - mean[None, None, None]) * scale[None, None, None]
        x = x + layer["norm"]["bias"][None, None, None]
        # In pairs: jax 0.12 differentiates a maximum over both axes wrongly on a CPU.
        rows = jnp.maximum(x[:, ::2], x[:, 1::2])
        x = jnp.maximum(jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2]), 0)
        maps.append(x)
    embedding = x.mean((1, 2))
    head = params["classifier"]
    return embedding @ head["kernel"] + head["bias"][None], embedding, maps, result


def reference_terms(name, params, batch):
    """The terms of a method, from the formulas and one example at a time."""
    body = params if name == "activations+jacobians" else params["body"]
    x, labels = batch["images"], batch["labels"]
    logits, embedding, maps, statistics = reference_vgg4(body, x)
    chosen = jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]
    terms = {"cross_entropy": jnp.mean(jax.nn.logsumexp(logits, axis=1) - chosen)}
    recalled = logits
    if body is not params:
        head = params["teacher_classifier"]
        recalled = embedding @ head["kernel"] + head["bias"][None]
    difference = recalled - batch["teacher_logits"]
    terms["activations"] = jnp.mean(jnp.sum(difference**2, axis=1))
    if body is not params:
        terms["activations"] /= TEACHER_CLASSES
    if name == "activations+jacobians":

        def row(x, index):
            f = lambda x: reference_vgg4(body, x[None], statistics)[0][0]  # noqa: E731
            return jax.jacrev(f)(x).reshape(CLASSES, -1)[index]

        rows = jax.vmap(row)(x, batch["teacher_indices"][:, 0])
        difference = rows - batch["teacher_jacobians"][:, 0]
        terms["jacobians"] = jnp.mean(jnp.sum(difference**2, axis=1))
    if name == "attention+jacobians":
        unit = lambda v: v / jnp.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
        attention = jnp.sum(maps[0] ** 2, axis=3).reshape(len(x), -1)
        given = batch["teacher_attention"].reshape(len(x), -1)
        terms["attention"] = jnp.mean(
            jnp.linalg.norm(unit(attention) - unit(given), axis=1)
        )

        def gradient(x, place):
            def pixel(x):
                z = reference_vgg4(body, x[None], statistics)[2][0][0] ** 2
                a = jnp.sum(z, axis=2)
                i, j = place // 3, place % 3
                return jnp.mean(jax.lax.dynamic_slice(a, (i, j), (2, 2)))

            return jax.grad(pixel)(x).ravel()

        gradients = jax.vmap(gradient)(x, batch["teacher_peaks"])
        difference = unit(gradients) - unit(batch["teacher_peak_gradients"])
        terms["jacobians"] = jnp.mean(jnp.sum(difference**2, axis=1))
    return terms


@pytest.mark.parametrize("name", METHODS)
def test_an_objective_and_its_gradient_are_those_of_the_definition(name):
    method, rng = METHODS[name], np.random.default_rng(0)
    model = vgg4(method.second_head)
    params, stats = wide_variables(model)
    outputs = TEACHER_CLASSES if method.second_head else CLASSES
    batch = teacher_arrays(rng, 4, outputs, SIDE * SIDE * 3)
    batch["images"] = rng.normal(size=(4, SIDE, SIDE, 3))
    batch["labels"] = np.array([0, 2, 1, 2], np.int32)
    weights = {
        **WEIGHTS,
        "attention_weight": 5.0,
        "cross_entropy": WEIGHTS["label_weight"],
    }
    weights |= {"activations": 2.0, "jacobians": 3.0, "attention": 5.0}

    def expected(params):
        terms = reference_terms(name, params, batch)
        return sum(weights[part] * term for part, term in terms.items()), terms

    with jax.enable_x64(True):
        ours = jax.jit(
            jax.value_and_grad(
                transfer.student_objective(model, method.loss), has_aux=True
            )
        )
        (value, (parts, new_stats)), gradient = ours(params, stats, batch, None)
        (reference_values, terms), reference = jax.jit(
            jax.value_and_grad(expected, has_aux=True)
        )(params)
        train_fn = models.trainable(model)[0]
        trained = jax.jit(train_fn)(params, stats, batch["images"], None)[1]
        close = functools.partial(chex.assert_trees_all_close, rtol=1e-7, atol=1e-9)
        close(value, reference_values)
        parts.pop("accuracy")
        assert parts.keys() == terms.keys()
        close(parts, terms)
        close(gradient, reference)
        close(new_stats, trained)


def test_a_student_that_is_its_teacher_has_nothing_to_learn():
    model = vgg4()
    apply_fn, (params, stats) = models.functional(model)
    normalized_fn, train_fn = models.self_normalized(model), models.trainable(model)[0]
    objective = transfer.student_objective(model, METHODS["activations+jacobians"].loss)
    x = jax.random.normal(jax.random.key(0), (5, SIDE, SIDE, 3))
    labels = np.arange(5, dtype=np.int32) % CLASSES
    hot = jax.nn.one_hot(labels, CLASSES)

    @jax.jit
    def numbers(x):
        (logits, _), own = normalized_fn(params, stats, x, None)
        f = lambda x: apply_fn((params, own), x)  # noqa: E731
        batch = {"images": x, "labels": labels}
        batch |= teacher_outputs.label_jacobian(f, x, labels)
        _, (parts, _) = objective(params, stats, batch, None)
        through = jax.grad(
            lambda x: jnp.vdot(hot, train_fn(params, stats, x, None)[0][0])
        )(x)
        gap = through.reshape(5, 1, -1) - batch["teacher_jacobians"]
        return logits, f(x)[0], parts, jnp.sum(gap**2)

    logits, held, parts, gap = numbers(x)
    np.testing.assert_allclose(held, logits, atol=1e-5)
    assert float(parts["activations"]) < 1e-8
    assert float(parts["jacobians"]) < 1e-8
    assert float(gap) > 1e-4  # through the statistics of the batch it is another


def test_one_forward_pass_serves_the_loss_and_the_jacobian():
    model = vgg4()
    variables = models.functional(model)[1]
    batch = teacher_arrays(np.random.default_rng(0), 4, CLASSES, SIDE * SIDE * 3)
    batch["images"], batch["labels"] = np.ones((4, SIDE, SIDE, 3)), LABELS[:4]
    batch = jax.tree.map(
        lambda x: x.astype(np.float32) if x.dtype == np.float64 else x, batch
    )

    def convolutions(jacobian_weight):
        loss = transfer.activations_and_jacobians_method(
            jacobian_weight=jacobian_weight
        ).loss
        objective = jax.grad(transfer.student_objective(model, loss), has_aux=True)
        compiled = jax.jit(objective).lower(*variables, batch, None).compile()
        return compiled.as_text().count(" convolution(")

    # Of 3 layers: forward 3, by kernels 3, by activations 2. With the input gradient 3
    # for itself, and for its derivative 3 by kernels and 3 by what came from above.
    assert 8 * convolutions(jacobian_weight=1) <= 17 * convolutions(jacobian_weight=0)


def dense(params, x):
    inner, outer = params
    return jnp.tanh(x @ inner) @ outer


def dense_task(num_outputs, n=3):
    keys = jax.random.split(jax.random.key(0), 4)
    params = jax.random.normal(keys[0], (6, 5)), jax.random.normal(keys[1], (5, 20))
    x = jax.random.normal(keys[2], (n, 6))
    teacher = jax.random.normal(keys[3], (n, num_outputs, 6))
    indices = jnp.arange(n * num_outputs).reshape(n, num_outputs) % 20
    return params, x, indices, teacher


def dense_error(params, x, indices, teacher, *, chunk_size):
    f = functools.partial(dense, params)
    return batch_jacobians.jacobian_error(f, x, indices, teacher, chunk_size=chunk_size)


@pytest.mark.parametrize("chunk_size", [1, 3, 7])
def test_chunks_change_nothing_but_memory(chunk_size):
    params, x, indices, teacher = dense_task(7)

    def expected(params):
        full = jax.vmap(jax.jacrev(functools.partial(dense, params)))(x)
        rows = jnp.take_along_axis(full, indices[..., None], axis=1)
        return distillation.match_jacobians(teacher, rows), rows

    (value, rows), gradient = jax.jit(jax.value_and_grad(expected, has_aux=True))(
        params
    )
    close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-5)

    def weighted_error(params):
        error = dense_error(params, x, indices, teacher, chunk_size=chunk_size)
        f = functools.partial(dense, params)
        _, rows = batch_jacobians.selected_jacobians(
            f, x, indices, chunk_size=chunk_size
        )
        return 3 * error, rows  # as a weight scales it

    (tripled, selected), scaled = jax.jit(
        jax.value_and_grad(weighted_error, has_aux=True)
    )(params)
    close(tripled, 3 * value)
    close(scaled, jax.tree.map(lambda leaf: 3 * leaf, gradient))
    close(selected, rows)


def test_a_chunk_bounds_the_memory():
    def bytes_of(num_outputs, chunk_size):
        arguments = dense_task(num_outputs, n=512)
        function = functools.partial(dense_error, chunk_size=chunk_size)
        compiled = jax.jit(jax.grad(function)).lower(*arguments).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert bytes_of(20, 2) < 0.4 * bytes_of(20, 20)
    assert bytes_of(20, 2) < 2 * bytes_of(5, 2)


def test_indices_must_fit_the_jacobians():
    params, x, indices, teacher = dense_task(4)
    with pytest.raises(ValueError, match="a row for each"):
        dense_error(params, x, indices[:, :2], teacher, chunk_size=1)
    with pytest.raises(ValueError, match="chunk_size"):
        dense_error(params, x, indices, teacher, chunk_size=0)


def test_a_weight_of_zero_removes_a_term_and_its_need():
    model = vgg4()
    batch = {"images": np.ones((2, SIDE, SIDE, 3), np.float32), "labels": LABELS[:2]}
    batch["teacher_logits"] = np.zeros((2, CLASSES), np.float32)
    variables = models.functional(model)[1]
    for kept, weight in (
        ("cross_entropy", "label_weight"),
        ("activations", "logits_weight"),
    ):
        weights = {
            "label_weight": 0,
            "logits_weight": 0,
            "jacobian_weight": 0,
            weight: 4.0,
        }
        method = transfer.activations_and_jacobians_method(**weights)
        assert method.outputs is teacher_outputs.logits
        objective = transfer.student_objective(model, method.loss)
        _, (parts, _) = jax.eval_shape(objective, *variables, batch, None)
        assert parts.keys() == {kept, "accuracy"}


def test_equal_arguments_give_one_objective_and_wrong_weights_are_refused():
    methods = [transfer.lwf_method(label_weight=2.0) for _ in range(2)]
    assert (
        methods[0].loss == methods[1].loss != transfer.lwf_method(label_weight=3.0).loss
    )
    model = vgg4(second_head=True)
    assert transfer.student_objective(
        model, methods[0].loss
    ) == transfer.student_objective(vgg4(second_head=True, seed=1), methods[1].loss)
    with pytest.raises(
        ValueError, match="label_weight, logits_weight must not be negative"
    ):
        transfer.lwf_method(logits_weight=-1.0)
    with pytest.raises(ValueError, match="not all zero"):
        transfer.activations_and_jacobians_method(
            label_weight=0, logits_weight=0, jacobian_weight=0
        )


def colours(seed, n, names):
    """Images whose colour is their class."""
    rng = np.random.default_rng(seed)
    labels = LABELS[:n]
    images = rng.integers(0, 100, size=(n, SIDE, SIDE, 3))
    images[np.arange(n), :, :, labels] += 120
    return data.Images(images.astype(np.uint8), labels, names)


def a_teacher(names):
    architecture = networks.Architecture(
        model="vgg4", num_classes=len(names), image_size=SIDE, base_width=2
    )
    model = networks.model(architecture, rngs=nnx.Rngs(5))
    statistics = data.ChannelStatistics(*np.array([[0.4] * 3, [0.3] * 3], np.float32))
    variables = models.functional(model)[1]
    return networks.Network(architecture, variables, statistics, names, {})


RECIPE = transfer.StudentRecipe(num_epochs=10, batch_size=8, learning_rate=0.01)


def distilled(
    folder,
    name,
    *,
    model="vgg4",
    seed=0,
    method=None,
    recipe=RECIPE,
    start=None,
    **changes,
):
    method = METHODS[name] if method is None else method
    own = ("red", "green", "blue")
    names = own if name == "activations+jacobians" else ("a", "b", "c", "d")
    width = 2 if model == "vgg4" else 6
    architecture = networks.Architecture(
        model=model, num_classes=CLASSES, image_size=SIDE, base_width=width
    )
    arguments = {
        "teacher": a_teacher(names),
        "architecture": architecture,
        "train": colours(0, 24, own),
        "test": colours(1, 12, own),
        **changes,
    }
    return transfer.distil_student(
        *arguments.values(),
        method=method,
        recipe=recipe,
        folder=folder,
        cache=folder / "teacher_outputs",
        seed=seed,
        facts={"method": name},
        start=start,
    )


def check_student(folder, name, result):
    """The loss fell, and the folder holds the student without its second head."""
    losses = [row["loss"] for row in log(folder)]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    stored = networks.read_network(folder)
    chex.assert_trees_all_equal(stored.variables, result.variables)
    assert stored.facts["loss"]["label_weight"] == WEIGHTS["label_weight"]
    assert stored.facts["method"] == name
    assert 0 <= stored.facts["source_accuracy"] <= 1
    np.testing.assert_array_equal(stored.statistics.mean, np.float32([0.4] * 3))
    assert stored.class_names == ("red", "green", "blue")


def log(folder):
    return [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "model"),
    [("attention+jacobians", "vgg4"), ("activations+jacobians", "fully_connected")],
)
def test_a_student_learns(name, model, tmp_path):
    check_student(tmp_path, name, distilled(tmp_path, name, model=model))


def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path, monkeypatch):
    name, folders = "activations+jacobians", [tmp_path / "whole", tmp_path / "killed"]
    whole = distilled(folders[0], name)
    check_student(folders[0], name, whole)
    saved = _runs.saved

    def killed(*args):
        saved(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_runs, "saved", killed)
        with pytest.raises(KeyboardInterrupt):
            distilled(folders[1], name)
    assert len(log(folders[1])) == 3
    resumed = distilled(folders[1], name)
    chex.assert_trees_all_equal(resumed.variables, whole.variables)
    losses = [[row["loss"] for row in log(folder)] for folder in folders]
    assert losses[0] == losses[1]
    # Other settings are another run.
    other = transfer.activations_and_jacobians_method(jacobian_weight=9.0)
    with pytest.raises(
        data.DataError, match=r"'jacobian_weight': 3.0.* now it is .*9.0"
    ):
        distilled(folders[0], name, method=other)
    with pytest.raises(data.DataError, match="seed = 0, now it is 1"):
        distilled(folders[0], name, seed=1)


def test_what_does_not_fit_is_refused(tmp_path):
    name = "activations+jacobians"
    own = ("red", "green", "blue")
    with pytest.raises(data.DataError, match="The teacher knows a, b, c, the images"):
        distilled(tmp_path, name, teacher=a_teacher(("a", "b", "c")))
    with pytest.raises(data.DataError, match="the test images a, b, c"):
        distilled(tmp_path, name, test=colours(1, 12, ("a", "b", "c")))
    large = colours(0, 24, own)
    large = large._replace(images=np.repeat(large.images, 2, axis=1))
    with pytest.raises(data.DataError, match=r"teacher takes images \[8, 8, 3\]"):
        distilled(tmp_path, name, train=large)
    deep = networks.Architecture(model="vgg9", num_classes=3, image_size=SIDE)
    with pytest.raises(data.DataError, match="vgg9 cannot be the student: .*32 x 32"):
        distilled(tmp_path, name, architecture=deep)


def test_an_optimizer_falls_where_the_recipe_says():
    recipe = transfer.StudentRecipe(
        num_epochs=4,
        learning_rate=0.1,
        decay_at=(0.25, 0.5),
        decay_factor=0.2,
        optimizer=transfer.Momentum(momentum=0.5, weight_decay=0.25),
    )
    weights, rates = {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}, []
    optimizer = student_recipes.student_optimizer(recipe, 8)
    state, slopes = optimizer.init(weights), jax.tree.map(jnp.ones_like, weights)
    velocity = np.zeros(2)
    for _ in range(8):
        updates, state = optimizer.update(slopes, state, weights)
        velocity = 0.5 * velocity + [1.25, 1]
        steps = [-updates[name].item() for name in ("kernel", "bias")]
        rates.append(steps / velocity)
    expected = np.repeat([[0.1] * 2, [0.02] * 2, [0.004] * 2], [2, 2, 4], axis=0)
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    again = student_recipes.student_optimizer(dataclasses.replace(recipe), 8)
    assert again is optimizer
    # Nesterov's step is along the gradient and the momentum it will have.
    cosine = dataclasses.replace(
        recipe,
        decay_at=transfer.Cosine(last=0.1),
        optimizer=transfer.Nesterov(momentum=0.5, weight_decay=0.25),
    )
    optimizer = student_recipes.student_optimizer(cosine, 8)
    state, velocity = optimizer.init(weights), 0.0
    for step in range(8):
        updates, state = optimizer.update(slopes, state, weights)
        velocity = 0.5 * velocity + 1.25
        rate = 0.1 * (0.1 + 0.9 * (1 + np.cos(np.pi * step / 8)) / 2)
        expected = rate * (1.25 + 0.5 * velocity)
        assert -updates["kernel"].item() == pytest.approx(expected, rel=1e-5)
    # By default it is Adam with one fall, after four fifths.
    usual = student_recipes.student_optimizer(RECIPE, 10)
    rate = optax.piecewise_constant_schedule(0.01, {8: 0.1})
    ours, reference = (o.init(weights) for o in (usual, optax.adam(rate)))
    for _ in range(10):
        updates, ours = usual.update(slopes, ours)
        expected, reference = optax.adam(rate).update(slopes, reference)
        chex.assert_trees_all_equal(updates, expected)


def seen_memory(key, teacher, student, num_examples):
    shape = (num_examples, teacher["teacher_logits"].shape[1])
    assert student["teacher_logits"].shape[1] == CLASSES
    return {"rows": jnp.zeros(shape), "steps": jnp.zeros((), jnp.int32)}


def remembering_loss(student, batch):
    """Keeps what the teacher said of each example, and how often it was asked."""
    memory, places = batch["memory"], batch["indices"]
    memory = {
        "rows": memory["rows"].at[places].set(batch["teacher_logits"]),
        "steps": memory["steps"] + 1,
    }
    steps = batch["memory"]["steps"].astype(jnp.float32)
    full = jnp.any(batch["memory"]["rows"] != 0, axis=1)
    parts = {"steps": steps, "known": jnp.mean(full.astype(jnp.float32))}
    return jnp.mean(student.logits**2), parts, memory


def test_a_memory_passes_from_step_to_step_and_is_thrown_away(tmp_path):
    method = transfer.Method(
        teacher_outputs.logits, remembering_loss, memory=seen_memory
    )
    recipe = dataclasses.replace(RECIPE, num_epochs=2, batch_size=8)
    options = {"model": "vgg4", "method": method, "recipe": recipe}
    student = distilled(tmp_path / "first", "lwf", **options)
    rows = log(tmp_path / "first")
    assert [row["steps"] for row in rows] == [0, 1, 2, 3, 4, 5]
    # An epoch of three batches shows each of the 24 images once.
    np.testing.assert_allclose(
        [row["known"] for row in rows], [0, 1 / 3, 2 / 3, 1, 1, 1]
    )
    plain = networks.model(student.architecture, rngs=nnx.Rngs(0))
    expected = models.functional(plain)[1]
    chex.assert_trees_all_equal_shapes(student.variables, expected)
    # A run that was cut goes on with what it remembers.
    shutil.copytree(tmp_path / "first", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "6")
    again = distilled(tmp_path / "cut", "lwf", **options)
    chex.assert_trees_all_close(again.variables, student.variables, rtol=1e-6)
    assert [row["steps"] for row in log(tmp_path / "cut")][-1] == 5
    # With augmentation the places are those of the images all the same.
    padded = dataclasses.replace(recipe, padding=1)
    distilled(tmp_path / "padded", "lwf", **(options | {"recipe": padded}))
    assert log(tmp_path / "padded")[-1]["known"] == 1


def linear_extras(key, teacher, student):
    shapes = [out["teacher_logits"].shape[1] for out in (teacher, student)]
    return {"weights": jax.random.normal(key, shapes)}


def mapped_loss(student, batch):
    answers = student.logits @ batch["extras"]["weights"].T
    return jnp.mean((answers - batch["teacher_logits"]) ** 2), {}


def test_extras_are_trained_beside_a_student_that_may_start_anywhere(tmp_path):
    method = transfer.Method(teacher_outputs.logits, mapped_loss, extras=linear_extras)
    options = {"model": "fully_connected", "method": method}
    first = distilled(tmp_path / "first", "lwf", **options)
    losses = [row["loss"] for row in log(tmp_path / "first")]
    assert losses[-1] < 0.5 * losses[0]
    assert set(first.variables.params) == set(
        models.functional(networks.model(first.architecture, rngs=nnx.Rngs(0)))[
            1
        ].params
    )
    still = transfer.StudentRecipe(num_epochs=1, batch_size=8, learning_rate=0.0)
    second = distilled(
        tmp_path / "second", "lwf", recipe=still, start=first, test=None, **options
    )
    chex.assert_trees_all_equal(second.variables, first.variables)
    assert "source_accuracy" not in second.facts
    # The start, the optimiser and the padding tell runs apart.
    for changes, message in (
        ({"start": None}, "start = "),
        ({"recipe": dataclasses.replace(still, padding=1)}, "'padding': 0.* is .*1"),
        (
            {"recipe": dataclasses.replace(still, optimizer=transfer.Momentum())},
            "Adam.*now it is .*Momentum.*'weight_decay': 0.0005",
        ),
    ):
        changed = {"recipe": still, "start": first, **options, **changes}
        with pytest.raises(data.DataError, match=message):
            distilled(tmp_path / "second", "lwf", **changed)
    with pytest.raises(data.DataError, match="cannot be the start of this student"):
        distilled(tmp_path / "third", "lwf", start=first)


def test_with_padding_the_teacher_sees_what_the_student_sees(tmp_path):
    seen = {}

    def loss(student, batch):
        seen.update(x=student.x, logits=batch["teacher_logits"])
        return jnp.sum(student.logits), {}

    teacher, images = a_teacher(("a", "b", "c", "d")), colours(0, 8, ("r", "g", "b"))
    model = models.FullyConnected(
        num_features=SIDE * SIDE * 3, num_classes=3, rngs=nnx.Rngs(0)
    )
    objective = _student_steps.Augmented(
        transfer.student_objective(
            model,
            _student_steps.TaughtInside(
                loss, teacher_outputs.logits, teacher.architecture
            ),
            preprocess=training.preprocessing(teacher.statistics),
        ),
        padding=2,
    )
    batch = {"images": images.images, "labels": images.labels}
    key, constants = jax.random.key(3), {"teacher": teacher.variables}
    objective(*models.functional(model)[1], {**batch, **constants}, key)
    moved = data.augmented(jax.random.split(key)[0], images.images, padding=2)
    assert (np.asarray(moved) != images.images).any()
    x = data.normalized(moved, mean=teacher.statistics.mean, std=teacher.statistics.std)
    apply_fn, _ = networks.apply_fn_of(teacher.architecture)
    np.testing.assert_allclose(seen["x"], x, atol=1e-6)
    np.testing.assert_allclose(
        seen["logits"], apply_fn(teacher.variables, x)[0], atol=1e-5
    )
    augmented = dataclasses.replace(RECIPE, padding=1)
    distilled(
        tmp_path,
        "lwf",
        model="fully_connected",
        method=transfer.Method(teacher_outputs.logits, sum_of_logits),
        recipe=dataclasses.replace(augmented, num_epochs=1),
    )
    assert not (tmp_path / "teacher_outputs").exists()
    others = transfer.sinkhorn_method(
        [np.ones((4, 3))] * 2,
        teacher_weights=(1, 1),
        other_logits=[np.zeros((24, 4), np.float32)],
    )
    with pytest.raises(ValueError, match="train without padding"):
        distilled(tmp_path, "lwf", method=others, recipe=augmented)


def sum_of_logits(student, batch):
    return jnp.mean(
        (jnp.sum(student.logits) - jnp.sum(batch["teacher_logits"])) ** 2
    ), {}


def test_shared_maps_are_of_one_size_the_largest_and_deepest_first():
    teacher = networks.Architecture(model="resnet18", num_classes=10, base_width=1)
    student = networks.Architecture(model="vgg4", num_classes=5, base_width=1)
    result = transfer.shared_maps(teacher, student)
    assert [pair.size for pair in result] == [16, 8, 4]
    assert [pair.student_layer for pair in result] == [0, 1, 2]
    dense = networks.Architecture(model="fully_connected", num_classes=5)
    assert transfer.shared_maps(teacher, dense) == []
    same = transfer.shared_maps(teacher, teacher)
    assert same[0].teacher_layer == max(p.teacher_layer for p in same if p.size == 32)
