"""Tests of jtransfer.models.

Networks of published size are only traced (`eval_shape`), never compiled or allocated;
the others are tiny, and their weights are drawn in NumPy, which compiles nothing.
"""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jtransfer import models
from jtransfer.models import initializers, layers

PUBLISHED_COUNTS = [
    (models.ResNet, {"depth": 18, "num_classes": 10}, 11_173_962),
    (models.ResNet, {"depth": 34, "num_classes": 10}, 21_282_122),
    (models.ResNet, {"depth": 50, "num_classes": 10}, 23_520_842),
    (
        models.ResNet,
        {"depth": 18, "num_classes": 1000, "imagenet_stem": True},
        11_689_512,
    ),
    (
        models.ResNet,
        {"depth": 34, "num_classes": 1000, "imagenet_stem": True},
        21_797_672,
    ),
    (
        models.ResNet,
        {"depth": 50, "num_classes": 1000, "imagenet_stem": True},
        25_557_032,
    ),
    (models.WideResNet, {"depth": 40, "width": 2, "num_classes": 100}, 2_255_156),
    (models.WideResNet, {"depth": 16, "width": 2, "num_classes": 100}, 703_284),
    (models.WideResNet, {"depth": 40, "width": 1, "num_classes": 100}, 569_780),
    (models.WideResNet, {"depth": 28, "width": 10, "num_classes": 10}, 36_479_194),
    (models.MobileNet, {"num_classes": 10}, 3_217_226),
    (models.MobileNet, {"num_classes": 1000, "imagenet_stem": True}, 4_231_976),
    (models.MobileNet, {"width": 0.5, "num_classes": 1000}, 1_331_592),
    (models.MobileNet, {"width": 0.25, "num_classes": 1000}, 470_072),
    (models.LeNet, {"num_classes": 10}, 62_006),
]

# Constructor, its arguments, shapes of the feature maps at 32 pixels without the batch
# axis, and the length of the embedding.
INTERMEDIATES = {
    "lenet": (models.LeNet, {}, [(14, 14, 6), (5, 5, 16)], 84),
    "alexnet": (
        models.AlexNet,
        {},
        [(4, 4, 64), (2, 2, 192), (2, 2, 384), (2, 2, 256), (1, 1, 256)],
        256,
    ),
    "vgg4": (
        models.VGG,
        {"depth": 4},
        [(16, 16, 64), (8, 8, 128), (4, 4, 512)],
        512,
    ),
    "vgg9": (
        models.VGG,
        {"depth": 9},
        [(16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512), (1, 1, 512)],
        512,
    ),
    "resnet18": (
        models.ResNet,
        {"depth": 18},
        [(32, 32, 64), (16, 16, 128), (8, 8, 256), (4, 4, 512)],
        512,
    ),
    "resnet50_imagenet": (
        models.ResNet,
        {"depth": 50, "imagenet_stem": True},
        [(8, 8, 256), (4, 4, 512), (2, 2, 1024), (1, 1, 2048)],
        2048,
    ),
    "wrn_16_2": (
        models.WideResNet,
        {"depth": 16, "width": 2},
        [(32, 32, 32), (16, 16, 64), (8, 8, 128)],
        128,
    ),
    "mobilenet": (
        models.MobileNet,
        {"width": 0.5},
        [(32, 32, 32), (16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512)],
        512,
    ),
    "mobilenet_imagenet": (
        models.MobileNet,
        {"imagenet_stem": True},
        [(16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512), (1, 1, 1024)],
        1024,
    ),
}


def make_two_headed(*, num_classes, rngs, **vgg):
    body = models.VGG(depth=4, num_classes=num_classes, rngs=rngs, **vgg)
    return models.TwoHeaded(body, num_teacher_classes=5, rngs=rngs)


# Constructor, its arguments and the shape of one example.
TINY = {
    "one_hidden_layer": (
        models.OneHiddenLayer,
        {"num_features": 5, "width": 4},
        (5,),
    ),
    "fully_connected": (
        models.FullyConnected,
        {"num_features": 5, "base_width": 4},
        (5,),
    ),
    "lenet": (models.LeNet, {"base_width": 2, "image_size": 16}, (16, 16, 3)),
    "alexnet": (models.AlexNet, {"base_width": 2}, (32, 32, 3)),
    "vgg4": (models.VGG, {"depth": 4, "base_width": 2}, (9, 8, 3)),
    "resnet18": (
        models.ResNet,
        {"depth": 18, "base_width": 2, "num_channels": 1},
        (8, 8, 1),
    ),
    "resnet50": (models.ResNet, {"depth": 50, "base_width": 1}, (4, 4, 3)),
    "wrn_10_2": (
        models.WideResNet,
        {"depth": 10, "width": 2, "base_width": 2},
        (8, 8, 3),
    ),
    "mobilenet": (models.MobileNet, {"width": 1 / 8}, (8, 8, 3)),
    "two_headed": (make_two_headed, {"base_width": 2}, (8, 8, 3)),
}


# The deepest compiles slowly: only one test runs it.
SHALLOW = sorted(TINY.keys() - {"resnet50"})


def abstract(constructor, **arguments):
    """The network with shapes in place of arrays."""
    return nnx.eval_shape(lambda: constructor(rngs=nnx.Rngs(0), **arguments))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(tree):
    return [leaf.shape for leaf in tree]


GAINS = {"scale": (1, 1.5), "var": (0.5, 1)}


def draw(tree, seed):
    """Weights for a tree of shapes, with normalisations that do something."""
    rng = np.random.default_rng(seed)

    def leaf(path, spec):
        values = rng.normal(size=spec.shape)
        if path[-1].key == "kernel":
            values *= math.sqrt(2 / math.prod(spec.shape[:-1]))
        elif path[-1].key in ("scale", "var"):
            values = rng.uniform(*GAINS[path[-1].key], size=spec.shape)
        else:
            values *= 0.1
        return jnp.asarray(values.astype(spec.dtype))

    return jax.tree.map_with_path(leaf, tree)


@functools.cache
def tiny(name, seed=0, **more):
    """A small network as `(apply_fn, params, examples)` and its training function."""
    constructor, arguments, shape = TINY[name]
    model = abstract(constructor, num_classes=3, **arguments, **more)
    apply_fn, specs = models.functional(model)
    rng = np.random.default_rng(100 + seed)
    x = jnp.asarray(rng.normal(size=(4, *shape)).astype(np.float32))
    return apply_fn, draw(specs, seed), x, models.trainable(model)[0]


def every(cases):
    return pytest.mark.parametrize("name", cases)


@pytest.mark.parametrize(("constructor", "arguments", "published"), PUBLISHED_COUNTS)
def test_parameter_count_is_the_published_one(constructor, arguments, published):
    model = abstract(constructor, **arguments)
    assert count(nnx.state(model, nnx.Param)) == published
    assert count(models.functional(model)[1].params) == published


@pytest.mark.parametrize(
    ("depth", "pairs"),
    [
        (4, [(3, 64), (64, 128), (128, 512)]),
        (
            9,
            [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512)]
            + [(512, 512), (512, 512), (512, 512)],
        ),
    ],
)
def test_vgg_parameter_count_by_hand(depth, pairs):
    # A convolution without bias, scale and shift of the normalisation, the classifier.
    expected = sum(9 * a * b + 2 * b for a, b in pairs) + 512 * 100 + 100
    model = abstract(models.VGG, depth=depth, num_classes=100)
    assert count(nnx.state(model, nnx.Param)) == expected


def test_alexnet_parameter_count_by_hand():
    layout = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
    expected = sum(k * k * a * b + b for k, a, b in layout) + 256 * 10 + 10
    assert expected == 2_472_266
    model = abstract(models.AlexNet, num_classes=10)
    assert count(nnx.state(model, nnx.Param)) == expected


def test_vector_network_parameter_counts_by_hand():
    model = abstract(models.OneHiddenLayer, num_features=50, num_classes=10)
    assert count(nnx.state(model, nnx.Param)) == 50 * 100 + 100 + 100 * 10 + 10
    model = abstract(
        models.FullyConnected, num_features=3072, num_classes=10, num_hidden=3
    )
    hidden = 3072 * 512 + 512 + 2 * (512 * 512 + 512)
    assert count(nnx.state(model, nnx.Param)) == hidden + 512 * 10 + 10


@every(INTERMEDIATES)
def test_intermediates_have_the_documented_shapes_and_dtypes(name):
    constructor, arguments, maps, length = INTERMEDIATES[name]
    model = abstract(constructor, num_classes=7, dtype=jnp.bfloat16, **arguments)
    apply_fn, params = models.functional(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    batch = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    logits, out = jax.eval_shape(apply_fn, params, batch)
    assert (logits.shape, logits.dtype) == ((2, 7), jnp.float32)
    embedding = out["embedding"]
    assert (embedding.shape, embedding.dtype) == ((2, length), jnp.float32)
    assert params.params["classifier"]["kernel"].shape == (length, 7)
    assert shapes(out["feature_maps"]) == [(2, *shape) for shape in maps]
    assert shapes(out["pre_activations"]) == shapes(out["feature_maps"])
    for stage in (*out["feature_maps"], *out["pre_activations"]):
        assert stage.dtype == jnp.bfloat16


def test_block_maps_are_one_a_block():
    image = jax.ShapeDtypeStruct((32, 32, 3), jnp.float32)
    for constructor, arguments, num_blocks in [
        (models.ResNet, {"depth": 34}, 16),
        (models.WideResNet, {"depth": 40, "width": 2}, 18),
    ]:
        model = abstract(constructor, num_classes=2, **arguments)
        _, out = jax.eval_shape(*models.functional(model), image)
        assert len(out["block_maps"]) == num_blocks
        assert out["block_maps"][-1].shape == out["feature_maps"][-1].shape


def test_larger_images_need_no_other_network():
    image = jax.ShapeDtypeStruct((96, 96, 3), jnp.float32)
    model = abstract(models.AlexNet, num_classes=10)
    logits, out = jax.eval_shape(*models.functional(model), image)
    assert logits.shape == (10,)
    assert out["feature_maps"][-1].shape == (3, 3, 256)


@every(SHALLOW)
def test_one_example_equals_its_row_in_a_batch(name):
    apply_fn, params, x, _ = tiny(name)

    batch = jax.jit(apply_fn)(params, x)
    single = jax.jit(apply_fn)(params, x[1])
    row = jax.tree.map(lambda y: y[1], batch)
    chex.assert_tree_all_finite(batch)
    chex.assert_trees_all_close(single, row, rtol=1e-4, atol=1e-5)
    assert np.ptp(batch[0], axis=0).min() > 1e-3  # they depend on the example

    # The logits are linear in the embedding; maps are activations of their stage.
    logits, out = batch
    head = params.params.get("body", params.params)["classifier"]
    expected = out["embedding"] @ head["kernel"] + head["bias"][None]
    chex.assert_trees_all_close(logits, expected, rtol=1e-4, atol=1e-5)
    for before, after in zip(
        out.get("pre_activations", ()), out["feature_maps"], strict=True
    ):
        chex.assert_trees_all_close(jnp.maximum(before, 0), after, rtol=1e-6)


# The architectures again, written out from the papers as functions of the weights.


def conv(x, layer, stride=1, groups=1):
    kernel = layer["kernel"]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(size // 2, size // 2) for size in kernel.shape[:2]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def norm(x, params, stats):
    slope = params["scale"] / jnp.sqrt(stats["var"] + 1e-5)
    shift = params["bias"] - stats["mean"] * slope
    return x * slope[None, None, None] + shift[None, None, None]


def conv_norm(x, params, stats, *options):
    return norm(conv(x, params["conv"], *options), params["norm"], stats["norm"])


def head(x, params):
    layer = params["classifier"]
    return x.mean(axis=(1, 2)) @ layer["kernel"] + layer["bias"][None]


def reference_vgg4(p, s, x):
    for i in range(3):
        x = nnx.relu(conv_norm(x, p["stages"][i][0], s["stages"][i][0]))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
    return head(x, p)


def reference_resnet(p, s, x, counts, strided_unit):
    x = nnx.relu(conv_norm(x, p["stem"], s["stem"]))
    for i, count in enumerate(counts):
        for j in range(count):
            q, t = p["stages"][i][j], s["stages"][i][j]
            stride = 2 if i > 0 and j == 0 else 1
            y = x
            for unit in sorted(q.keys() - {"shortcut"}):
                y = y if unit == "unit1" else nnx.relu(y)
                step = stride if unit == strided_unit else 1
                y = conv_norm(y, q[unit], t[unit], step)
            if "shortcut" in q:
                x = conv_norm(x, q["shortcut"], t["shortcut"], stride)
            x = nnx.relu(x + y)
    return head(x, p)


def reference_resnet18(p, s, x):
    return reference_resnet(p, s, x, (2, 2, 2, 2), "unit1")


def reference_resnet50(p, s, x):
    return reference_resnet(p, s, x, (3, 4, 6, 3), "unit2")


def reference_wrn_10_2(p, s, x):
    x = conv(x, p["stem"])
    for i in range(3):
        q, t = p["blocks"][i], s["blocks"][i]
        stride = 1 if i == 0 else 2
        entry = nnx.relu(norm(x, q["norm1"], t["norm1"]))
        y = conv(entry, q["conv1"], stride)
        y = conv(nnx.relu(norm(y, q["norm2"], t["norm2"])), q["conv2"])
        x = y + conv(entry, q["shortcut"], stride)
    return head(nnx.relu(norm(x, p["norm"], s["norm"])), p)


def reference_mobilenet(p, s, x):
    x = nnx.relu(conv_norm(x, p["stem"], s["stem"]))
    for i, num_blocks in enumerate([1, 2, 2, 6, 2]):
        for j in range(num_blocks):
            q, t = p["stages"][i][j], s["stages"][i][j]
            step = (2 if i > 0 and j == 0 else 1, x.shape[-1])
            x = nnx.relu(conv_norm(x, q["depthwise"], t["depthwise"], *step))
            x = nnx.relu(conv_norm(x, q["pointwise"], t["pointwise"]))
    return head(x, p)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("vgg4", reference_vgg4),
        ("resnet18", reference_resnet18),
        ("resnet50", reference_resnet50),
        ("wrn_10_2", reference_wrn_10_2),
        ("mobilenet", reference_mobilenet),
    ],
)
def test_agrees_with_the_architecture_written_out(name, reference):
    apply_fn, params, x, _ = tiny(name)
    expected = jax.jit(reference)(*params, x)
    logits, _ = jax.jit(apply_fn)(params, x)
    chex.assert_trees_all_close(logits, expected, rtol=1e-4, atol=1e-5)


@every(["one_hidden_layer", "lenet", "vgg4", "wrn_10_2"])
def test_jacobians_agree_in_both_modes_under_vmap(name):
    apply_fn, params, x, _ = tiny(name)

    @jax.jit
    def derivatives(params, x, tangents):
        def f(example):
            return apply_fn(params, example)[0]

        def forward(example, tangent):
            return jax.jvp(f, (example,), (tangent,))[1]

        products = jax.vmap(forward)(x, tangents)
        return jax.vmap(f)(x), jax.vmap(jax.jacrev(f))(x), products

    tangents = x[::-1]
    logits, jacobians, products = derivatives(params, x, tangents)
    batch, _ = jax.jit(apply_fn)(params, x)
    chex.assert_trees_all_close(logits, batch, rtol=1e-4, atol=1e-5)
    assert jacobians.shape == (4, 3, *x.shape[1:])
    assert np.abs(jacobians).max() > 1e-3
    flat = jacobians.reshape(4, 3, -1)
    expected = np.einsum("nkp,np->nk", flat, tangents.reshape(4, -1))
    chex.assert_trees_all_close(products, expected, rtol=1e-3, atol=1e-4)


def test_maps_over_the_variables_of_several_seeds():
    apply_fn, first, x, _ = tiny("vgg4")
    second = tiny("vgg4", 1)[1]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second)
    logits = jax.jit(jax.vmap(lambda p: apply_fn(p, x)[0]))(both)
    expected = jnp.stack([jax.jit(apply_fn)(p, x)[0] for p in (first, second)])
    chex.assert_trees_all_close(logits, expected, rtol=1e-4, atol=1e-5)


@functools.cache
def initialised(seed):
    """A network with its own initial weights."""
    return models.VGG(depth=4, num_classes=3, base_width=2, rngs=nnx.Rngs(seed))


def test_another_seed_does_not_recompile():
    (apply_fn, first), (again, second) = (
        models.functional(initialised(seed)) for seed in (0, 1)
    )
    assert again is apply_fn
    chex.assert_trees_all_equal_shapes_and_dtypes(first, second)
    traced = jax.jit(chex.assert_max_traces(apply_fn, n=1))
    x = tiny("vgg4")[2]
    assert not np.allclose(traced(first, x)[0], traced(second, x)[0])
    trained, trained_again = (models.trainable(initialised(seed)) for seed in (0, 1))
    assert trained_again[0] is trained[0]


@every(["resnet18", "wrn_10_2", "mobilenet", "two_headed"])
def test_seeds_share_one_function_in_every_architecture(name):
    assert tiny(name, 0)[0] is tiny(name, 1)[0]
    constructor, arguments, _ = TINY[name]
    wider = abstract(constructor, num_classes=4, **arguments)
    assert models.functional(wider)[0] is not tiny(name)[0]


def test_evaluation_leaves_the_network_alone():
    model = nnx.clone(initialised(0))
    x = tiny("vgg4")[2]
    before = nnx.to_pure_dict(nnx.state(model))
    first = model(x)
    chex.assert_trees_all_equal(nnx.to_pure_dict(nnx.state(model)), before)
    # Whatever its mode, the pure function is the one of evaluation.
    model.train()
    apply_fn, params = models.functional(model)
    again = jax.jit(apply_fn)(params, x)
    chex.assert_trees_all_close(again, first, rtol=1e-5, atol=1e-6)
    assert not model.stages[0][0].norm.use_running_average
    chex.assert_trees_all_equal(nnx.to_pure_dict(nnx.state(model)), before)


def test_training_moves_the_statistics_a_tenth_towards_the_batch():
    apply_fn, (params, stats), x, train_fn = tiny("vgg4")
    copies = jax.tree.map(np.array, (params, stats))
    (logits, out), new_stats = jax.jit(train_fn)(params, stats, x, None)
    chex.assert_trees_all_equal((params, stats), copies)
    chex.assert_trees_all_equal_shapes_and_dtypes(stats, new_stats)

    first = jax.jit(conv)(x, params["stages"][0][0]["conv"])
    old, new = (tree["stages"][0][0]["norm"] for tree in (stats, new_stats))
    mean, variance = np.mean(first, axis=(0, 1, 2)), np.var(first, axis=(0, 1, 2))
    np.testing.assert_allclose(new["mean"], 0.9 * old["mean"] + 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * variance, rtol=1e-4)

    # The running statistics do not enter the outputs; they do in evaluation.
    moved = jax.tree.map(lambda stat: stat + 1, stats)
    again = jax.jit(train_fn)(params, moved, x, None)[0]
    chex.assert_trees_all_equal(again, (logits, out))
    evaluated = jax.jit(apply_fn)(models.Variables(params, stats), x)[0]
    assert not np.allclose(evaluated, logits)


def test_training_differentiates():
    _, (params, stats), x, train_fn = tiny("two_headed")

    @jax.jit
    @jax.grad
    def gradients(params):
        (logits, out), _ = train_fn(params, stats, x, None)
        return (logits**2).mean() + (out["teacher_logits"] ** 2).mean()

    largest = jax.tree.map(lambda g: np.abs(g).max(), gradients(params))
    assert min(jax.tree.leaves(largest)) > 0
    chex.assert_tree_all_finite(largest)


def test_a_sharded_batch_trains_as_one():
    _, variables, x, train_fn = tiny("vgg4")
    step = jax.jit(train_fn)
    devices = jax.devices()[:4]
    mesh = jax.make_mesh(
        (len(devices),), ("batch",), axis_types=(AxisType.Auto,), devices=devices
    )
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
    chex.assert_trees_all_close(
        step(*variables, sharded, None), step(*variables, x, None), rtol=1e-4, atol=1e-5
    )


@every(SHALLOW)
def test_training_keeps_shapes(name):
    apply_fn, (params, stats), x, train_fn = tiny(name)
    outputs, new_stats = jax.eval_shape(train_fn, params, stats, x, None)
    chex.assert_trees_all_equal_shapes_and_dtypes(new_stats, stats)
    expected = jax.eval_shape(apply_fn, models.Variables(params, stats), x)
    chex.assert_trees_all_equal_shapes_and_dtypes(outputs, expected)


def test_dropout_is_active_in_training_only():
    plain_fn, variables, x, plain_train_fn = tiny("vgg4")
    apply_fn, _, _, train_fn = tiny("vgg4", dropout_rate=0.25)
    chex.assert_trees_all_equal(
        jax.jit(apply_fn)(variables, x), jax.jit(plain_fn)(variables, x)
    )
    step = jax.jit(train_fn)
    keys = jax.random.split(jax.random.key(0), 2)
    (one, out), _ = step(*variables, x, keys[0])
    (two, _), _ = step(*variables, x, keys[1])
    (same, _), _ = step(*variables, x, keys[0])
    chex.assert_trees_all_equal(one, same)
    assert not np.allclose(one, two)
    (_, full), _ = jax.jit(plain_train_fn)(*variables, x, None)
    kept = np.asarray(out["embedding"]) != 0
    assert 0.4 < kept.mean() < 0.95
    expected = np.where(kept, full["embedding"] / 0.75, 0)
    np.testing.assert_allclose(out["embedding"], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="key must be given"):
        jax.eval_shape(train_fn, *variables, x, None)


def test_bfloat16_is_close_to_float32():
    apply_fn, params, x, _ = tiny("vgg4")
    half_fn, _, _, half_train_fn = tiny("vgg4", dtype=jnp.bfloat16)
    half, _ = jax.jit(half_fn)(params, x)
    full, _ = jax.jit(apply_fn)(params, x)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, full, atol=0.05 * np.abs(full).max())
    assert not np.array_equal(half, full)
    _, stats = jax.eval_shape(half_train_fn, *params, x, None)
    assert {leaf.dtype for leaf in jax.tree.leaves(stats)} == {jnp.dtype("float32")}


@pytest.mark.filterwarnings("error")
def test_float64_input_computes_in_float64_and_keeps_statistics():
    apply_fn, params, x, train_fn = tiny("wrn_10_2")
    with jax.enable_x64(True):
        double = jax.ShapeDtypeStruct(x.shape, jnp.float64)
        logits, out = jax.eval_shape(apply_fn, params, double)
        assert logits.dtype == out["feature_maps"][0].dtype == jnp.float64
        (logits, _), stats = jax.eval_shape(train_fn, *params, double, None)
        assert logits.dtype == jnp.float64
        chex.assert_trees_all_equal_shapes_and_dtypes(stats, params.stats)


def test_two_heads_share_the_embedding():
    apply_fn, params, x, _ = tiny("two_headed")
    logits, out = jax.jit(apply_fn)(params, x)
    layer = params.params["teacher_classifier"]
    expected = out["embedding"] @ layer["kernel"] + layer["bias"][None]
    assert (logits.shape, expected.shape) == ((4, 3), (4, 5))
    chex.assert_trees_all_close(out["teacher_logits"], expected, rtol=1e-5, atol=1e-6)


def test_functional_takes_foreign_modules_with_random_state():
    class Foreign(nnx.Module):
        def __init__(self, *, rngs):
            self.linear = nnx.Linear(3, 2, kernel_init=initializers.LECUN, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dropout(self.linear(x))

    model = Foreign(rngs=nnx.Rngs(0))
    apply_fn, params = models.functional(model)
    chex.assert_trees_all_close(
        apply_fn(params, jnp.ones(3)), model.linear(jnp.ones(3))
    )
    with pytest.raises(ValueError, match="model must hold"):
        models.trainable(model)


@given(
    st.integers(0, 2**16),
    st.sampled_from([(2, 8, 7, 3), (1, 5, 6, 2)]),
    st.sampled_from([(2, 2, 0), (3, 2, 1)]),
)
def test_max_pool_agrees_with_flax_in_value_and_gradient(seed, shape, options):
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    value, gradient, expected, expected_gradient = pooled_both_ways(x, *options)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def pooled_both_ways(x, window, stride, padding):
    def ours(x):
        return layers.max_pool(x, window=window, stride=stride, padding=padding)

    def flax(x):
        padded = ((padding, padding), (padding, padding))
        return nnx.max_pool(x, (window,) * 2, (stride,) * 2, padded)

    def value_and_gradient(pool):
        value, pullback = jax.vjp(pool, x)
        return value, pullback(jnp.cos(value))[0]

    return *value_and_gradient(ours), *value_and_gradient(flax)


def test_max_pool_shares_the_gradient_of_equal_maxima():
    gradient = jax.grad(lambda x: layers.max_pool(x).sum())(jnp.ones((2, 2, 1)))
    np.testing.assert_array_equal(gradient, np.full((2, 2, 1), 0.25))


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (initializers.HE_FAN_OUT, 2 / (9 * 24)),
        (initializers.HE_FAN_IN, 2 / (9 * 40)),
        (initializers.LECUN, 1 / (9 * 40)),
    ],
)
def test_initial_variance(initializer, variance):
    kernel = initializer(jax.random.key(0), (3, 3, 40, 24))
    assert kernel.shape == (3, 3, 40, 24)
    np.testing.assert_allclose(np.var(kernel), variance, rtol=0.05)
    assert abs(np.mean(kernel)) < 4 * math.sqrt(variance / kernel.size)
    other = initializer(jax.random.key(1), (3, 3, 40, 24))
    assert abs(np.corrcoef(kernel.ravel(), other.ravel())[0, 1]) < 0.05


def test_networks_start_as_documented():
    params, stats = models.functional(initialised(0))[1]
    unit, unit_stats = params["stages"][1][0], stats["stages"][1][0]
    for leaf, value in [
        (unit["norm"]["scale"], 1),
        (unit["norm"]["bias"], 0),
        (unit_stats["norm"]["mean"], 0),
        (unit_stats["norm"]["var"], 1),
        (params["classifier"]["bias"], 0),
    ]:
        np.testing.assert_array_equal(leaf, np.full_like(leaf, value))
    # Every layer has a key of its own.
    kernels = [params["stages"][i][0]["conv"]["kernel"].ravel()[:54] for i in range(3)]
    correlations = np.corrcoef(kernels)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.6


@pytest.mark.parametrize(
    ("constructor", "arguments", "name"),
    [
        (models.ResNet, {"depth": 20}, "depth"),
        (models.VGG, {"depth": 16}, "depth"),
        (models.WideResNet, {"depth": 18, "width": 1}, "depth"),
        (models.WideResNet, {"depth": 4, "width": 1}, "depth"),
        (models.WideResNet, {"depth": 10, "width": 0.5}, "width"),
        (models.MobileNet, {"width": 0}, "width"),
        (models.VGG, {"depth": 4, "dropout_rate": 1.0}, "dropout_rate"),
        (models.VGG, {"depth": 4, "base_width": 0}, "base_width"),
        (models.ResNet, {"depth": 18, "num_channels": 0}, "num_channels"),
        (models.AlexNet, {"num_classes": 0}, "num_classes"),
        (models.LeNet, {"image_size": 15}, "image_size"),
        (models.FullyConnected, {"num_features": 3, "num_hidden": 0}, "num_hidden"),
        (models.OneHiddenLayer, {"num_features": 0}, "num_features"),
        (models.OneHiddenLayer, {"num_features": 3, "width": -1}, "width"),
    ],
)
def test_rejects_arguments(constructor, arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must be "):
        constructor(rngs=nnx.Rngs(0), **{"num_classes": 2, **arguments})


def test_rejects_an_empty_second_head():
    body = abstract(models.OneHiddenLayer, num_features=3, num_classes=2)
    with pytest.raises(ValueError, match="^num_teacher_classes must be"):
        models.TwoHeaded(body, num_teacher_classes=0, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "error"),
    [
        ("vgg4", (2, 8, 8, 1), jnp.float32, ValueError),
        ("vgg4", (8, 8), jnp.float32, ValueError),
        ("vgg4", (1, 2, 8, 8, 3), jnp.float32, ValueError),
        ("vgg4", (2, 8, 7, 3), jnp.float32, ValueError),
        ("vgg4", (2, 8, 8, 3), jnp.uint8, TypeError),
        ("resnet18", (2, 8, 8, 3), jnp.float32, ValueError),
        ("alexnet", (28, 32, 3), jnp.float32, ValueError),
        ("lenet", (32, 32, 3), jnp.float32, ValueError),
        ("fully_connected", (2, 8, 8, 3), jnp.float32, ValueError),
        ("one_hidden_layer", (2, 6), jnp.float32, ValueError),
        ("two_headed", (2, 8, 8, 1), jnp.float32, ValueError),
    ],
)
def test_rejects_inputs(name, shape, dtype, error):
    apply_fn, params, _, _ = tiny(name)
    with pytest.raises(error, match="^x must "):
        jax.eval_shape(apply_fn, params, jax.ShapeDtypeStruct(shape, dtype))


def test_max_pool_rejects_inputs():
    with pytest.raises(ValueError, match="^x must have axes"):
        layers.max_pool(jnp.ones((4, 4)))
    with pytest.raises(ValueError, match="^x must be 3 x 3"):
        layers.max_pool(jnp.ones((4, 2, 1)), window=3)
