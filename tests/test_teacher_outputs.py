"""Tests of jtransfer.transfer.teacher_outputs and of the rows on disk under it."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jtransfer import data, distillation, models, networks
from jtransfer.transfer import _stored_rows, teacher_outputs

NUM_ROWS, NUM_CLASSES = 10, 3


@pytest.fixture(scope="module")
def teacher():
    """A network whose statistics are not those of its start."""
    architecture = networks.Architecture(
        model="vgg4", num_classes=NUM_CLASSES, image_size=8, base_width=2
    )
    model = networks.model(architecture, rngs=nnx.Rngs(0))
    params, stats = models.functional(model)[1]
    stats = jax.tree.map(lambda stat: stat + 0.3, stats)
    variables = models.Variables(params, stats)
    statistics = data.ChannelStatistics(*np.array([[0.4] * 3, [0.2] * 3], np.float32))
    names = tuple("abc")
    return networks.Network(architecture, variables, statistics, names, {})


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(NUM_ROWS, 8, 8, 3)).astype(np.uint8)


LABELS = np.arange(NUM_ROWS, dtype=np.int32) % NUM_CLASSES
ASKED = {
    "label": teacher_outputs.label_jacobian,
    "largest": functools.partial(teacher_outputs.largest_jacobian, num_outputs=2),
    "full": functools.partial(teacher_outputs.full_jacobian, chunk_size=2),
    "peak": functools.partial(teacher_outputs.attention_peak, layer=0, window=2),
}


@pytest.fixture(scope="module")
def expected(teacher, images):
    """Logits, Jacobians by the normalised images, and attention, one image a time."""
    apply_fn, _ = models.functional(
        networks.model(teacher.architecture, rngs=nnx.Rngs(1))
    )
    x = (images / np.float32(255) - np.float32(0.4)) / np.float32(0.2)

    @jax.jit
    @jax.vmap
    def of_one(x):
        f = lambda x: apply_fn(teacher.variables, x)  # noqa: E731
        features = lambda x: f(x)[1]["feature_maps"][0]  # noqa: E731
        gradient, place = distillation.attention_peak_gradient(features, x, window=2)
        attention = distillation.attention_map(features(x))
        rows = jax.jacrev(lambda x: f(x)[0])(x).reshape(NUM_CLASSES, -1)
        return f(x)[0], rows, attention, gradient, place

    return [np.asarray(part) for part in of_one(jnp.asarray(x))]


@pytest.mark.parametrize("name", ASKED)
def test_what_is_on_disk_is_what_the_teacher_says(
    name, teacher, images, expected, tmp_path
):
    arguments = (ASKED[name], teacher, images, LABELS)
    options = {"folder": tmp_path, "batch_size": 4, "progress": False}
    first = teacher_outputs.compute_teacher_outputs(*arguments, **options)
    logits, rows, attention, gradient, place = expected
    order = np.argsort(-logits, axis=1).astype(np.int32)
    every = np.tile(np.arange(NUM_CLASSES, dtype=np.int32), (NUM_ROWS, 1))
    indices = {"label": LABELS[:, None], "largest": order[:, :2], "full": every}
    reference_values = {"teacher_logits": logits}
    if name == "peak":
        reference_values |= {
            "teacher_attention": attention,
            "teacher_peaks": place,
            "teacher_peak_gradients": gradient,
        }
    else:
        chosen = indices[name]
        selected = np.take_along_axis(rows, chosen[..., None], axis=1)
        reference_values |= {"teacher_indices": chosen, "teacher_jacobians": selected}
    assert first.keys() == reference_values.keys()
    for key, value in reference_values.items():
        np.testing.assert_allclose(first[key], value, rtol=1e-4, atol=1e-5)
        assert not first[key].flags.writeable
    again = teacher_outputs.compute_teacher_outputs(*arguments, **options)
    for key, value in first.items():
        np.testing.assert_array_equal(again[key], value)
    assert len(list(tmp_path.iterdir())) == 1


def test_other_teachers_images_and_questions_have_entries_of_their_own(
    teacher, images, tmp_path
):
    def entries(outputs, teacher, images, labels):
        teacher_outputs.compute_teacher_outputs(
            outputs,
            teacher,
            images,
            labels,
            folder=tmp_path,
            batch_size=4,
            progress=False,
        )
        return len(list(tmp_path.iterdir()))

    ask = teacher_outputs.logits
    assert entries(ask, teacher, images, LABELS) == 1
    assert entries(ask, teacher, images, LABELS[::-1]) == 2
    assert entries(ask, teacher, images[::-1], LABELS) == 3
    brighter = teacher.statistics._replace(mean=teacher.statistics.mean + 1)
    assert entries(ask, teacher._replace(statistics=brighter), images, LABELS) == 4
    params = {**teacher.variables.params}
    params["classifier"] = jax.tree.map(lambda x: 2 * x, params["classifier"])
    other = teacher._replace(variables=models.Variables(params, teacher.variables[1]))
    assert entries(ask, other, images, LABELS) == 5
    assert entries(ask, teacher, images, LABELS) == 5


def test_what_cannot_be_asked(teacher, images, tmp_path):
    ask = functools.partial(
        teacher_outputs.compute_teacher_outputs, folder=tmp_path, progress=False
    )
    with pytest.raises(data.DataError, match=r"\[8, 8, 3\], these are \[4, 8, 3\]"):
        ask(teacher_outputs.logits, teacher, images[:, :4], LABELS)
    with pytest.raises(ValueError, match="must have equal length"):
        ask(teacher_outputs.logits, teacher, images, LABELS[:4])
    with pytest.raises(ValueError, match="known by its function"):
        ask(lambda f, x, labels: {"x": x}, teacher, images, LABELS)
    broken = jax.tree.map(lambda x: x * np.nan, teacher.variables)
    with pytest.raises(data.DataError, match="teacher_logits of the images 0 to 9"):
        ask(teacher_outputs.logits, teacher._replace(variables=broken), images, LABELS)


def counted(asked, fail_at=None):
    """Rows that note when they are computed, and fail when told to."""

    def rows(start, stop):
        if start == fail_at:
            raise KeyboardInterrupt
        asked.append(start)
        x = np.arange(start, stop)
        return {"one": x.astype(np.float32), "two": np.stack([x, -x], axis=1)}

    return rows


def stored(folder, rows, **changes):
    options = {"key": {"a": 1}, "num_rows": 10, "batch_size": 3, "progress": False}
    return _stored_rows.store_rows(rows, folder, **{**options, **changes})


def check(result):
    np.testing.assert_array_equal(result["one"], np.arange(10, dtype=np.float32))
    np.testing.assert_array_equal(result["two"][:, 1], -np.arange(10))


def test_rows_are_computed_once(tmp_path):
    asked = []
    for _ in range(2):
        check(stored(tmp_path, counted(asked)))
    assert asked == [0, 3, 6, 9]
    stored(tmp_path, counted(asked), key={"a": 2})
    assert asked == 2 * [0, 3, 6, 9]


def test_a_killed_run_goes_on_where_it_was(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path, counted([], fail_at=6))
    (draft,) = tmp_path.iterdir()
    with (draft / "one.npy").open("ab") as file:
        file.write(b"x")  # a row that was not finished
    asked = []
    check(stored(tmp_path, counted(asked), progress=True))
    assert asked == [0, 6, 9]  # the first one again, for its shapes
    assert "teacher's outputs, batch 4/4" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_of_other_rows_in_the_draft_is_begun_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path, counted([], fail_at=6))
    (draft,) = tmp_path.iterdir()
    np.save(draft / "two.npy", np.zeros((20, 2)))
    check(stored(tmp_path, counted([])))


def truncated(entry):
    content = (entry / "one.npy").read_bytes()
    (entry / "one.npy").write_bytes(content[:-1])


def changed(entry):
    content = bytearray((entry / "two.npy").read_bytes())
    content[-1] ^= 1
    (entry / "two.npy").write_bytes(content)


def foreign(entry):
    np.save(entry / "two.npy", np.zeros((10, 2), int))


def missing(entry):
    (entry / "one.npy").unlink()


def no_manifest(entry):
    (entry / "manifest.json").write_text("[]")


@pytest.mark.parametrize("damage", [truncated, changed, foreign, missing, no_manifest])
def test_damage_is_noticed_and_repaired(damage, tmp_path):
    stored(tmp_path, counted([]))
    (entry,) = tmp_path.iterdir()
    damage(entry)
    asked = []
    with pytest.warns(UserWarning, match="is damaged"):
        check(stored(tmp_path, counted(asked)))
    assert asked == [0, 3, 6, 9]
    assert json.loads((entry / "manifest.json").read_text())["key"] == {"a": 1}


def test_two_processes_may_compute_the_same(tmp_path):
    rows = counted([])

    def overtaken(start, stop):
        if start == 6:
            check(stored(tmp_path, rows))
        return rows(start, stop)

    check(stored(tmp_path, overtaken))
