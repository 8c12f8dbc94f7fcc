"""Labelled texts that need no download: how SciPy describes its functions, by topic.

SciPy is among what this package needs, and has the BSD licence. Another release of it
may word a function otherwise: the texts are the same for one release only.
"""

import collections
import importlib
import inspect
import re
from collections.abc import Mapping, Sequence

import numpy as np

from jtransfer._internal.provenance import bytes_fingerprint
from jtransfer.zoo._targets import Target, labelled_target

TOPICS = ("linalg", "ndimage", "optimize", "signal", "special", "stats")
"""Parts of SciPy, the classes of the texts."""
MAX_PER_TOPIC, MIN_WORDS, MAX_WORDS = 60, 8, 25

_MARKUP = re.compile(r":[\w:]+:`[^`]*`|`+[^`]*`+|\[\w+\]_|[*|]")
_SIGNATURE = re.compile(r"[\w.]+\(.*\)$")
_NO_PROSE = re.compile(r"\s|\.\.|.*(::|={3}|[\u2500-\u257f])", re.DOTALL)
"""Blocks of formulas and code are indented; directives and tables."""
_UNDERLINE = re.compile(r"^\s*[-=~]{3,}\s*$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]+")


def docstring_target(*, seed: int = 0) -> Target:
    """Returns texts that open the docstrings of SciPy's functions, and their topics.

    Args:
      seed: of the draw of the texts of a topic that has more than are used.

    Returns:
      The target: equally many texts a topic, none of them twice; a third are test
      examples.

    Example:
      >>> target = docstring_target()
      >>> target.class_names[:2], len(target.texts) == len(target.labels)
      (('linalg', 'ndimage'), True)
    """
    texts_of = balanced({topic: _docstrings(topic) for topic in TOPICS}, seed=seed)
    num_test = len(texts_of[TOPICS[0]]) // 3
    texts, labels = _of_all(texts_of, slice(num_test, None))
    test_texts, test_labels = _of_all(texts_of, slice(num_test))
    target = labelled_target(
        "docstrings",
        np.array(labels),
        test_labels=np.array(test_labels),
        digest=bytes_fingerprint("\n".join(labels + texts + test_texts).encode()),
    )
    return target._replace(texts=tuple(texts), test_texts=tuple(test_texts))


def _of_all(texts_of: Mapping[str, list[str]], part: slice) -> tuple[list, list]:
    texts = [text for topic in TOPICS for text in texts_of[topic][part]]
    return texts, [topic for topic in TOPICS for _ in texts_of[topic][part]]


def balanced(
    docstrings: Mapping[str, Sequence[str]], *, seed: int
) -> dict[str, list[str]]:
    """Makes texts of docstrings: equally many a topic, none twice, no topic named.

    A sentence that opens several docstrings, such as one on batches of matrices, would
    give away their topic and is left out of all of them.

    Args:
      docstrings: by topic.
      seed: of the draw.

    Returns:
      The texts by topic.

    Example:
      >>> first = "Solve a system of linear equations by some factorization."
      >>> second = "Return a window that tapers the ends of a finite signal."
      >>> balanced({"linalg": [first, first], "signal": [second]}, seed=0)["signal"]
      ['Return a window that tapers the ends of a finite']
    """
    kept = _own_texts(docstrings)
    uses = collections.Counter(key for texts in kept.values() for key in texts)
    unique = {
        topic: [text for key, text in texts.items() if uses[key] == 1]
        for topic, texts in kept.items()
    }
    size = min(MAX_PER_TOPIC, *map(len, unique.values()))
    rng = np.random.default_rng(seed)
    return {
        topic: [texts[i] for i in rng.permutation(len(texts))[:size]]
        for topic, texts in unique.items()
    }


def _own_texts(docstrings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """Texts of the sentences that one docstring alone has, by topic and letters."""
    topics = tuple(docstrings)
    sentences_of = {
        topic: [_sentences(text, topics) for text in dict.fromkeys(docstrings[topic])]
        for topic in topics
    }
    counts = collections.Counter(
        letters
        for parts in sentences_of.values()
        for sentences in parts
        for letters in set(map(_letters, sentences))
    )
    kept: dict[str, dict[str, str]] = {}
    for topic, parts in sentences_of.items():
        own = (" ".join(s for s in part if counts[_letters(s)] == 1) for part in parts)
        cut = (" ".join(text.split()[:MAX_WORDS]) for text in own)
        kept[topic] = {
            _letters(text): text for text in cut if len(text.split()) >= MIN_WORDS
        }
    return kept


def _docstrings(topic: str) -> list[str]:
    """Docstrings of the public functions of a part of SciPy, by their names."""
    module = importlib.import_module(f"scipy.{topic}")
    members = (getattr(module, name, None) for name in sorted(set(module.__all__)))
    functions = (m for m in members if inspect.isroutine(m) or isinstance(m, np.ufunc))
    return [inspect.getdoc(function) or "" for function in functions]


def _sentences(docstring: str, topics: Sequence[str]) -> list[str]:
    """The sentences before the first section, without markup and names of topics."""
    sentences = []
    for paragraph in re.split(r"\n\s*\n", docstring):
        if _UNDERLINE.search(paragraph):
            break
        line = " ".join(paragraph.split())
        if _NO_PROSE.match(paragraph) or _SIGNATURE.match(line):
            continue
        sentences += re.split(r"(?<=[.:;?!])\s+", _MARKUP.sub(" ", line))
    named = re.compile("|".join(("scipy", *topics)), re.IGNORECASE)
    words = ([w for w in s.split() if not named.search(w)] for s in sentences)
    return [" ".join(kept) for kept in words if any(map(_WORD.search, kept))]


def _letters(text: str) -> str:
    """A text by which copies are known, also where a number or a case differs."""
    return " ".join(_WORD.findall(text.lower()))
