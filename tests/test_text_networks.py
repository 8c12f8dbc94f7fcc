"""Tests of networks of texts: on disk, trained, as sources, and in pairs."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from texts import (
    NUM_TOKENS,
    TOKENS,
    reviews,
    text_network,
    write_encoder,
    write_tokenizer,
)

import jtransfer
from jtransfer import adversarial, attacks, matching, networks, pairs, transfer, zoo
from jtransfer._internal.errors import RequestError, SourceError
from jtransfer.data import DataError, Texts
from jtransfer.data.prepared_folders import data_root
from jtransfer.pairs.measures import estimate_of_sums

pytest.importorskip("tokenizers", reason="needs tokenizers")
pytestmark = pytest.mark.timeout(240)
TEXTS, LABELS = reviews(36)
BLOCKS = np.arange(36) % 10
SETTINGS = pairs.WordAttackSettings(num_steps=4, learning_rate=0.7)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def both(tokenizer):
    """Two networks with word vectors of different lengths, and other outputs."""
    other = text_network(tokenizer, seed=1, width=4, class_names=("a", "b", "c"))
    return text_network(tokenizer), other


@pytest.fixture(scope="module")
def examples(both):
    return pairs.text_examples(both[0], TEXTS, settings=SETTINGS)


@pytest.fixture(scope="module")
def attacked(both, examples):
    return [examples.attacked(networks.text_function(network)) for network in both]


def logits_of(network, ids):
    """Logits of single texts, one by one."""
    function = networks.text_function(network)
    rows = [function.logits(function.vocabulary[row[None]], row[None]) for row in ids]
    return np.concatenate(rows)


# On disk.


def test_a_network_is_read_as_it_was_written(both, tmp_path):
    network = both[0]._replace(facts={"source": "made up"})
    networks.write_text_network(tmp_path / "a", network)
    back = networks.read_text_network(tmp_path / "a")
    assert networks.is_text_network(tmp_path / "a")
    assert back.architecture == network.architecture
    assert (back.class_names, back.facts) == (network.class_names, network.facts)
    jax.tree.map(np.testing.assert_array_equal, back.variables, network.variables)
    # It brings its tokenizer along, also when it is written once more.
    networks.write_text_network(tmp_path / "b", back)
    shutil.rmtree(tmp_path / "a")
    again = networks.read_text_network(tmp_path / "b")
    ((_, logits),) = networks.text_outputs(again, TEXTS[:3], batch_size=3)
    ((_, expected),) = networks.text_outputs(network, TEXTS[:3], batch_size=3)
    np.testing.assert_array_equal(logits, expected)


def test_damaged_networks_are_named_in_one_line(both, tmp_path):
    networks.write_text_network(tmp_path / "a", both[0])
    assert not networks.is_text_network(tmp_path)

    def fault(match, change):
        folder = tmp_path / "b"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "a", folder)
        change(folder)
        with pytest.raises(DataError, match=match) as caught:
            networks.read_text_network(folder)
        assert "\n" not in str(caught.value)

    def described(**changes):
        def change(folder):
            file = folder / "network.json"
            held = json.loads(file.read_text())
            held["architecture"] |= changes
            file.write_text(json.dumps(held))

        return change

    fault("does not exist; make it", lambda folder: (folder / "network.json").unlink())
    fault("is damaged", lambda folder: (folder / "network.json").write_text("{"))
    fault("is damaged", described(bert={"width": 3}))
    for change in ({"separator_id": "2"}, {"num_tokens": 9.5}, {"num_classes": 2.0}):
        fault("is damaged", described(**change))
    sizes = both[0].architecture.bert._asdict()
    for change in ({"pad_id": "zero"}, {"norm_epsilon": "x"}, {"num_layers": 0}):
        fault("is damaged", described(bert=sizes | change))
    fault(
        r"token 15 for padding, which is not \[PAD\]",
        described(bert=sizes | {"pad_id": 15}),
    )
    fault("takes texts of 5 to 12 tokens, not 13", described(num_tokens=13))
    fault("2 class_names", described(num_classes=3))
    words = "\n".join(reversed(TOKENS))
    fault("not the one", lambda folder: (folder / "vocab.txt").write_text(words))
    fault("not the one", lambda folder: (folder / "vocab.txt").unlink())


def test_outputs_do_not_depend_on_the_batch_and_layers_are_means(both):
    network = both[0]
    parts = list(networks.text_outputs(network, TEXTS[:7], batch_size=3))
    assert [len(logits) for _, logits in parts] == [3, 3, 1]
    tokens = networks.tokenized(network, TEXTS[:7])
    logits = np.concatenate([logits for _, logits in parts])
    np.testing.assert_allclose(logits, logits_of(network, tokens.ids), rtol=1e-5)
    ((layers, _),) = networks.text_layer_outputs(network, TEXTS[:7])
    assert networks.text_layers(network) == ["hidden_states.0", "embedding"]
    apply_fn, _ = networks.apply_fn_of(network.architecture)
    for i, row in enumerate(tokens.ids):
        _, out = apply_fn(network.variables, row)
        mask = row != 0
        states = [*out["hidden_states"][:1], out["hidden_states"][-1]]
        for layer, state in zip(layers, states, strict=True):
            expected = np.asarray(state)[mask].mean(axis=0)
            np.testing.assert_allclose(layer[i], expected, rtol=1e-4, atol=1e-5)


# Trained.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with an encoder, a network that has learnt reviews, and a table."""
    folder = tmp_path_factory.mktemp("trained")
    start = text_network(write_tokenizer(folder / "tokens"), seed=3)
    write_encoder(folder / "encoder", start)
    texts, labels = reviews(60)
    rows = [{"review": t, "stars": x} for t, x in zip(texts, labels, strict=True)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "reviews.jsonl").write_text(lines)
    return folder


COLUMNS = ("--text-column", "review", "--label-column", "stars")


def run(monkeypatch, folder, *arguments):
    from commands import exit_code

    monkeypatch.chdir(folder)
    return exit_code(*arguments, folder=folder)


def train(monkeypatch, folder, out, *more, model="encoder"):
    return run(
        monkeypatch,
        folder,
        *("train", "--model", model, "--data", "reviews.jsonl", "--out", out),
        *(*COLUMNS, "--tokens", NUM_TOKENS, *more),
    )


def test_a_network_learns_its_texts(trained, monkeypatch, capsys):
    more = ("--epochs", 60, "--learning-rate", 0.01, "--batch-size", 20)
    assert train(monkeypatch, trained, "zoo/reviews", *more) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("zoo/reviews: test accuracy ")
    assert "examples/s" in printed.err
    network = networks.read_text_network(trained / "zoo" / "reviews")
    place, columns = trained / "reviews.jsonl", zoo.TextReading(("review",), "stars")
    learnt, held_out = zoo.split_texts(place, columns, seed=0)
    assert (len(learnt.texts), len(held_out.texts)) == (48, 12)
    assert transfer.are_right(network, learnt).mean() > 0.85
    accuracy = transfer.are_right(network, held_out).mean()
    assert printed.out.endswith(f"{accuracy:.4f}\n")
    assert network.class_names == ("bad", "good")
    assert network.facts["recipe"]["num_tokens"] == NUM_TOKENS
    # A rerun goes on, that is, it reads; another recipe is refused.
    assert train(monkeypatch, trained, "zoo/reviews", *more) == 0
    assert train(monkeypatch, trained, "zoo/reviews", "--epochs", 1) == 2
    assert "holds a run with recipe" in capsys.readouterr().err
    # It is where another one starts, with classes of its own.
    more = ("--epochs", 1, "--num-examples", 20)
    assert train(monkeypatch, trained, "zoo/again", *more, model="zoo/reviews") == 0
    names = ("x", "y", "z")
    fresh = transfer.with_new_classifier(network, names, seed=0)
    assert fresh.variables.params["classifier"]["kernel"].shape == (6, 3)
    assert (fresh.class_names, fresh.architecture.num_classes) == (names, 3)
    # Theirs are the layers that were not named.
    assert fresh.variables.params["words"] is network.variables.params["words"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("--model lenet", "--model: lenet is no folder; texts need one of a BERT"),
        ("--model encoder --tokens 99", "takes texts of 5 to 12 tokens, not 99"),
        ("--model encoder --tokens -3", "--tokens must be positive"),
        ("--model encoder --width 4", "--width does nothing for texts"),
        ("--model encoder --classes good", "--classes does nothing for texts"),
        ("--model tokens", "config.json does not exist"),
        ("--model encoder --data one.csv --tokens 9", "has one class"),
        ("--model encoder --data-dir x", "--data-dir does nothing for reviews.jsonl"),
        ("--model unpadded --tokens 9", "which is not [PAD] in its vocabulary"),
        ("--model endless --tokens 9", "it lacks [SEP]"),
        ("--model encoder --tokens 9 --out stale", "vocab.txt of another tokenizer"),
    ],
)
def test_a_wrong_request_to_train_is_one_line(
    arguments, fault, trained, monkeypatch, capsys
):
    lines = "\n".join(f"film {i},good" for i in range(20))
    (trained / "one.csv").write_text(f"review,stars\n{lines}")
    for name in ("unpadded", "endless"):
        shutil.copytree(trained / "encoder", trained / name, dirs_exist_ok=True)
    config = trained / "unpadded" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"pad_token_id": 7}))
    words = [word.replace("[SEP]", "sep") for word in TOKENS]
    write_tokenizer(trained / "endless", words)
    write_tokenizer(trained / "stale", words)
    command = ("train", "--data", "reviews.jsonl", *COLUMNS, "--out", "x/y")
    assert run(monkeypatch, trained, *command, *arguments.split()) == 2
    output = capsys.readouterr()
    assert fault in output.err
    assert output.err.count("\n") == 1


def test_options_of_texts_are_refused_for_images(trained, monkeypatch, capsys):
    np.savez(
        trained / "grey.npz",
        images=np.zeros((12, 8, 8, 1), np.uint8),
        labels=np.arange(12) % 2,
        test_images=np.zeros((4, 8, 8, 1), np.uint8),
        test_labels=np.arange(4) % 2,
    )
    command = ("train", "--model", "lenet", "--data", "npz:grey.npz", "--out", "x/z")
    assert run(monkeypatch, trained, *command, "--tokens", 9) == 2
    assert "--tokens does nothing for images" in capsys.readouterr().err


def test_equal_texts_are_not_on_both_sides_of_a_split(tmp_path):
    file = tmp_path / "t.csv"
    lines = [f"text {i % 30},{i % 2}" for i in range(60)]
    file.write_text("text,label\n" + "\n".join(lines))
    train, test = zoo.split_texts(file, zoo.TextReading(), seed=0)
    assert len(test.texts) > 0
    assert not set(train.texts) & set(test.texts)
    assert train.class_names == test.class_names == ("0", "1")
    file.write_text("text,label\n" + "\n".join(f"same,{i % 2}" for i in range(20)))
    with pytest.raises(RequestError, match="give different texts"):
        zoo.split_texts(file, zoo.TextReading(), seed=0)


# Attacks, transfer and gradients.


def test_texts_are_attacked_whatever_their_batch(both, examples, attacked):
    """36 texts are two batches; each of them is as if it were alone."""
    for network, result in zip(both, attacked, strict=True):
        function = networks.text_function(network)
        clean = logits_of(network, examples.ids)
        np.testing.assert_allclose(result.clean, clean, rtol=1e-4, atol=1e-5)
        moved = logits_of(network, result.ids) - clean
        np.testing.assert_allclose(result.own, moved, rtol=1e-3, atol=1e-4)
        changed = result.ids != examples.ids
        assert 0 < changed.sum() < examples.words.sum()
        assert not changed[~examples.words].any()
        assert examples.allowed[result.ids[changed]].all()
        for i in (0, 33):
            ids = examples.ids[i : i + 1]
            alone = attacks.word_attack(
                lambda vectors, ids=ids, f=function: f.logits(vectors, ids),
                function.vocabulary[ids],
                ids,
                examples.words[i : i + 1],
                clean[i : i + 1].argmax(axis=1),
                vocabulary=function.vocabulary,
                allowed=examples.allowed,
                num_steps=4,
                learning_rate=0.7,
            )
            np.testing.assert_array_equal(alone.ids[0], result.ids[i])


def test_the_transfer_is_that_of_the_definition(both, examples, attacked):
    first, second = attacked
    result = examples.transferred(first, second, BLOCKS)
    n, network = len(TEXTS), both[1]
    for shift in (0, 2):
        ids = examples.ids.copy()
        for i in range(n):
            j = (i + shift) % n
            for place in range(NUM_TOKENS):
                put_in = first.ids[j, place] != examples.ids[j, place]
                if put_in and examples.words[i, place]:
                    ids[i, place] = first.ids[j, place]
        moved = logits_of(network, ids) - second.clean
        if shift == 0:
            np.testing.assert_allclose(result.deviations, moved, rtol=1e-3, atol=1e-4)
            stronger = np.where(
                np.linalg.norm(moved, axis=1)[:, None]
                > np.linalg.norm(second.own, axis=1)[:, None],
                moved,
                second.own,
            )
            ratio = np.asarray(adversarial.alpha1(moved, stronger))
            np.testing.assert_allclose(result.alpha1, ratio, atol=1e-3)
            own = np.roll(first.own, 0, axis=0)
            value = pairs.alpha2_of_sums(pairs.merged(result.blocks))
        else:
            own = np.roll(first.own, -shift, axis=0)
            value = pairs.alpha2_of_sums(pairs.at(result.mismatched, shift - 1))
        expected = float(adversarial.alpha2(own, moved))
        assert value == pytest.approx(expected, abs=2e-3)


def test_gradients_are_by_the_weights_of_tokens(both, examples):
    """Against the Jacobians by one weight for every allowed token and word."""
    functions = [networks.text_function(network) for network in both]
    result = examples.gradients(*functions, BLOCKS, most_attacks=2)

    allowed = np.flatnonzero(examples.allowed)

    @jax.jit
    def one(function, ids, words):
        def logits(weights):
            moved = weights @ function.vocabulary[allowed]
            moved = jnp.where(words[:, None], moved, 0)
            return function.logits((function.vocabulary[ids] + moved)[None], ids[None])

        return jax.jacrev(logits)(jnp.zeros((NUM_TOKENS, len(allowed))))[0]

    def jacobian(function, i):
        rows = np.asarray(one(function, examples.ids[i], examples.words[i]), float)
        return rows.reshape(len(rows), -1)

    some = np.arange(12)
    first, second = (np.stack([jacobian(f, i) for i in some]) for f in functions)
    few = pairs.TextExamples(examples.ids[some], examples.words[some], examples.allowed)
    sums = few.gradients(*functions, np.arange(12) % 10)
    with jax.enable_x64(True):
        expected = float(matching.gradient_matching_distance(first, second))
    assert pairs.distance(pairs.merged(sums.blocks)) == pytest.approx(
        expected, rel=1e-4
    )
    values = np.linalg.svd(first, compute_uv=False).mean(axis=0)
    np.testing.assert_allclose(sums.reference_values, values, rtol=1e-4)
    share = pairs.explained_share(pairs.merged(result.blocks))
    assert 0 < share < 1
    same = few.gradients(functions[0], functions[0], np.arange(12) % 10)
    assert pairs.explained_share(pairs.merged(same.blocks)) == pytest.approx(1)


def test_texts_without_a_word_give_numbers(both, tokenizer):
    """Alpha1 is 0 where nothing can move, and nothing is not-a-number."""
    examples = pairs.text_examples(both[0], ["[MASK]"] * 10, settings=SETTINGS)
    assert not examples.words.any()
    functions = [networks.text_function(network) for network in both]
    blocks = np.arange(10)
    pair = pairs.examples_pair(*functions, examples, blocks)
    assert pairs.alpha1_of_sums(pairs.merged(pair.to_source.blocks)) == 0
    assert pair.to_source.still == 1
    assert pairs.explained_share(pairs.merged(pair.gradients.blocks)) == 0


def test_what_does_not_fit_a_pair_is_refused(both, examples, tokenizer, tmp_path):
    function = networks.text_function(both[0])
    few = pairs.TextExamples(examples.ids[:9], examples.words[:9], examples.allowed)
    with pytest.raises(ValueError, match="at least 10 texts, got 9"):
        few.attacked(function)
    other = text_network(tokenizer, vocab_size=20)
    with pytest.raises(ValueError, match="has 20 tokens, the texts are in 16"):
        examples.attacked(networks.text_function(other))
    one = text_network(tokenizer, class_names=("only",))
    with pytest.raises(ValueError, match="two outputs or more, got 1"):
        examples.attacked(networks.text_function(one))
    networks.check_same_tokens(both[1], both[0], TEXTS)
    foreign = write_tokenizer(tmp_path / "other", ["[PAD]", "[CLS]", *TOKENS[2:][::-1]])
    with pytest.raises(DataError, match="different tokens"):
        networks.check_same_tokens(
            both[1]._replace(tokenizer=foreign), both[0], TEXTS[:3]
        )
    short = text_network(tokenizer, longest=8)
    with pytest.raises(DataError, match="5 to 8 tokens, not 9"):
        networks.check_same_tokens(short, both[0], TEXTS[:3])


# Sources, references and pairs by their names.


@pytest.fixture(scope="module")
def folder(tmp_path_factory, both):
    """A zoo of two networks, a reference, and a table of texts."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, network in zip(("zoo/first", "zoo/second"), both, strict=True):
        networks.write_text_network(folder / name, network)
    reference = text_network(both[0].tokenizer, seed=5)
    networks.write_text_network(folder / "own", reference)
    rows = zip(TEXTS, LABELS, strict=True)
    table = "".join(f"{text},{label}\n" for text, label in rows)
    (folder / "t.csv").write_text(f"text,label\n{table}")
    np.savez(
        folder / "grey.npz",
        images=np.zeros((20, 8, 8, 1), np.uint8),
        labels=np.arange(20) % 2,
    )
    return folder


def test_networks_of_texts_are_ranked_as_those_of_images(folder, both, examples):
    rows = jtransfer.rank(
        str(folder / "zoo"),
        folder / "t.csv",
        scores=("alpha1", "gradient_matching", "logme"),
        reference=str(folder / "own"),
        num_examples=36,
    )
    values = {(row.source, row.score): row for row in rows if hasattr(row, "value")}
    assert {score for _, score in values} >= {"alpha1", "gradient_matching", "logme"}
    target = zoo.text_target(folder / "t.csv")
    ((features, logits),) = networks.text_outputs(both[0], TEXTS)
    first = next(s for s in zoo.sources(str(folder / "zoo"), target))
    np.testing.assert_array_equal(np.concatenate(list(first.features())), features)
    np.testing.assert_array_equal(np.concatenate(list(first.logits())), logits)
    # The numbers of the pair, in the order in which the examples were drawn.
    from jtransfer.ranking.estimates import functions

    reference = zoo.reference(
        zoo.named_source(str(folder / "own"), target), target, num_images=36
    )
    compared = functions.comparison(reference, target, seed=0)
    own, other = (
        compared.examples.attacked(networks.text_function(network))
        for network in (reference.source.text_network(), both[0])
    )
    moved = compared.examples.transferred(own, other, compared.blocks)
    estimate = estimate_of_sums(pairs.alpha1_of_sums, moved.blocks, moved.mismatched)
    row = values["first", "alpha1"]
    assert row.value == pytest.approx(float(estimate.value), abs=1e-5)
    assert row.chance == pytest.approx(estimate.shuffled.mean(), abs=1e-5)


def test_a_zoo_of_texts_is_kept_as_features(folder, monkeypatch, capsys):
    """The target has no test part; what is kept ranks as the networks do."""
    command = ("extract", "--zoo", "zoo", "--target", "t.csv", "--out", "kept")
    assert run(monkeypatch, folder, *command) == 0
    capsys.readouterr()
    values = []
    for zoo_and_target in (("zoo", "t.csv"), ("kept/zoo.toml", "kept/labels.npz")):
        named = zip(("--zoo", "--target"), zoo_and_target, strict=True)
        options = [part for pair in named for part in pair]
        command = ("rank", *options, "--scores", "logme", "--json")
        assert run(monkeypatch, folder, *command) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        values.append({r["source"]: r["value"] for r in rows if r["score"] == "logme"})
    assert values[0] == pytest.approx(values[1])
    # A network of texts is named where one of images is needed.
    command = ("extract", "--source", "own", "--data", "npz:grey.npz", "--out", "x.npz")
    assert run(monkeypatch, folder, *command) == 2
    assert "own holds a network of texts" in capsys.readouterr().err


def test_layers_and_fine_tuning(folder, monkeypatch, capsys):
    command = ("rank", "--target", "t.csv", "--scores", "logme", "--json")
    assert run(monkeypatch, folder, *command, "--zoo", "zoo/first", "--layers") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = {row["source"] for row in rows}
    assert names == {"first:hidden_states.0", "first:embedding"}
    recipes, fine_tune = [], transfer.fine_tune_text_network

    def recorded(network, texts, *, recipe, seed):
        recipes.append((len(texts.texts), recipe))
        return fine_tune(network, texts, recipe=recipe, seed=seed)

    monkeypatch.setattr(transfer, "fine_tune_text_network", recorded)
    assert run(monkeypatch, folder, *command, "--zoo", "zoo/first", "--fine-tune") == 0
    assert '"verified_by": "fine-tuning"' in capsys.readouterr().out
    # The preset's two epochs of a few texts would be two steps.
    ((count, recipe),) = recipes
    assert count < 2 * recipe.batch_size
    assert recipe.num_epochs == 60


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (
            "rank --target npz:grey.npz --zoo zoo --reference own",
            "a network of texts: the target",
        ),
        ("rank --target t.csv --zoo zoo --reference mnist", "no network of texts"),
        ("pair zoo/first own", "zoo/first is a network of texts and needs"),
        ("pair zoo/first own --data npz:grey.npz", "needs data that are texts"),
        ("pair mnist own --data t.csv", "mnist is no network of texts"),
        ("pair zoo/first own --data t.csv --epsilon 0.1", "--epsilon does nothing"),
        ("pair zoo/first own --data t.csv --text-column x", "has no column 'x'"),
        ("pair foreign own --data t.csv", "different tokens"),
        ("pair zoo/first own --data t.csv --num-steps 1", "2 or more for texts"),
        ("pair zoo/first own --data t.csv --data-dir x", "--data-dir does nothing"),
        (
            "rank --target t.csv --zoo zoo --reference own --data npz:grey.npz",
            "own is a network of texts and needs data that are texts",
        ),
        (
            "rank --target t.csv --zoo zoo --reference own --data t.csv "
            "--num-examples 5",
            "--num-examples must be 10 or more",
        ),
    ],
    ids=lambda value: value.replace(" ", "_")[:34],
)
def test_a_wrong_request_is_one_line(arguments, fault, folder, monkeypatch, capsys):
    words = write_tokenizer(folder / "words", [*TOKENS[:5], *TOKENS[5:][::-1]])
    networks.write_text_network(folder / "foreign", text_network(words))
    assert run(monkeypatch, folder, *arguments.split()) == 2
    output = capsys.readouterr()
    assert fault in output.err
    assert output.err.count("\n") == 1


def test_a_network_of_texts_is_a_row_with_its_reason_for_images(folder):
    target = zoo.image_target(
        f"npz:{folder}/grey.npz", per_class=None, num_test=None, seed=0
    )
    (source, *_) = zoo.sources(str(folder / "zoo"), target)
    with pytest.raises(SourceError, match="the target must be texts"):
        next(iter(source.features()))


def test_a_pair_of_texts_has_a_page_with_the_words(folder, monkeypatch, capsys):
    command = ("pair", "zoo/first", "own", "--data", "t.csv", "--num-examples", 20)
    command += ("--num-steps", 5, "--out", "out")
    assert run(monkeypatch, folder, *command) == 0
    printed = capsys.readouterr().out
    assert "20 texts; words replaced (T3), 5 steps" in " ".join(printed.split())
    stored = json.loads((folder / "out" / "pair.json").read_text())
    assert (stored["n"], stored["attack"]["epsilon"]) == (20, None)
    assert len(stored["examples"]) == 8
    words = stored["examples"][0]["words"]
    assert set(words["before"]) <= set(TOKENS[3:])
    page = (folder / "out" / "pair.html").read_text()
    assert "<del>" in page
    assert "8 texts, attacked" in page
    # What an attack has changed is what the page marks, and no more.
    changed = [
        (a, b)
        for one in stored["examples"]
        for after in ("on_target", "on_source")
        for a, b in zip(one["words"]["before"], one["words"][after], strict=True)
        if a != b
    ]
    assert 0 < page.count("<del>") <= len(changed)


def test_tables_that_would_be_read_wrongly_are_refused(tmp_path):
    file = tmp_path / "t.csv"
    for content, fault in [
        ("text,label\ngood film, really,good\nbad,bad\n", "example 1 has more fields"),
        ("", "is empty; it needs a head"),
        ("text,label\n", "holds no examples"),
        ("text,label\ngood film\n", "example 1 has no label"),
    ]:
        file.write_text(content)
        with pytest.raises(RequestError, match=fault):
            zoo.text_target(file)
    long = "word " * 40_000  # Beyond the limit that the reader has by itself.
    lines = "\n".join(f"{long}{i},{i % 2}" for i in range(20))
    file.write_text(f"text,label\n{lines}")
    assert len(zoo.text_target(file).texts[0]) > 150_000


def test_copies_of_texts_stay_in_one_block(folder, monkeypatch, capsys):
    rows = "".join(f"{TEXTS[i % 32]},{LABELS[i % 32]}\n" for i in range(64))
    (folder / "copies.csv").write_text(f"text,label\n{rows}")
    command = ("pair", "zoo/first", "own", "--data", "copies.csv", "--num-steps", 2)
    assert run(monkeypatch, folder, *command, "--json") == 0
    stored = json.loads(capsys.readouterr().out)
    assert any("repeat another one" in line for line in stored["warnings"])
    from jtransfer.ranking.estimates import functions

    target = zoo.text_target(folder / "copies.csv")
    source = zoo.named_source(str(folder / "own"), target)
    held = zoo.held_out_texts(folder / "copies.csv", zoo.TextReading())
    reference = zoo.reference(source, target, texts=held)
    blocks = functions.comparison(reference, target, seed=0).blocks
    compared = functions.comparison(reference, target, seed=0)
    for text in set(compared.texts):
        own = [blocks[i] for i, other in enumerate(compared.texts) if other == text]
        assert len(set(own)) == 1


def test_a_fine_tuning_that_diverges_is_a_row(folder, monkeypatch, capsys, both):
    broken = jax.tree.map(lambda leaf: leaf * 1e30, both[0].variables)
    wide = folder / "wide"
    networks.write_text_network(wide / "broken", both[0]._replace(variables=broken))
    networks.write_text_network(wide / "sound", both[0])
    command = ("rank", "--target", "t.csv", "--zoo", "wide", "--fine-tune", "--json")
    assert run(monkeypatch, folder, *command, "--scores", "nce") == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    accuracies = {row["source"] for row in rows if "verified_by" in json.dumps(row)}
    assert accuracies == {"sound"}
    reasons = " ".join(row.get("reason", "") for row in rows)
    assert "diverges" in reasons or "not finite" in reasons or "NaN" in reasons


def test_the_second_text_of_a_pair_is_told_on_the_page(both, examples):
    from jtransfer.pairs.shown_examples import shown_examples

    texts = [(text, "good film") for text in TEXTS[:10]]
    met = pairs.text_examples(both[0], texts, settings=SETTINGS)
    functions = [networks.text_function(network) for network in both]
    pair = pairs.examples_pair(*functions, met, np.arange(10))
    shown = shown_examples(
        pair, met, LABELS[:10], target_names=(), source_names=(), tokens=TOKENS
    )
    assert all(one.words.before.count("|") == 1 for one in shown)
    assert shown[0].target.before.name.startswith("output ")


def test_prepared_texts_are_targets(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    from test_data import prepare

    features = {
        "text": tfds.features.Text(),
        "title": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=["good", "bad"]),
        "kind": tfds.features.ClassLabel(names=["x", "y"]),
    }

    def examples(count):
        return [
            {"text": f"text {i} é", "title": "t", "label": i % 2, "kind": i // 2 % 2}
            for i in range(count)
        ]

    splits = [("train", examples(24)), ("test", examples(6))]
    prepare(tfds, tmp_path, "words", features, splits, supervised=("text", "label"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert data_root() == tmp_path
    assert zoo.is_text_table("words")
    assert not zoo.is_text_table("wordy")
    target = zoo.text_target("words", per_class=10, num_test=4)
    assert (len(target.texts), len(target.test_texts)) == (20, 4)
    assert target.class_names == ("bad", "good")
    assert {t.rpartition(" ")[2] for t in target.texts} == {"é"}
    pairs_of = zoo.text_target("words", text_columns=("title", "text"))
    assert pairs_of.texts[0][0] == "t"
    other = zoo.text_target("words", label_column="kind")
    assert other.class_names == ("x", "y")
    held_out = zoo.held_out_texts("words", zoo.TextReading())
    assert isinstance(held_out, Texts)
    assert len(held_out.texts) == 6
    # A folder of that name, such as of a network that learnt it, is no data set.
    (tmp_path / "work" / "words").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert len(zoo.text_target("words").texts) == 24
    hidden = [{**example, "label": -1} for example in examples(6)]
    splits = [("train", examples(24)), ("test", hidden)]
    prepare(tfds, tmp_path, "secret", features, splits, supervised=("text", "label"))
    with pytest.warns(RuntimeWarning, match="hides the labels of its split 'test'"):
        assert zoo.text_target("secret").test_texts is None
    with pytest.raises(RequestError, match="hides the labels"):
        zoo.split_texts("secret", zoo.TextReading(), seed=0)
    for reading, fault in [
        (zoo.TextReading(("label",)), "has no texts in its column 'label'"),
        (zoo.TextReading(("body",)), "has no column 'body'"),
        (zoo.TextReading(label_column="text"), "no class labels 'text'"),
    ]:
        with pytest.raises(RequestError, match=fault):
            zoo.held_out_texts("words", reading)
