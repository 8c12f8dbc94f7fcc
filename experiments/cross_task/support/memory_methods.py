"""Methods of the paper's tables that keep a memory or train more than the student.

Each has the weights of its released code beside a cross-entropy of weight 1, where we
know them (AFD 200 with .9 of KD, WCoRD .8 and .05; SSKD .1, .9, 2.7 and 10), and else 1
(AML, SEED). MGD has 10: its released sum over 1e4 is about ten times our mean at the
last stage of its networks for ImageNet. KD of AFD, SSKD and SFTN has temperature 4 and
its square as a factor, as theirs. Queues and memories hold all training images.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.cross_task.support.heads import sskd_constants
from experiments.cross_task.support.outputs import (
    pre_activation_spread,
    teacher_embedding,
    teacher_maps,
    teacher_pre_activations,
    teacher_views,
)
from experiments.cross_task.support.settings import Config, Task
from experiments.cross_task.support.training import Way
from jtransfer import distillation, transfer
from jtransfer.networks import Network
from jtransfer.transfer import losses

NUM_STAGES = 3
NUM_NEGATIVES = 64
"""Of an example of WCoRD, for its time; CRD draws 16384."""
EPSILON, MAX_ITERATIONS = 0.1, 200
"""Of WCoRD's local term."""
SOFT = 4.0
"""Temperature of the soft targets beside a method."""


def afd_way(config: Config, network: Network, target: Task) -> Way:
    """AFD: attention over the student's maps, and soft targets."""
    del config, network, target
    method = transfer.Method(maps_and_logits, afd_loss, extras=attention)
    return Way("afd", method)


def maps_and_logits(f: Callable, x: jax.Array, labels: jax.Array) -> dict:
    """The teacher's last three feature maps and its logits."""
    return {**teacher_maps(f, x, labels), "teacher_logits": f(x)[0]}


def attention(key: jax.Array, teacher: dict, student: dict):
    """The untrained attention over the stages."""
    channels = [_channels(outputs) for outputs in (teacher, student)]
    return distillation.afd_attention(
        key, teacher_channels=channels[0], student_channels=channels[1]
    )


def afd_loss(student: transfer.Student, batch: dict):
    """Labels, attention and soft targets."""

    def afd():
        maps = _maps(batch), student.out["feature_maps"][-NUM_STAGES:]
        return distillation.afd_loss(batch["extras"], *maps)

    terms = {"afd": (200.0, afd), "soft_targets": (0.9, _soft_targets(student, batch))}
    return losses.weighted_loss(student, batch, 1.0, terms)


def seed_way(config: Config, network: Network, target: Task) -> Way:
    """SEED: similarities to a queue of the teacher's embeddings."""
    del config, network, target
    return Way(
        "seed",
        transfer.Method(teacher_embedding, seed_loss, extras=to_teacher, memory=queue),
    )


def to_teacher(key: jax.Array, teacher: dict, student: dict) -> jax.Array:
    """An untrained linear map from the student's embeddings to the teacher's."""
    widths = [out["teacher_embedding"].shape[1] for out in (student, teacher)]
    return jax.nn.initializers.lecun_normal()(key, widths)


def queue(key: jax.Array, teacher: dict, student: dict, num_examples: int) -> jax.Array:
    """A queue of random directions, one an image."""
    del student
    dim = teacher["teacher_embedding"].shape[1]
    return distillation.seed_queue(key, length=num_examples, dim=dim)


def seed_loss(student: transfer.Student, batch: dict):
    """Labels and similarities; the queue after the batch."""
    teacher = batch["teacher_embedding"]

    def seed():
        own = student.out["embedding"] @ batch["extras"]
        return distillation.seed_loss(teacher, own, batch["memory"])

    value = losses.weighted_loss(student, batch, 1.0, {"seed": (1.0, seed)})
    return *value, distillation.renewed_queue(batch["memory"], teacher)


def aml_way(config: Config, network: Network, target: Task) -> Way:
    """AML: similarities of the student's queries to the teacher's examples."""
    del config, network, target
    return Way("aml", transfer.Method(teacher_embedding, aml_loss, extras=to_teacher))


def aml_loss(student: transfer.Student, batch: dict):
    """Labels and the contrastive loss of asymmetric similarities."""

    def contrast():
        own = student.out["embedding"] @ batch["extras"]
        return distillation.aml_loss(
            batch["teacher_embedding"], own, batch["labels"], margin=0.5
        )

    return losses.weighted_loss(student, batch, 1.0, {"aml": (1.0, contrast)})


def wcord_way(config: Config, network: Network, target: Task) -> Way:
    """WCoRD: a critic of pairs and strangers, and transport within the batch."""
    del config, network, target
    method = transfer.Method(
        teacher_embedding, wcord_loss, extras=wcord_parameters, memory=wcord_memory
    )
    return Way(f"wcord-{NUM_NEGATIVES}", method)


def wcord_parameters(key: jax.Array, teacher: dict, student: dict):
    """The untrained heads and critic."""
    dims = [out["teacher_embedding"].shape[1] for out in (teacher, student)]
    return distillation.wcord_parameters(key, teacher_dim=dims[0], student_dim=dims[1])


def wcord_memory(key: jax.Array, teacher: dict, student: dict, num_examples: int):
    """Random directions, and the number of the next step, which draws by it."""
    del teacher, student
    memory = distillation.wcord_memory(key, num_examples=num_examples)
    return {"rows": memory, "step": jnp.zeros((), jnp.int32)}


def wcord_loss(student: transfer.Student, batch: dict):
    """Labels, critic and transport; the memory after the batch."""
    parameters, memory = batch["extras"], batch["memory"]
    rows, step = memory["rows"], memory["step"]
    pair = batch["teacher_embedding"], student.out["embedding"]
    negatives = distillation.drawn_negatives(
        jax.random.fold_in(jax.random.key(0), step),
        batch["indices"],
        num_examples=len(rows.teacher),
        num_negatives=NUM_NEGATIVES,
    )

    def critic():
        return distillation.wcord_global_loss(parameters, rows, *pair, negatives)

    def transport():
        return distillation.wcord_local_loss(
            parameters, *pair, epsilon=EPSILON, max_iterations=MAX_ITERATIONS
        )

    terms = {"critic": (0.8, critic), "transport": (0.05, transport)}
    value = losses.weighted_loss(student, batch, 1.0, terms)
    rows = distillation.renewed_memory(parameters, rows, *pair, batch["indices"])
    return *value, {"rows": rows, "step": step + 1}


def mgd_way(config: Config, network: Network, target: Task) -> Way:
    """MGD: the teacher's channels, assigned to the student's anew each epoch."""
    mean, std = pre_activation_spread(network, target.train.images)
    margins = tuple(map(distillation.margins, mean, std))
    num_steps = len(target.train.labels) // config.student_training.batch_size
    constants = {"margins": margins, "period": jnp.asarray(max(1, num_steps))}
    method = transfer.Method(
        teacher_pre_activations,
        mgd_loss,
        constants=constants,
        extras=norms,
        memory=matching,
    )
    return Way("mgd", method)


def norms(key: jax.Array, teacher: dict, student: dict):
    """Scales and shifts of the student's normalised maps."""
    del key, teacher
    return distillation.mgd_norms(student_channels=_channels(student))


def matching(key: jax.Array, teacher: dict, student: dict, num_examples: int):
    """The assignment by the maps of a few images."""
    del key, num_examples
    channels = [_channels(outputs) for outputs in (teacher, student)]
    state = distillation.matching_state(
        teacher_channels=channels[0], student_channels=channels[1]
    )
    costs = map(distillation.channel_costs, _maps(teacher), _maps(student))
    return distillation.renewed_matching(state, list(costs), period=1)


def mgd_loss(student: transfer.Student, batch: dict):
    """Labels and the assigned channels; costs and assignment after the batch."""
    maps = _maps(batch), student.out["pre_activations"][-NUM_STAGES:]

    def matched():
        return distillation.mgd_loss(
            batch["extras"], *maps, batch["memory"].assignments, batch["margins"]
        )

    value = losses.weighted_loss(student, batch, 1.0, {"mgd": (10.0, matched)})
    costs = list(map(distillation.channel_costs, *maps))
    return *value, distillation.renewed_matching(
        batch["memory"], costs, period=batch["period"]
    )


def sskd_way(config: Config, network: Network, target: Task) -> Way:
    """SSKD: the teacher's classes of rotated images, and their similarities."""
    constants = sskd_constants(config, network, target.train)
    method = transfer.Method(
        teacher_views, sskd_loss, constants=constants, extras=student_head
    )
    return Way("sskd", method)


def student_head(key: jax.Array, teacher: dict, student: dict):
    """The student's untrained head."""
    del teacher
    dim = student["teacher_view_embeddings"].shape[2]
    return distillation.projection_head(key, dim=dim)


def sskd_loss(student: transfer.Student, batch: dict):
    """Labels, soft targets on images and rotated images, and similarities.

    The rotated images are normalised by the statistics of the images as they are, where
    the released code normalises all together.
    """
    views = distillation.rotated_views(student.x)
    turned = views[:, 1:].reshape(-1, *views.shape[2:])
    logits, out = student.held(turned)
    own = {
        "logits": _with_first(student.logits, logits),
        "embeddings": _with_first(student.out["embedding"], out["embedding"]),
    }
    teacher = batch["teacher_view_logits"]

    def rotated():
        return distillation.match_rotated_predictions(
            teacher, own["logits"], batch["labels"]
        )

    def similarities():
        return distillation.match_similarities(
            distillation.projected(
                batch["teacher_head"], batch["teacher_view_embeddings"]
            ),
            distillation.projected(batch["extras"], own["embeddings"]),
        )

    known = {"teacher_logits": teacher[:, 0]}
    terms = {
        "soft_targets": (0.9, _soft_targets(student, known)),
        "rotated": (2.7 * SOFT**2, rotated),
        "similarities": (10 * 0.25, similarities),
    }
    return losses.weighted_loss(student, batch, 0.1, terms)


def _with_first(images, turned):
    turned = turned.reshape(len(images), -1, images.shape[1])
    return jnp.concatenate([images[:, None], turned], axis=1)


def _soft_targets(student, batch) -> Callable[[], jax.Array]:
    """Soft targets with the square of their temperature as a factor."""

    def soft_targets():
        return SOFT**2 * distillation.soft_targets(
            batch["teacher_logits"], student.logits, temperature=SOFT
        )

    return soft_targets


def _maps(outputs: dict) -> list:
    return [outputs[f"teacher_map_{i}"] for i in range(NUM_STAGES)]


def _channels(outputs: dict) -> list[int]:
    return [maps.shape[-1] for maps in _maps(outputs)]


WAYS = {
    "AFD": afd_way,
    "SEED": seed_way,
    "AML": aml_way,
    "WCoRD": wcord_way,
    "MGD": mgd_way,
    "SSKD": sskd_way,
}
