"""Tests of experiments/adversarial."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

pytest.importorskip("experiments.harness", reason="experiments are not here")
from experiments import sheets
from experiments.adversarial import figure2_figure3_synthetic as synthetic
from experiments.adversarial import (
    table1_table5_table6_architectures as architectures,
)
from experiments.adversarial import (
    table2_table4_figure6_figure9_text as texts_script,
)
from experiments.adversarial import table7_gradient_diversity as gradient_diversity
from experiments.adversarial import theory_on_networks as theory
from experiments.adversarial.support import attacks, measures, transfers
from experiments.adversarial.support.source_measures import over_means
from experiments.harness import Value
from experiments.kept_networks import Model
from jtransfer import data, models, networks, pairs, training
from jtransfer.attacks import L2, prediction_loss
from jtransfer.distillation import cross_entropy
from jtransfer.ranking import correlations
from jtransfer.training.schedules import sgd


def test_synthetic_smoke(tmp_path):
    pytest.importorskip("matplotlib", reason="it is in the extra [experiments]")
    _, config = synthetic.PRESETS["smoke"]
    config = dataclasses.replace(config, results=tmp_path)
    synthetic.main(config, "smoke")
    folder = tmp_path / "adversarial"
    lines = (folder / "synthetic.smoke.jsonl").read_text().splitlines()
    rows = {row["cell"]: row for row in map(json.loads, lines)}
    assert rows["R^2 on fresh data, width 4"]["value"] < 1
    judged = rows["Spearman of both distances, width 4"]
    assert -1 <= judged["low"] <= judged["value"] <= judged["high"] <= 1
    assert judged["verdict"].startswith(("Monotone in t", "Not decided"))
    # Two sources at one t: their order is right, wrong, or none.
    fixed = rows[synthetic.fixed_cell(synthetic.GRADIENT)]
    assert fixed["value"] in (-1, 0, 1)
    curves = json.loads((folder / "synthetic-4-0.smoke.json").read_text())["curves"]
    # The source of this width is the target at t = 0: nothing is left to match.
    for name, lines in curves.items():
        at_zero = np.array(lines)[:, 0]
        if name == synthetic.GRADIENT:
            np.testing.assert_allclose(at_zero, 0, atol=1e-4)
        if name.startswith("alpha1") and name.endswith("attack 1"):
            np.testing.assert_allclose(at_zero, 1, atol=1e-4)
        if name != synthetic.GRADIENT:
            assert np.all((np.array(lines) >= 0) & (np.array(lines) <= 1 + 1e-4))
    for suffix in (".png", ".svg"):
        assert (folder / f"synthetic-4-0.smoke{suffix}").stat().st_size > 1000
    synthetic.main(config, "smoke")
    assert len((folder / "synthetic.smoke.jsonl").read_text().splitlines()) == len(rows)


def test_a_line_along_t_is_judged_as_such():
    along = synthetic.along_t
    upwards, downwards = Value(0.9, 0.7, 1.0), Value(-0.9, -1.0, -0.7)
    assert along(upwards, claim=1) == "Monotone in t, in the direction of the paper."
    assert (
        along(upwards, claim=-1) == "Monotone in t, against the direction of the paper."
    )
    assert along(downwards, claim=-1) == "Monotone in t, in the direction of the paper."
    undecided = "Not decided: the interval over V holds zero."
    assert along(Value(0.2, -0.1, 0.5), claim=1) == undecided


def test_a_penalty_with_nothing_to_lessen_shows_nothing():
    assert gradient_diversity.cannot_show(0.017) == (
        "Cannot show anything at this size: without the penalty the cosine is 0.017, "
        "below 0.1."
    )


def test_shares_and_widths_are_judged_by_their_numbers():
    assert theory.most_influential(Value(0.7, 0.6, 0.8)) == (
        "Reproduced: the first attack gives most of it."
    )
    assert theory.most_influential(Value(0.23, 0.2, 0.27)) == (
        "Not reproduced: the first attack gives 23% of it."
    )
    assert theory.most_influential(Value(0.4, 0.2, 0.6)) == (
        "Not decided: the first attack gives 40% of it."
    )
    assert theory.vacuous(Value(1.61, 1.5, 1.7)) == (
        "Vacuous: the interval is 1.6 times what it holds."
    )
    assert theory.vacuous(Value(0.25)) == "The interval is 0.25 of what it holds."


def test_means_of_images_are_correlated():
    alphas, losses = np.array([0.0, 2.0, 1.0, 3.0, 4.0, 4.0, 9.0]), np.arange(7.0)
    means = np.corrcoef([1.0, 2.0, 4.0], [0.5, 2.5, 4.5])[0, 1]
    assert over_means(alphas, losses, 2) == pytest.approx(means)
    single = np.corrcoef(alphas, losses)[0, 1]
    assert over_means(alphas, losses, 1) == pytest.approx(single)
    assert over_means(np.ones(7), losses, 1) == 0
    assert over_means(alphas, losses, 4) == 0


def two_layers(params, x):
    """A smooth network of one example, so that finite differences are exact."""
    return jnp.tanh(x @ params["first"]) @ params["second"]


def two_layer_task(seed):
    keys = jax.random.split(jax.random.key(seed), 4)
    params = {
        "first": jax.random.normal(keys[0], (6, 8)),
        "second": jax.random.normal(keys[1], (8, 3)),
    }
    x, gradients = (jax.random.normal(key, (5, 6)) for key in keys[2:])
    return params, x, gradients


def test_penalty_is_the_cosine_of_input_gradients():
    params, x, gradients = two_layer_task(0)
    expected = []
    for example, other in zip(np.float64(x), np.float64(gradients), strict=True):
        hidden = np.tanh(example @ np.float64(params["first"]))
        logits = hidden @ np.float64(params["second"])
        probabilities = np.exp(logits) / np.exp(logits).sum()
        probabilities[logits.argmax()] -= 1
        inner = np.float64(params["second"]) @ probabilities * (1 - hidden**2)
        own = np.float64(params["first"]) @ inner
        expected.append(own @ other / np.linalg.norm(own) / np.linalg.norm(other))
    result = cosine(params, x, gradients)
    assert float(result) == pytest.approx(np.mean(expected), abs=1e-5)
    # An image without a gradient counts as zero, and its slope is finite.
    half = gradients.at[:2].set(0)
    assert float(cosine(params, x, half)) == pytest.approx(
        np.sum(expected[2:]) / 5, abs=1e-5
    )
    flat = jax.tree.map(jnp.zeros_like, params)
    slopes = jax.tree.leaves(jax.jit(jax.grad(cosine))(flat, x, gradients))
    assert all(np.isfinite(slope).all() for slope in slopes)


@jax.jit
def cosine(params, x, gradients):
    return gradient_diversity.penalty(lambda x: two_layers(params, x), x, gradients)


def test_penalty_is_differentiable_through_the_input_gradient():
    with jax.enable_x64(True):
        params, x, gradients = two_layer_task(1)
        params = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        step = jax.tree.map(np.cos, params)

        def moved(t):
            return jax.tree.map(lambda p, s: p + t * s, params, step)

        slope = cosine(moved(1e-5), x, gradients) - cosine(moved(-1e-5), x, gradients)
        result = jax.jit(jax.grad(cosine))(params, x, gradients)
        parts = jax.tree.map(lambda g, s: np.vdot(g, s), result, step)
        expected = float(slope) / 2e-5
        assert abs(expected) > 1e-3
        assert sum(jax.tree.leaves(parts)) == pytest.approx(expected, rel=1e-5)


def test_cosine_falls_as_rho_grows():
    params, x, _ = two_layer_task(2)
    labels = np.arange(5) % 3
    # What a related model would have as gradients.
    gradients = x + x @ params["first"] @ params["first"].T / 8

    def objective(params, stats, batch, key):
        logits = two_layers(params, batch["images"])
        value = cross_entropy(logits, batch["labels"])
        result = cosine(params, batch["images"], batch["gradients"])
        return value + batch["rho"] * result, ({"cosine": result}, stats)

    optimizer = sgd(0.02)
    cosines = [
        training.fit(
            objective,
            (params, {}),
            {"images": x, "labels": labels, "gradients": gradients},
            optimizer=optimizer,
            num_steps=30,
            batch_size=5,
            seed=0,
            constants={"rho": np.float32(rho)},
            progress=False,
        ).history[-1]["cosine"]
        for rho in (0, 1, 5)
    ]
    assert cosines[0] > cosines[1] + 0.05 > cosines[2] + 0.1


def test_pearson_over_samples_resamples_images():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(400, 1))
    a, b = (shared + rng.normal(size=(400, 3)) for _ in range(2))
    result = sheets.over_samples(a, b, seed=0)
    assert result.value == pytest.approx(correlations.pearson(a.ravel(), b.ravel()))
    assert result.low < result.value < result.high
    # What the three models share makes the interval wider than that of 1200 samples.
    alone = sheets.over_samples(a.ravel(), b.ravel(), seed=0)
    assert alone.value == pytest.approx(result.value)
    assert result.high - result.low > 1.15 * (alone.high - alone.low)
    assert sheets.over_samples(np.ones(9), np.arange(9), seed=0).value == 0


def test_verdict_needs_the_sign_and_an_interval_without_zero():
    words = {
        Value(-0.2, -0.3, -0.1): "Reproduced",
        Value(-0.2, -0.5, 0.1): "In sign only",
        Value(-0.2): "In sign only",
        Value(0.2, 0.1, 0.3): "Not reproduced",
        Value(0.0, -0.1, 0.1): "Not reproduced",
        Value(float("nan"), -0.1, 0.1): "Not reproduced",
    }
    for value, word in words.items():
        assert sheets.verdict(value, -0.51).startswith(word)


def test_intervals_over_seeds_and_over_models():
    result = sheets.over_seeds([Value(0.1), Value(0.2), Value(0.3)])
    assert result.value == pytest.approx(0.2)
    assert result.high - 0.2 == pytest.approx(4.3027 * 0.1 / np.sqrt(3), rel=1e-4)
    result = sheets.over_models([1, 2, 3, 4, 5], [1, 3, 2, 5, 4])
    assert result.value == pytest.approx(0.8)
    assert np.arctanh(result.high) == pytest.approx(
        np.arctanh(0.8) + 1.96 / np.sqrt(2), rel=1e-6
    )


def test_transfers_of_known_networks(tmp_path, monkeypatch):
    """Outputs under attack are kept, and the two directions take the right parts."""
    made = []

    def deltas(model, attack, x, *, seed):
        made.append(model.name)
        return model.network * np.ones_like(x)

    monkeypatch.setattr(transfers, "deltas", deltas)
    monkeypatch.setattr(transfers, "logits", lambda model, x: model.network * x)
    target, others = Model("t", 1.0), (Model("a", 2.0), Model("b", 3.0))
    config = type("Config", (), {"out": tmp_path})
    attack = attacks.attack("PGD", 0.1, 2)
    x = np.zeros((4, 2))
    for _ in range(2):
        result = transfers.attack_both_ways(config, target, others, attack, x, seed=0)
    assert made == ["t", "a", "b"]
    assert len(list((tmp_path / "outputs").iterdir())) == 3
    pairs = {other.name: result[i] for i, other in enumerate(others)}
    values = [float(part[0, 0]) for part in pairs["b"].from_target]
    assert values == [1, 3, 9]
    assert [float(part[0, 0]) for part in pairs["b"].to_target] == [9, 3, 1]


def test_steps_are_five_radii_in_all_and_none_is_longer_than_the_radius():
    config = architectures.PRESETS["cpu"][1]
    by_table = {
        name: attack.settings
        for name, attack in architectures.attacks_of(config).items()
    }
    assert by_table["table1"] == pairs.AttackSettings(num_steps=config.num_steps)
    assert by_table["table6"].length_of_step == by_table["table6"].epsilon == 0.1
    assert by_table["table5-mi"].decay == 1
    assert not by_table["table5-mi"].random_start
    assert by_table["table5-l2"].norm is L2
    assert all(a.random_start for name, a in by_table.items() if name != "table5-mi")
    for settings in by_table.values():
        whole = settings.num_steps * settings.length_of_step
        assert whole == pytest.approx(settings.epsilon * min(5, settings.num_steps))


def test_cosines_of_gradients_by_their_definition():
    architecture = networks.Architecture(
        model="fully_connected", num_classes=3, base_width=4, image_size=2
    )
    statistics = data.ChannelStatistics(*np.full((2, 3), 0.5, np.float32))
    both = []
    for seed in (0, 1):
        _, variables = models.functional(
            networks.model(architecture, rngs=nnx.Rngs(seed))
        )
        network = networks.Network(architecture, variables, statistics, (), {})
        both.append(Model(str(seed), network))
    x = np.random.default_rng(0).random((3, 2, 2, 3)).astype(np.float32)
    result = attacks.gradient_cosines(*both, x)
    for example, cosine in zip(x, result, strict=True):
        slopes = []
        for model in both:
            function = networks.function(model.network)
            loss = prediction_loss(function, example)
            slopes.append(np.asarray(jax.grad(loss)(example), np.float64).ravel())
        lengths = np.prod([np.linalg.norm(slope) for slope in slopes])
        assert cosine == pytest.approx(slopes[0] @ slopes[1] / lengths, abs=1e-5)


def test_texts_stand_beside_what_the_paper_prints():
    paper = texts_script.TO_SOURCE
    printed = texts_script.value_in_paper
    assert printed(paper, "accuracy after transfer", "yelp_polarity_sample") == 0.8881
    assert printed(paper, "alpha1", "fakenewsnet_titles") == 0.028
    assert printed(paper, "alpha1 less chance", "mr_polarity") is None
    # The paper has one set of fake news.
    assert printed(paper, "alpha1", "covid_fake_news") is None
    # Its Table 2, alpha1 against accuracy, by hand.
    accuracy = np.array([89.34, 88.81, 87.58, 84.06])
    alpha1 = np.array([0.743, 0.562, 0.295, 0.028])
    expected = np.corrcoef(accuracy, alpha1)[0, 1]
    cell = measures.over_models_cell("alpha1")
    assert measures.correlations(paper)[cell] == pytest.approx(expected, abs=1e-3)


def test_means_over_batches_of_texts_leave_a_rest_out():
    columns = [np.arange(7.0), np.arange(7.0)[::-1]]
    result = texts_script.over_batches(columns, 3)
    np.testing.assert_allclose(result, [[1, 5], [4, 2]])
    assert texts_script.over_batches(columns, 1).shape == (7, 2)


def test_a_targeted_attack_leads_to_the_least_likely_class():
    """One step along the sign of the gradient of a linear model, by hand."""
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    images = np.full((10, 2, 2, 1), 0.5, np.float32)
    function = jax.tree_util.Partial(lambda w, x: x.ravel() @ w, weights)
    attack = attacks.attack("targeted", 0.1, 1, targeted=True, random_start=False)
    result = pairs.attacked(
        function, images, jax.random.key(0), settings=attack.settings
    )
    logits = images[0].ravel() @ weights
    least = logits.argmin()
    shares = np.exp(logits) / np.exp(logits).sum()
    direction = np.sign(weights @ (np.eye(3)[least] - shares))
    np.testing.assert_allclose(result.deltas[0].ravel(), 0.1 * direction, atol=1e-6)
    assert (result.own[:, least] > 0).all()
    single = jax.tree_util.Partial(lambda w, x: x.ravel() @ w[:, :1], weights)
    with pytest.raises(ValueError, match="targeted attack needs two outputs"):
        pairs.attacked(single, images, jax.random.key(0), settings=attack.settings)
