"""Costs of matching Jacobians: of one output, of all of them, with and without cache.

Run: `python benchmarks/distillation.py`, about 6 minutes on one core; `--width 8` for a
quick look. Every line is a ratio of times of one run: the steps that are compared take
turns, and the ratio is the median over the turns. A step is all of it: forward pass,
gradient, Adam. The teacher's part comes from the cache.

Of one output the step takes twice as long, 17 convolutions in place of 8 for a VGG-4,
where they have stride 1 and are padded, as all of a VGG and most of a ResNet. Otherwise
(LeNet is not padded) the derivative of the input gradient by the kernel misses the fast
path of the compiler on a CPU.
"""

import argparse
import functools
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jtransfer import data, distillation, models, networks, training, transfer
from jtransfer.transfer import teacher_outputs

NUM_CLASSES = 100
OPTIMIZER = optax.adam(1e-3)


def main() -> None:
    """Prints one line a ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args()
    one_output(args.width, args.batch_size, args.turns)
    all_outputs(args.width, args.batch_size // 2, args.turns // 2)
    cache(args.width, args.batch_size, args.turns // 2)


def one_output(width: int, batch_size: int, turns: int) -> None:
    """The step with the Jacobian of one output against the step without it."""
    batch = examples(batch_size, num_outputs=1)
    for name in ("vgg4", "vgg9", "resnet18", "lenet"):
        # A ResNet is several times dearer at the same width.
        thin = max(1, width // (4 if name == "resnet18" else 1))
        architecture = networks.Architecture(
            model=name, num_classes=NUM_CLASSES, base_width=thin
        )
        model = networks.model(architecture, rngs=nnx.Rngs(0))
        steps = {
            "without": step(
                model, transfer.activations_and_jacobians_method(jacobian_weight=0).loss
            ),
            "with": step(model, transfer.activations_and_jacobians_method().loss),
            "mapped": step(model, mapped_loss),
        }
        times = taking_turns(steps, model, batch, turns)
        print(
            f"{name} of width {thin}, {batch_size} images: a step without Jacobians "
            f"{statistics.median(times['without']):.3f} s, with those of one output "
            f"{ratio(times, 'with', 'without'):.2f} times as long; with the gradient "
            "of each example mapped over (jax.vmap), "
            f"{ratio(times, 'mapped', 'without'):.2f} times",
            flush=True,
        )


def all_outputs(width: int, batch_size: int, turns: int) -> None:
    """Time and memory of a step against the number of outputs that it matches."""
    architecture = networks.Architecture(
        model="vgg4", num_classes=NUM_CLASSES, base_width=max(1, width // 2)
    )
    model = networks.model(architecture, rngs=nnx.Rngs(0))
    chunked = transfer.activations_and_jacobians_method(chunk_size=5).loss
    whole = transfer.activations_and_jacobians_method(chunk_size=NUM_CLASSES).loss
    steps, batches = {}, {}
    for count in (5, 10, 20):
        for name, loss in (("in chunks of 5", chunked), ("at once", whole)):
            batches[count, name] = examples(batch_size, num_outputs=count)
            steps[count, name] = step(model, loss)
    compiled = {
        key: function.lower(state_of(model), batches[key], {}).compile()
        for key, function in steps.items()
    }
    times = taking_turns(compiled, model, batches, turns)
    for (count, name), function in compiled.items():
        memory = function.memory_analysis().temp_size_in_bytes / 2**20
        print(
            f"vgg4 of width {width // 2}, {batch_size} images, {count} outputs {name}: "
            f"{ratio(times, (count, name), (5, name)):.2f} times the time of 5, "
            f"{memory:.0f} MiB beside arguments and results",
            flush=True,
        )


def cache(width: int, batch_size: int, turns: int, num_images: int = 512) -> None:
    """An epoch with the teacher's outputs on disk, and one that computes them."""
    architecture = networks.Architecture(
        model="vgg9", num_classes=NUM_CLASSES, base_width=width
    )
    teacher_model = networks.model(architecture, rngs=nnx.Rngs(1))
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(num_images, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(num_images, dtype=np.int32) % NUM_CLASSES
    teacher = networks.Network(
        architecture,
        models.functional(teacher_model)[1],
        data.channel_statistics(images),
        tuple(map(str, range(NUM_CLASSES))),
        {},
    )
    student = models.VGG(
        depth=4, num_classes=NUM_CLASSES, base_width=width, rngs=nnx.Rngs(0)
    )
    preprocess = training.preprocessing(teacher.statistics)
    function = step(
        student, transfer.activations_and_jacobians_method().loss, preprocess
    )
    ask = teacher_outputs.compiled_outputs(teacher_outputs.label_jacobian, architecture)

    def epoch(teacher_arrays):
        state, total = state_of(student), 0.0
        for start in range(0, num_images, batch_size):
            rows = slice(start, start + batch_size)
            batch = {"images": images[rows], "labels": labels[rows]}
            if teacher_arrays is None:
                batch |= ask(teacher.variables, teacher.statistics, *batch.values())
            else:
                batch |= {name: array[rows] for name, array in teacher_arrays.items()}
            state, metrics = function(state, batch, {})
            total += float(metrics["loss"])
        return total

    with tempfile.TemporaryDirectory() as folder:
        begin = functools.partial(
            teacher_outputs.compute_teacher_outputs,
            teacher_outputs.label_jacobian,
            teacher,
            images,
            labels,
            folder=Path(folder),
            batch_size=batch_size,
            progress=False,
        )
        first, again = seconds(begin), seconds(begin)
        teacher_arrays = begin()
        epoch(teacher_arrays), epoch(None)
        pairs = [
            (seconds(epoch, None), seconds(epoch, teacher_arrays)) for _ in range(turns)
        ]
    without = statistics.median(pair[0] / pair[1] for pair in pairs)
    print(
        f"vgg9 teaches vgg4, width {width}: an epoch that asks the teacher takes "
        f"{without:.2f} times one with its outputs on disk; to write them took "
        f"{first:.1f} s with compilation, to find and check them again {again:.2f} s"
    )


def mapped_loss(student, batch):
    """The obvious way: `distillation.selected_output_gradient` under `jax.vmap`."""
    gradients = jax.vmap(
        lambda x, index: distillation.selected_output_gradient(
            lambda x: student.held(x[None])[0][0], x, index
        )
    )(student.x, batch["labels"])
    value = (
        distillation.cross_entropy(student.logits, batch["labels"])
        + distillation.match_activations(batch["teacher_logits"], student.logits)
        + distillation.match_jacobians(batch["teacher_jacobians"], gradients[:, None])
    )
    return value, {}


def examples(batch_size: int, *, num_outputs: int) -> dict:
    """A batch with what a teacher would say about it."""
    keys = jax.random.split(jax.random.key(0), 3)
    indices = jnp.arange(batch_size * num_outputs) % NUM_CLASSES
    shape = (batch_size, num_outputs, 32 * 32 * 3)
    return {
        "images": jax.random.normal(keys[0], (batch_size, 32, 32, 3)),
        "labels": jnp.arange(batch_size) % NUM_CLASSES,
        "teacher_logits": jax.random.normal(keys[1], (batch_size, NUM_CLASSES)),
        "teacher_indices": indices.reshape(batch_size, num_outputs),
        "teacher_jacobians": 0.01 * jax.random.normal(keys[2], shape),
    }


def step(model, loss, preprocess=None):
    """The jitted training step of a student."""
    objective = transfer.student_objective(model, loss, preprocess=preprocess)
    return jax.jit(
        functools.partial(training.updated, objective=objective, optimizer=OPTIMIZER)
    )


def state_of(model) -> training.TrainState:
    """The state of a student before its first step."""
    return training.initial_state(models.functional(model)[1], OPTIMIZER, seed=0)


def taking_turns(steps: dict, model, batches: dict, turns: int) -> dict:
    """Seconds of each step, turn by turn; a first one, which compiles, is left out."""
    state = state_of(model)
    times = {key: [] for key in steps}
    for _ in range(turns + 1):
        for key, function in steps.items():
            times[key].append(seconds(function, state, batches.get(key, batches), {}))
    return {key: result[1:] for key, result in times.items()}


def ratio(times: dict, key, reference) -> float:
    """The median over the turns of one time over another."""
    pairs = zip(times[key], times[reference], strict=True)
    return statistics.median(a / b for a, b in pairs)


def seconds(function, *args) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
