"""Rows of a ranking, texts that attack a page, and how tests read one."""

import dataclasses
from html.parser import HTMLParser

import numpy as np

from jtransfer.ranking import Failed, Run, Scored

SCORES = ("logme", "leep", "sinkhorn", "my-score", "ridge_probe")
STATIC = ("source_accuracy", "parameters")
HOSTILE = (
    "<script>hacked=1</script>",
    "</script></style></title><img src=x onerror=hacked=1>",
    "\"' onmouseover='hacked=1' x=\"",
    "javascript:hacked=1 {{7*7}} ${hacked=1} ]]> &lt;b&gt; <!--",
    "\0\x1b[31m\ud800\ufffe",
)

RUN = Run(
    target="digits",
    target_hash="ab",
    class_names=list("0123456789"),
    code_hash="cd",
    versions={"jax": "0.10.2"},
    device="cpu",
    seed=0,
    created="2026-11-21T09:54:12+00:00",
)


def make_rows(num_sources=8, scores=SCORES + STATIC, name="model-{:02d}"):
    """Scores that follow a known quality, with noise, and a source that failed."""
    rng = np.random.default_rng(0)
    quality = np.linspace(0.95, 0.3, num_sources)
    rows = []
    for score in scores:
        values = quality + rng.normal(0, 0.02, num_sources)
        values = 10 ** (4 + 4 * values) if score == "parameters" else values
        for rank, i in enumerate(np.argsort(-values), start=1):
            row = Scored(
                source=name.format(i),
                score=score,
                value=float(values[i]),
                n=500,
                d=64,
                num_classes=10,
                rank=rank,
                source_hash=f"ef{i}",
                seconds=1.5,
                facts={"parameters": 4000 * int(i), "accuracy": float(quality[i])},
                run=RUN,
            )
            if score not in STATIC:
                row = dataclasses.replace(
                    row,
                    standard_error=0.02,
                    low=row.value - 0.05,
                    high=row.value + 0.05,
                    chance=0.1,
                    chance_high=0.15,
                    group=rank // 2,
                    beats_next=0.8,
                )
            rows.append(row)
    return [*rows, Failed(source="broken", reason="ValueError: NaN in features")]


def read(page):
    """The tags, the attributes and the text of a page."""
    starts, texts, parser = [], [], HTMLParser()
    parser.handle_starttag = lambda tag, pairs: starts.append((tag, pairs))
    parser.handle_data = texts.append
    parser.feed(page)
    attributes = [pair for _, pairs in starts for pair in pairs]
    return [tag for tag, _ in starts], attributes, " ".join("".join(texts).split())
