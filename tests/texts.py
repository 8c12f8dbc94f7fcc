"""Tiny networks of texts with weights of order one, and files of an encoder."""

import json
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from jtransfer import models, networks
from jtransfer.networks import BertConfig, TextArchitecture, TextNetwork

TOKENS = [
    "[PAD]",
    "[CLS]",
    "[SEP]",
    "[UNK]",
    "[MASK]",
    "good",
    "bad",
    "fine",
    "poor",
    "film",
    "plot",
    "actor",
    "##s",
    "##ly",
    "!",
    ".",
]
VOCABULARY = len(TOKENS)
NUM_TOKENS = 9


def write_tokenizer(folder: Path, tokens=TOKENS) -> Path:
    """A folder with a vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return folder


def architecture(*, num_classes=2, width=6, vocab_size=VOCABULARY, longest=12):
    """Two blocks."""
    bert = BertConfig(
        vocab_size=vocab_size,
        num_layers=2,
        num_heads=2,
        width=width,
        hidden_width=10,
        max_length=longest,
        num_types=2,
        pad_id=0,
        norm_epsilon=1e-12,
    )
    return TextArchitecture(
        num_classes=num_classes, num_tokens=NUM_TOKENS, bert=bert, separator_id=2
    )


def text_network(
    tokenizer: Path, *, seed=0, class_names=("bad", "good"), **sizes
) -> TextNetwork:
    """A network whose weights are drawn, of order one."""
    a = architecture(num_classes=len(class_names), **sizes)
    shapes = nnx.eval_shape(lambda: networks.model(a, rngs=nnx.Rngs(0)))
    _, specs = models.functional(shapes)
    rng = np.random.default_rng(seed)

    def weights(path, leaf):
        values = rng.normal(size=leaf.shape)
        if path[-1].key == "kernel":
            values *= 1.5 / leaf.shape[0] ** 0.5
        if path[-1].key in ("scale", "bias"):
            values = (path[-1].key == "scale") + 0.3 * values
        return np.asarray(values, np.float32)

    variables = jax.tree.map_with_path(weights, specs)
    return TextNetwork(a, variables, tokenizer, tuple(class_names), {})


def write_encoder(folder: Path, network: TextNetwork) -> Path:
    """The encoder of a network in the files of Hugging Face."""
    from safetensors.numpy import save_file

    write_tokenizer(folder)
    bert, p = network.architecture.bert, network.variables.params
    settings = {
        "model_type": "bert",
        "vocab_size": bert.vocab_size,
        "hidden_size": bert.width,
        "num_hidden_layers": bert.num_layers,
        "num_attention_heads": bert.num_heads,
        "intermediate_size": bert.hidden_width,
        "max_position_embeddings": bert.max_length,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    state = {
        "embeddings.word_embeddings.weight": p["words"],
        "embeddings.position_embeddings.weight": p["positions"],
        "embeddings.token_type_embeddings.weight": p["types"],
    }
    layers = {"embeddings.LayerNorm": p["norm"]}
    for i, block in enumerate(p["blocks"].values()):
        layers |= {f"encoder.layer.{i}.{NAMES[own]}": block[own] for own in NAMES}
    for name, layer in layers.items():
        kernel = layer["scale"] if "scale" in layer else layer["kernel"].T
        state |= {f"{name}.weight": kernel, f"{name}.bias": layer["bias"]}
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    save_file(arrays, folder / "model.safetensors")
    return folder


NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "hidden": "intermediate.dense",
    "projection": "output.dense",
    "output_norm": "output.LayerNorm",
}
"""Of the parts of a block."""


def reviews(count: int, seed=0) -> tuple[list[str], list[str]]:
    """Texts whose only word of praise or blame decides their class."""
    rng = np.random.default_rng(seed)
    words = {"good": ("good", "fine"), "bad": ("bad", "poor")}
    texts, labels = [], []
    for i in range(count):
        label = ("good", "bad")[i % 2]
        rest = list(rng.choice(["film", "plot", "actors", "!", "."], 4))
        rest.insert(rng.integers(5), words[label][rng.integers(2)])
        texts.append(" ".join(rest))
        labels.append(label)
    return texts, labels
