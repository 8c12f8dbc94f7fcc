"""Tests of distillation by optimal transport: its objective, and the whole command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial
import scipy.special
from flax import nnx
from transport import references

from jtransfer import (
    data,
    distillation,
    models,
    networks,
    ranking,
    report,
    transfer,
    zoo,
)
from jtransfer.commands.distill import sinkhorn_command, transported_targets_command
from jtransfer.commands.lesson import StudentOptions
from jtransfer.commands.options import RecipeOptions
from jtransfer.commands.select import select_command
from jtransfer.ranking import score_table, selection
from jtransfer.ranking.chosen import LEAST_GAP, SELECTION_FILE, ChosenTeacher

pytestmark = pytest.mark.timeout(240)
OWN = ("red", "green", "blue")
SIZES = {"first": 4, "second": 2, "third": 4}
"""Networks of the zoo and their numbers of classes."""


def teacher(num_classes, seed):
    architecture = networks.Architecture(
        model="vgg4", num_classes=num_classes, image_size=8, base_width=2
    )
    network = networks.model(architecture, rngs=nnx.Rngs(seed))
    statistics = data.ChannelStatistics(*np.array([[0.4] * 3, [0.3] * 3], np.float32))
    names = tuple(f"class {i}" for i in range(num_classes))
    variables = models.functional(network)[1]
    return networks.Network(architecture, variables, statistics, names, {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images whose colour is their class, and networks that know other things."""
    folder = tmp_path_factory.mktemp("selection")
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    images = rng.integers(0, 100, size=(60, 8, 8, 3))
    images[np.arange(60), :, :, labels] += 120
    images = images.astype(np.uint8)
    fitting = {"images": images[:48], "labels": labels[:48], "class_names": OWN}
    np.savez(folder / "untested.npz", **fitting)
    np.savez(
        folder / "colours.npz",
        **fitting,
        test_images=images[48:],
        test_labels=labels[48:],
    )
    for seed, (name, num_classes) in enumerate(SIZES.items()):
        networks.write_network(folder / "zoo" / name, teacher(num_classes, seed))
    return folder


def images_of(folder):
    with np.load(folder / "colours.npz") as stored:
        return data.Images(stored["images"], stored["labels"], OWN)


def test_class_cost_agrees_with_definition(folder):
    network, train = teacher(4, 0), images_of(folder)
    train = data.Images(train.images, train.labels, (*OWN, "never seen"))
    result = [features for features, _ in networks.outputs(network, train.images)]
    features = np.concatenate(result).astype(np.float64)
    means = np.stack([features[train.labels == c].mean(axis=0) for c in range(3)])
    kernel = np.asarray(network.variables.params["classifier"]["kernel"], np.float64)
    centers = [c - c.mean(axis=0) for c in (kernel.T, means)]
    unit = [c / np.linalg.norm(c, axis=1, keepdims=True) for c in centers]
    cost = scipy.spatial.distance.cdist(*unit)
    neutral = np.full((len(cost), 1), cost.mean())
    np.testing.assert_allclose(
        transfer.class_cost(network, train), np.hstack([cost, neutral]), atol=1e-4
    )


def test_the_loss_is_the_sum_of_its_parts():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8, 6)).astype(np.float32)
    labels = np.arange(8, dtype=np.int32) % 6
    all_logits = [2 * rng.normal(size=(8, 4)).astype(np.float32) for _ in range(2)]
    costs = [rng.uniform(size=(4, 6)).astype(np.float32) for _ in range(2)]
    method = transfer.sinkhorn_method(
        costs,
        teacher_weights=(0.7, 0.3),
        other_logits=all_logits[1:],
        label_weight=0.5,
        transport_weight=4.0,
    )
    batch = {"labels": labels, "teacher_logits": all_logits[0]}
    student = transfer.Student(jnp.asarray(logits), {}, None, None)
    value, parts = jax.jit(method.loss)(
        student, {**batch, **method.arrays, **method.constants}
    )
    own = scipy.special.softmax(logits / 3, axis=1)
    distances = [
        references(scipy.special.softmax(t / 3, axis=1), own, cost)[0].mean()
        for t, cost in zip(all_logits, costs, strict=True)
    ]
    transport = 0.7 * distances[0] + 0.3 * distances[1]
    entropy = -scipy.special.log_softmax(logits, axis=1)[np.arange(8), labels].mean()
    np.testing.assert_allclose(parts["sinkhorn"], transport, atol=1e-4)
    np.testing.assert_allclose(value, 0.5 * entropy + 4 * transport, atol=1e-3)
    assert parts["converged"] == 1
    same = transfer.sinkhorn_method(costs[:1], label_weight=0.5, transport_weight=4.0)
    assert same.loss == method.loss
    alone = transfer.sinkhorn_method(costs[:1], transport_weight=0.0)
    value, parts = alone.loss(student, {**batch, **alone.constants})
    assert parts.keys() == {"cross_entropy", "accuracy"}
    np.testing.assert_allclose(value, entropy, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"transport_weight": -1.0},
        {"label_weight": 0.0, "transport_weight": 0.0},
        {"teacher_weights": (0.5, 0.5)},
        {"teacher_weights": (-1.0,)},
        {"epsilon": 0.0},
        {"other_logits": [np.zeros((8, 4))]},
    ],
)
def test_rejects(arguments):
    with pytest.raises(ValueError, match="weight|negative|positive"):
        transfer.sinkhorn_method([np.ones((4, 6))], **arguments)


def test_distill_by_transport(folder, monkeypatch):
    """The run itself is that of the test below."""
    monkeypatch.chdir(folder)
    runs = []

    def recorded(*networks, method, facts, **settings):
        runs.append((networks[0], method))
        return networks[0]._replace(facts={"source_accuracy": 0.5})

    monkeypatch.setattr(transfer, "distil_student", recorded)
    run = StudentOptions(
        teacher=folder / "zoo" / "first",
        student="vgg4",
        data="npz:colours.npz",
        out=folder / "one",
        recipe=RecipeOptions(width=2, epochs=2, batch_size=16),
    )
    assert sinkhorn_command(run=run, epsilon=0.2, max_iterations=20) == 0
    ((network, method),) = runs
    cost = transfer.class_cost(network, images_of(folder))
    expected = transfer.sinkhorn_method([cost], epsilon=0.2, max_iterations=20)
    assert method.loss == expected.loss
    np.testing.assert_array_equal(method.constants["costs"][0], cost)
    with pytest.raises(zoo.RequestError, match="--temperature must be positive"):
        sinkhorn_command(run=run, temperature=0.0)


def test_select_assesses_chooses_distils_and_goes_on(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(score_table, "ALWAYS", ())  # for speed
    arguments = {
        "zoo": "zoo",
        "target": "npz:colours.npz",
        "student": "vgg4",
        "recipe": RecipeOptions(width=2, epochs=2, batch_size=16),
        "out": folder / "chosen",
        "score": "sinkhorn",
    }
    assert select_command(**arguments, num_teachers=2) == 0
    output = capsys.readouterr()
    assert "found finished" not in output.err
    chosen = json.loads((folder / "chosen" / SELECTION_FILE).read_text())
    rows = map(json.loads, (folder / "chosen/ranking.jsonl").read_text().splitlines())
    scores = {r["source"]: r["value"] for r in rows if r.get("score") == "sinkhorn"}
    assert scores.keys() == SIZES.keys()
    best = sorted(scores, key=lambda name: -scores[name])[:2]
    assert [result["name"] for result in chosen["teachers"]] == best
    weights = [result["weight"] for result in chosen["teachers"]]
    ratio = np.exp((scores[best[0]] - scores[best[1]]) / 0.1)
    np.testing.assert_allclose(weights[0] / weights[1], ratio, rtol=1e-6)
    np.testing.assert_allclose(sum(weights), 1, rtol=1e-6)
    assert all(0 < result["largest_cost"] <= 2 for result in chosen["teachers"])
    assert all(0 < result["own_mass"] <= 1 for result in chosen["teachers"])
    shaky = [r["name"] for r in chosen["teachers"] if r["gap"] < LEAST_GAP]
    lines = report.read_selection(folder / "chosen").warnings()
    assert [line.partition(":")[0] for line in lines] == shaky
    for line in lines:
        assert f"Warning: {line}" in output.err
    student = networks.read_network(folder / "chosen" / "student")
    assert student.class_names == OWN
    assert student.facts["source_accuracy"] == chosen["accuracy"]
    assert student.facts["teacher"] == ", ".join(best)
    logged = (folder / "chosen/student/log.jsonl").read_text().splitlines()
    assert {"sinkhorn", "converged", "cross_entropy"} <= set(json.loads(logged[-1]))
    page = (folder / "chosen/report.html").read_text()
    assert "Which class stands for which" in page
    assert "that these teachers have taught" in page
    assert all(f'<th scope="row">{name}</th>' in page for name in best)
    # A row that lights up lights up with its source: these are not in that order.
    table = page.partition("The student</h2>")[2].partition("</table>")[0]
    assert best[0] in table
    assert "data-s" not in table
    for line in lines:
        assert line in page
    # Again: nothing is computed twice, and the result is the same.
    assert select_command(**arguments, num_teachers=2) == 0
    output = capsys.readouterr()
    assert output.err.count("found finished") == len(SIZES)
    assert json.loads((folder / "chosen" / SELECTION_FILE).read_text()) == chosen
    # The first of them alone is another student.
    with pytest.raises(data.DataError, match="another folder"):
        select_command(**arguments)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_teachers": 0}, "--num-teachers must be positive"),
        ({"recipe": RecipeOptions(epochs=-1)}, "--epochs must be positive"),
        ({"recipe": RecipeOptions(batch_size=0)}, "--batch-size must be positive"),
        (
            {"transport_weight": -1.0},
            "--label-weight and --transport-weight must not be negative",
        ),
        ({"label_weight": 0.0, "transport_weight": 0.0}, "not all zero"),
        ({"label_weight": float("nan")}, "--label-weight and --transport-weight"),
        ({"seed": -1}, "--seed"),
        ({"score": "logmee"}, "logme"),
        ({"score": "alpha1"}, "alpha1 compares with another"),
        ({"zoo": "nowhere"}, "No source"),
        ({"target": "npz:untested.npz"}, "no test images"),
        ({"student": "vgg5"}, "no model 'vgg5'"),
    ],
)
def test_select_rejects(folder, monkeypatch, changes, words):
    monkeypatch.chdir(folder)
    arguments = {
        "zoo": "zoo",
        "target": "npz:colours.npz",
        "student": "vgg4",
        "out": folder / "rejected",
    }
    with pytest.raises((zoo.RequestError, data.DataError), match=words):
        select_command(**(arguments | changes))


def test_another_score_decides_and_its_teachers_weigh_alike():
    values = {"a": (-1.0, 0.2), "b": (-2.0, 0.9), "c": (-3.0, 0.5)}
    rows = [
        ranking.Scored(source=name, score=score, value=value)
        for name, by_score in values.items()
        for score, value in zip(("sinkhorn", "logme"), by_score, strict=True)
    ]
    sources = [zoo.Source(name, {}, network=lambda: None) for name in "abc"]
    teachers = selection.selected_teachers(rows, sources, score="logme", num_teachers=2)
    assert [(t.name, t.score, t.weight) for t in teachers] == [
        ("b", 0.9, 0.5),
        ("c", 0.5, 0.5),
    ]


def test_a_cost_that_tells_nothing_apart_is_a_warning():
    teacher = ChosenTeacher("a", 1.0, 1.0, 2.0, gap=3.9, own_mass=0.2)
    assert teacher.warning().startswith("a: another class costs 3.9 epsilon more")
    assert teacher._replace(gap=4.0).warning() is None
    # One class of the student: no other costs more.
    assert teacher._replace(gap=float("nan")).warning() is None


def test_sources_without_networks_teach_nothing():
    rows = [ranking.Scored(source="file", score="sinkhorn", value=1.0)]
    sources = [zoo.Source("file", {}, features=lambda: np.ones((3, 2)))]
    with pytest.raises(zoo.RequestError, match="No network"):
        selection.selected_teachers(rows, sources)


def test_transported_targets_agree_with_definition():
    rng = np.random.default_rng(3)
    teacher, student = (2 * rng.normal(size=(8, n)).astype(np.float32) for n in (4, 6))
    cost = rng.uniform(size=(4, 6)).astype(np.float32)
    kernel = np.exp(-cost.astype(np.float64) / 0.2)
    targets = scipy.special.softmax(teacher / 3.0, axis=1) @ (
        kernel / kernel.sum(axis=1, keepdims=True)
    )
    own = scipy.special.softmax(student.astype(np.float64) / 3, axis=1)
    expected = np.sum(scipy.special.rel_entr(targets, own), axis=1).mean()
    settings = {"temperature": 3.0, "epsilon": 0.2}
    loss = distillation.transported_targets(teacher, student, cost, **settings)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    slope = jax.grad(
        lambda s: distillation.transported_targets(teacher, s, cost, **settings)
    )(student)
    np.testing.assert_allclose(slope, (own - targets) / 3 / 8, atol=1e-6)
    huge = distillation.transported_targets(1e30 * teacher, student, cost, **settings)
    assert np.isfinite(huge)
    method = transfer.transported_targets_method(
        cost, label_weight=0.5, targets_weight=4.0, epsilon=0.2
    )
    labels = np.arange(8, dtype=np.int32) % 6
    batch = {"labels": labels, "teacher_logits": teacher, **method.constants}
    value, parts = method.loss(
        transfer.Student(jnp.asarray(student), {}, None, None), batch
    )
    np.testing.assert_allclose(parts["transported_targets"], expected, rtol=1e-4)
    np.testing.assert_allclose(
        value, 0.5 * parts["cross_entropy"] + 4 * expected, rtol=1e-4
    )
    for wrong in ({"epsilon": 0.0}, {"targets_weight": -1.0}):
        with pytest.raises(ValueError, match="positive|negative"):
            transfer.transported_targets_method(cost, **wrong)
    for wrong in (np.where(cost == cost.max(), np.nan, cost), cost[0]):
        with pytest.raises(ValueError, match="A cost must be finite, with a row"):
            transfer.transported_targets_method(wrong)
        with pytest.raises(ValueError, match="A cost must be finite, with a row"):
            transfer.sinkhorn_method([wrong])
    with pytest.raises(ValueError, match="student_logits must be"):
        distillation.transported_targets(teacher, teacher, cost, **settings)


def test_distill_by_transported_targets(folder, monkeypatch):
    monkeypatch.chdir(folder)
    run = StudentOptions(
        teacher=folder / "zoo" / "first",
        student="vgg4",
        data="npz:colours.npz",
        out=folder / "carried",
        recipe=RecipeOptions(width=2, epochs=2, batch_size=16),
    )
    assert transported_targets_command(run=run, targets_weight=3.0) == 0
    student = networks.read_network(folder / "carried")
    assert student.facts["method"] == "transported-targets"
    logged = (folder / "carried/log.jsonl").read_text().splitlines()
    assert {"transported_targets", "cross_entropy"} <= set(json.loads(logged[-1]))
    with pytest.raises(zoo.RequestError, match="--epsilon must be positive"):
        transported_targets_command(run=run, epsilon=0.0)
