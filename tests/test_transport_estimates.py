"""Tests of the Sinkhorn score of `jtransfer rank` and of its plan on the page."""

import xml.etree.ElementTree as ET

import numpy as np
import scipy.spatial
import scipy.special
from tasks import NUM_CLASSES, gaussian_task
from transport import minimiser, references

from jtransfer import assessment, intervals, ranking, zoo
from jtransfer.assessment import AssessmentSettings, fictitious_assessment
from jtransfer.ranking import ON_REQUEST, SCORES, score_names
from jtransfer.ranking.estimates import transport
from jtransfer.ranking.estimates.batches import BATCH_ROWS
from jtransfer.ranking.estimates.features import FeatureStatistics
from jtransfer.ranking.estimates.transport import NUM_TRANSPORT_SHUFFLES
from jtransfer.ranking.source_rows import source_rows
from jtransfer.report import draw_pages, read_ranking, write_ranking
from jtransfer.report.pages import plan_map

NUM, WIDTH, SOURCE_CLASSES = 60, 8, 3
EQUATION_24 = "sinkhorn_approximation_2"
KERNEL = np.random.default_rng(5).normal(size=(WIDTH, SOURCE_CLASSES))


def task():
    features, labels = gaussian_task(3, NUM, WIDTH, separation=1.5)
    return np.maximum(features, 0).astype(np.float64), labels.astype(np.int32)


def dealt_labels(labels):
    return intervals.dealt_labels(
        labels, num_classes=NUM_CLASSES, batch_rows=BATCH_ROWS, seed=0
    )


def source_of(features, *, logits=None, name="teacher", **fields):
    outputs = features @ KERNEL + 0.5 if logits is None else logits
    return zoo.Source(
        name, {}, features=lambda: features, logits=lambda: outputs, **fields
    )


def rows_of(source, labels, name="sinkhorn"):
    target = zoo.labelled_target("target", labels, digest="")
    return source_rows(source, target, {name: SCORES[name]}, seed=0)


def expected(features, labels, kept, kernel=KERNEL):
    """Over the examples kept: minus Eq. (24) by definition, mean plan, its cost."""
    x, y = features[kept], labels[kept]
    means = np.stack([x[y == c].mean(axis=0) for c in range(NUM_CLASSES)])
    centred = [c - c.mean(axis=0) for c in (kernel.T, means)]
    unit = [c / np.linalg.norm(c, axis=1, keepdims=True) for c in centred]
    cost = scipy.spatial.distance.cdist(*unit)
    # What differs is the number of examples in the penalty: that of all of them.
    decay = np.var(features, axis=0).mean() / len(features)
    student = scipy.special.softmax(minimiser(x, y, decay) / 3, axis=1)
    teacher = scipy.special.softmax((x @ kernel + 0.5) / 3, axis=1)
    distances, plans, _ = references(teacher, student, cost)
    return -distances.mean(), plans.mean(axis=0), np.sum(plans.mean(axis=0) * cost)


def test_value_and_replicates_agree_with_definition():
    features, labels = task()
    (row,) = rows_of(source_of(features), labels, EQUATION_24)
    value, plan, _ = expected(features, labels, np.arange(NUM))
    np.testing.assert_allclose(row.value, value, atol=3e-4)
    masses = np.array(row.plan.masses)
    order = [int(name) for name in row.plan.source_classes]
    np.testing.assert_allclose(masses, plan[order], atol=3e-3)
    assert (np.diff(masses.sum(axis=1)) <= 1e-3).all()
    dealt = dealt_labels(labels)
    for block in (0, 7):
        kept = np.setdiff1d(np.arange(NUM), dealt.order[:, block])
        value, *_ = expected(features, labels, kept)
        np.testing.assert_allclose(row.replicates[block], value, atol=3e-4)
    assert row.low < row.value < row.high
    assert row.n == NUM


def test_the_score_is_what_labels_save():
    """Of the transport that the mean of shuffled labels costs; chance is zero."""
    features, labels = task()
    (row,) = rows_of(source_of(features), labels)
    dealt = dealt_labels(labels)
    every, shuffled = np.arange(NUM), dealt.shuffled[:NUM_TRANSPORT_SHUFFLES]
    of_chance = [expected(features, other, every)[2] for other in shuffled]
    own = expected(features, labels, every)[2]
    np.testing.assert_allclose(row.value, np.mean(of_chance) - own, atol=3e-4)
    kept = np.setdiff1d(every, dealt.order[:, 3])
    without = expected(features, labels, kept)[2]
    np.testing.assert_allclose(
        row.replicates[3], np.mean(of_chance) - without, atol=3e-4
    )
    np.testing.assert_allclose(row.chance, 0, atol=1e-6)
    saving = assessment.transport_saving(
        features.astype(np.float32),
        (features @ KERNEL + 0.5).astype(np.float32),
        KERNEL.T.astype(np.float32),
        labels,
        shuffled,
        num_classes=NUM_CLASSES,
    )
    np.testing.assert_allclose(saving, row.value, atol=3e-4)


def test_an_untrained_source_saves_nothing():
    features, labels = task()
    means = np.stack([features[labels == c].mean(axis=0) for c in range(NUM_CLASSES)])
    head = 3 * (means - means.mean(axis=0)).T
    trained = source_of(features, logits=features @ head, head=lambda: head)
    (row,) = rows_of(trained, labels)
    assert row.value > row.chance_high
    noise = np.random.default_rng(3).normal(size=features.shape)
    (other,) = rows_of(source_of(noise, logits=noise @ head, head=lambda: head), labels)
    assert row.value > other.value
    assert other.low < 0.1


def test_the_last_layer_is_given_or_found():
    features, labels = task()
    (result,) = rows_of(source_of(features), labels)
    (given,) = rows_of(source_of(features, head=lambda: KERNEL), labels)
    np.testing.assert_allclose(result.value, given.value, atol=1e-5)
    bent = np.tanh(features @ KERNEL)
    (row,) = rows_of(source_of(features, logits=bent), labels)
    assert any("no linear function" in text for text in row.warnings)
    (row,) = rows_of(source_of(features, head=lambda: KERNEL[:3]), labels)
    assert "[8, 3]" in row.reason


def test_true_centres_stand_for_the_last_layer(tmp_path):
    features, labels = task()
    centers = np.random.default_rng(8).normal(size=(SOURCE_CLASSES, WIDTH))
    (own,) = rows_of(source_of(features, centers=lambda: centers), labels)
    (head,) = rows_of(source_of(features, head=lambda: centers.T), labels)
    np.testing.assert_allclose(own.value, head.value, atol=1e-6)
    (none,) = rows_of(source_of(features, centers=lambda: None), labels)
    (usual,) = rows_of(source_of(features), labels)
    assert none.value == usual.value != own.value
    (row,) = rows_of(source_of(features, centers=lambda: centers.T), labels)
    assert row.reason == "class_centers must be finite and of shape [3, 8], got [8, 3]."
    np.savez(
        tmp_path / "a.npz",
        features=features,
        logits=features @ KERNEL + 0.5,
        class_centers=centers,
    )
    (source,) = zoo.sources(str(tmp_path / "a.npz"))
    (row,) = rows_of(source, labels)
    np.testing.assert_allclose(row.value, own.value, atol=1e-6)


def student_score(features, labels, kept, student):
    """Minus Eq. (24) by definition for the logits of a student, over examples kept."""
    x, y = features[kept], labels[kept]
    means = np.stack([x[y == c].mean(axis=0) for c in range(NUM_CLASSES)])
    centred = [c - c.mean(axis=0) for c in (KERNEL.T, means)]
    unit = [c / np.linalg.norm(c, axis=1, keepdims=True) for c in centred]
    probs = (
        scipy.special.softmax(logits / 3, axis=1)
        for logits in (x @ KERNEL + 0.5, student[kept])
    )
    distances, _, _ = references(*probs, scipy.spatial.distance.cdist(*unit))
    return -distances.mean()


def test_the_exact_score_is_of_the_student_that_a_source_has_taught(tmp_path):
    features, labels = task()
    student = np.random.default_rng(4).normal(size=(NUM, NUM_CLASSES))
    student[np.arange(NUM), labels] += 2
    np.savez(
        tmp_path / "a.npz",
        features=features,
        logits=features @ KERNEL + 0.5,
        student_logits=student,
    )
    (source,) = zoo.sources(str(tmp_path / "a.npz"))
    (row,) = rows_of(source, labels, "sinkhorn_exact")
    every = np.arange(NUM)
    value = student_score(features, labels, every, student)
    np.testing.assert_allclose(row.value, value, atol=3e-4)
    kept = np.setdiff1d(every, dealt_labels(labels).order[:, 3])
    value = student_score(features, labels, kept, student)
    np.testing.assert_allclose(row.replicates[3], value, atol=3e-4)
    (row,) = rows_of(source_of(features), labels, "sinkhorn_exact")
    assert row.reason.startswith("It needs features, logits and student_logits")
    narrow = source_of(features, student_logits=lambda: student[:, :2])
    (row,) = rows_of(narrow, labels, "sinkhorn_exact")
    assert "5 a row as the target has classes, got 2" in row.reason
    (row,) = rows_of(source_of(features), labels, "sinkhorn_approximation_1")
    assert row.reason.startswith("It needs a reference")


def test_approximation_1_is_of_the_reference():
    features, labels = task()
    student = np.random.default_rng(4).normal(size=(NUM, NUM_CLASSES))
    calls = []

    def logits():
        calls.append(1)
        return student

    names = [f"class {c}" for c in range(NUM_CLASSES)]
    images = np.random.default_rng(1).integers(256, size=(NUM, 2, 2, 1))
    target = zoo.Target(
        "target",
        labels,
        NUM_CLASSES,
        names,
        digest="",
        images=images.astype(np.uint8),
    )
    model = zoo.Source(
        "student", {}, logits=logits, function=lambda: lambda x: x.reshape(-1)[:3]
    )
    sources = [source_of(features, name=name) for name in "ab"]

    def rows(facts):
        reference = zoo.Reference(model._replace(facts=facts))
        return ranking.rank_sources(
            sources, target, ["sinkhorn_approximation_1"], reference=reference
        )

    chosen = [row for row in rows({}) if row.score == "sinkhorn_approximation_1"]
    value = student_score(features, labels, np.arange(NUM), student)
    for row in chosen:
        np.testing.assert_allclose(row.value, value, atol=3e-4)
    assert len(chosen) == 2
    assert len(calls) == 1
    refused = rows({"source_classes": names[::-1]})
    assert "in another order" in refused[-1].reason


def test_a_teacher_with_no_opinion_is_told():
    features, labels = task()
    (row,) = rows_of(
        source_of(features, logits=1e-3 * features @ KERNEL, head=lambda: KERNEL),
        labels,
        EQUATION_24,
    )
    assert any("almost uniform" in text for text in row.warnings)


def test_what_cannot_be_assessed_says_why():
    features, labels = task()
    (row,) = rows_of(source_of(features)._replace(logits=None), labels)
    assert "features and logits" in row.reason
    (row,) = rows_of(source_of(features, logits=features[1:] @ KERNEL), labels)
    assert "59 rows" in row.reason


def test_no_convergence_is_a_warning(monkeypatch):
    features, labels = task()
    statistics = FeatureStatistics(
        *(None,) * 3,
        features,
        np.arange(NUM),
        np.arange(NUM) % intervals.NUM_BLOCKS,
        np.arange(NUM),
    )
    dealt = dealt_labels(labels)
    variants = 1 + intervals.NUM_BLOCKS + transport.NUM_TRANSPORT_SHUFFLES
    converged = np.linspace(0.7, 1, variants)
    monkeypatch.setattr(
        transport,
        "_assessments",
        lambda *_, **__: (
            np.zeros(variants),
            np.zeros(variants),
            converged,
            np.ones((16, NUM_CLASSES)),
        ),
    )
    result = transport.transport_estimate(
        statistics, lambda: features @ KERNEL, dealt, head=None
    )
    assert "did not converge for 30.0%" in result.warnings[0]
    assert len(result.plan) == SOURCE_CLASSES


def test_examples_are_limited_and_rows_find_their_place(monkeypatch):
    monkeypatch.setattr(transport, "MAX_ASSESSED", 25)
    kept = transport._assessed(NUM, seed=0)
    assert len(np.unique(kept)) == 25
    labels = task()[1]
    dealt = dealt_labels(labels)
    numbers = np.arange(2.0 * NUM).reshape(NUM, 2)
    pieces = iter([numbers[:7], numbers[7:]])
    places = np.random.default_rng(0).permutation(NUM)[:25]
    result = transport._rows_at(pieces, places, dealt, [])
    np.testing.assert_array_equal(result, numbers[places])


def test_it_is_computed_on_request_and_a_file_of_features_will_do(tmp_path):
    assert "sinkhorn" not in score_names()
    assert SCORES["sinkhorn"].needs in ON_REQUEST
    features, labels = task()
    np.savez(
        tmp_path / "a.npz",
        features=features.astype(np.float32),
        logits=(features @ KERNEL + 0.5).astype(np.float32),
        classifier=KERNEL.astype(np.float32),
    )
    (source,) = zoo.sources(str(tmp_path / "a.npz"))
    source = source._replace(facts={"source_classes": ["x", "y", "<z>"]})
    names = ["ant", "bee", "cat", "dog", "<eel>"]
    folder = tmp_path / "out"
    rows = ranking.rank_sources(
        [source],
        zoo.labelled_target("target", labels, class_names=names, digest=""),
        ["sinkhorn"],
    )
    write_ranking(rows, folder)
    draw_pages(folder)
    (row,) = [row for row in read_ranking(folder) if row.score == "sinkhorn"]
    assert row.value > 0
    assert sorted(row.plan.source_classes) == ["<z>", "x", "y"]
    page = (folder / "report.html").read_text("utf-8")
    assert "Which class stands for which" in page
    for name in ("&lt;z&gt;", "&lt;eel&gt;", "bee"):
        assert name in page
    assert "<eel>" not in page


def test_plan_map_is_xml_that_shows_what_counts():
    rng = np.random.default_rng(0)
    masses = rng.dirichlet(np.full(100, 0.05), size=40) / 40
    rows, columns = ([f"class {i}" for i in range(n)] for n in (40, 100))
    image = ET.fromstring(
        plan_map.transport_plan_map(rows, columns, masses.tolist(), label="a & b")
    )
    titles = [title.text for title in image.iter("title")]
    shown = (masses >= 0.01 * masses.max()).sum()
    assert len(titles) == shown < 2000
    i, j = np.unravel_index(masses.argmax(), masses.shape)
    assert any(text.startswith(f"class {i} to class {j}: ") for text in titles)
    largest = max(float(r.get("fill-opacity") or 0) for r in image.iter("rect"))
    assert largest == 1


def test_the_value_is_that_of_the_fictitious_assessment():
    features, labels = task()
    source = source_of(features, head=lambda: KERNEL)
    (row,) = rows_of(source, labels, EQUATION_24)
    outputs = (features @ KERNEL + 0.5).astype(np.float32)
    one = fictitious_assessment(
        features.astype(np.float32),
        outputs,
        KERNEL.T.astype(np.float32),
        labels,
        num_classes=NUM_CLASSES,
    )
    np.testing.assert_allclose(row.value, one.score, atol=1e-5)
    assert one.converged == 1
    decay = np.var(features, axis=0).mean() / NUM
    settings = AssessmentSettings(weight_decay=float(decay))
    again = fictitious_assessment(
        features.astype(np.float32),
        outputs,
        KERNEL.T.astype(np.float32),
        labels,
        num_classes=NUM_CLASSES,
        settings=settings,
    )
    np.testing.assert_allclose(again.score, one.score, atol=1e-5)
