"""Every script at its smallest, on made-up images and texts, in one process.

Run: `python -m experiments.smoke`, or with parts of the scripts' names to run these
alone; minutes on one core, nearly all of it compiling. The images are noise around a
colour of each class and lie for the time of the run in a folder of TensorFlow Datasets
under the names that the scripts read, with the real names of their classes; texts are
words of a class among others, for a BERT of one layer. A line a script with its
seconds, then the count; exit code 1 if one failed.
"""

import contextlib
import dataclasses
import importlib
import io
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# Before JAX is imported: compiling is nearly all the work, so optimise less. On some
# processors XLA logs lines about each program that it finds in its cache.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["XLA_FLAGS"] = (
    f"--xla_backend_optimization_level=1 {os.environ.get('XLA_FLAGS', '')}".strip()
)

import jax
import numpy as np

FOLDER = Path(__file__).parent
CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
TIN10 = (
    "airplane", "bear", "bird", "bus", "car",
    "cat", "dog", "fish", "ship", "truck",
)  # fmt: skip
SUPERCLASSES = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
    "household_electrical_devices", "household_furniture", "insects",
    "large_carnivores", "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes", "large_omnivores_and_herbivores",
    "medium_mammals", "non-insect_invertebrates", "people", "reptiles",
    "small_mammals", "trees", "vehicles_1", "vehicles_2",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """A data set under the name of a real one."""

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int] = (32, 32, 3)
    num_train: int = 400
    num_test: int = 300
    superclasses: tuple[str, ...] = ()
    """Each of as many classes."""


def numbered(word: str, count: int) -> tuple[str, ...]:
    """Names of so many classes."""
    return tuple(f"{word} {index}" for index in range(count))


DATA = (
    MadeUp("cifar10", CIFAR10),
    MadeUp(
        "cifar100",
        numbered("class", 100),
        num_train=2000,
        num_test=1000,
        superclasses=SUPERCLASSES,
    ),
    MadeUp("tin10", TIN10),
    MadeUp("tindogs", numbered("breed", 6), shape=(64, 64, 3), num_test=60),
    MadeUp("scene15", numbered("scene", 15), shape=(64, 64, 1), num_test=150),
)


def write_data(made_up: MadeUp, folder: Path) -> None:
    """Prepares a made-up data set as TensorFlow Datasets would, without TensorFlow."""
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=made_up.shape),
        "label": tfds.features.ClassLabel(names=list(made_up.classes)),
    }
    if made_up.superclasses:
        names = list(made_up.superclasses)
        features["coarse_label"] = tfds.features.ClassLabel(names=names)

    counts = {"train": made_up.num_train, "test": made_up.num_test}
    splits = {
        split: examples(made_up, count, seed)
        for seed, (split, count) in enumerate(counts.items())
    }
    prepare(made_up.name, features, ("image", "label"), splits, folder)


def prepare(
    name: str,
    features: dict,
    supervised: tuple[str, str],
    splits: Mapping[str, Iterable[dict]],
    folder: Path,
) -> None:
    """Prepares a data set as TensorFlow Datasets would, without TensorFlow."""
    import tensorflow_datasets as tfds

    def info(builder):
        return tfds.core.DatasetInfo(
            builder=builder,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=supervised,
        )

    body = {
        "name": name,
        "VERSION": tfds.core.Version("1.0.0"),
        "__module__": __name__,
        "_info": info,
        "_split_generators": lambda builder, _: {
            split: enumerate(part) for split, part in splits.items()
        },
        "_generate_examples": lambda builder: iter(()),
    }
    with tfds.core.registered.skip_registration():
        builder = type("MadeUpBuilder", (tfds.core.GeneratorBasedBuilder,), body)
    options = tfds.download.DownloadConfig(
        try_download_gcs=False, compute_stats="skip", verify_ssl=False
    )
    prepared = builder(data_dir=folder, file_format="array_record")
    prepared.download_and_prepare(download_config=options)


def examples(made_up: MadeUp, count: int, seed: int) -> Iterator[dict]:
    """Yields noise around a colour of each class, the classes in turn."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    num_classes, channels = len(made_up.classes), made_up.shape[-1]
    colours = np.random.default_rng(2).uniform(40, 215, (num_classes, channels))
    for index in range(count):
        label = index % num_classes
        pixels = rng.normal(colours[label], 40, made_up.shape).clip(0, 255)
        stream = io.BytesIO()
        picture = pixels.astype(np.uint8)
        Image.fromarray(picture[..., 0] if channels == 1 else picture).save(
            stream, "PNG", compress_level=1
        )
        example = {"image": stream.getvalue(), "label": label}
        if made_up.superclasses:
            example["coarse_label"] = label * len(made_up.superclasses) // num_classes
        yield example


TEXTS = (
    "imdb_reviews",
    "mr_polarity",
    "yelp_polarity_sample",
    "ag_news_subset",
    "fakenewsnet_titles",
    "covid_fake_news",
)
WORDS = ("good", "bad", "film", "news", "today", "more", "less", "!")


def write_texts(name: str, folder: Path) -> None:
    """Prepares a made-up data set of texts as TensorFlow Datasets would."""
    import tensorflow_datasets as tfds

    def made_up(count: int, seed: int) -> Iterator[dict]:
        rng = np.random.default_rng(seed)
        for index in range(count):
            words = [WORDS[index % 2], *rng.choice(WORDS[2:], 5)]
            yield {"text": " ".join(words), "title": "", "label": index % 2}

    texts = {"text": tfds.features.Text(), "title": tfds.features.Text()}
    label = tfds.features.ClassLabel(names=["good", "bad"])
    splits = {"train": list(made_up(64, 0)), "test": list(made_up(64, 1))}
    prepare(name, {**texts, "label": label}, ("text", "label"), splits, folder)


def write_encoder(folder: Path) -> None:
    """Writes a BERT of one layer, as it is drawn, with its vocabulary."""
    from flax import nnx

    from jtransfer import models, networks

    folder.mkdir(parents=True)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    sizes = networks.BertConfig(len(tokens), 1, 1, 4, 4, 16, 2, 0, 1e-12)
    architecture = networks.TextArchitecture(
        num_classes=2, num_tokens=8, bert=sizes, separator_id=3
    )
    _, variables = models.functional(networks.model(architecture, rngs=nnx.Rngs(0)))
    network = networks.TextNetwork(architecture, variables, folder, ("a", "b"), {})
    networks.write_text_network(folder, network)


def script_names() -> list[str]:
    """The modules that have presets, folder by folder."""
    return [
        f"experiments.{path.parent.name}.{path.stem}"
        for path in sorted(FOLDER.glob("*/*.py"))
        if "PRESETS" in path.read_text(encoding="utf-8")
    ]


def small_config(presets: Mapping, folder: Path, paper: str):
    """The config of a smoke preset, with all of its places in a folder."""
    _, config = presets["smoke"]
    places = {
        "data_dir": str(folder / "data"),
        "out": folder / "runs" / paper,
        "results": folder / "results",
        "encoder": str(folder / "encoder"),
    }
    fields = {field.name for field in dataclasses.fields(config)}
    return dataclasses.replace(
        config, **{name: place for name, place in places.items() if name in fields}
    )


def run_script(name: str, folder: Path) -> str | None:
    """Runs one script; returns what it printed if it failed, None if it did not."""
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        try:
            script = importlib.import_module(name)
            paper = name.split(".")[1]
            script.main(small_config(script.PRESETS, folder, paper), "smoke")
        except Exception:
            traceback.print_exc()
            return screen.getvalue()
    return None


def main(parts: list[str]) -> int:
    """Runs the scripts whose names hold one of the parts; returns the exit code."""
    names = [
        name
        for name in script_names()
        if not parts or any(part in name for part in parts)
    ]
    cache = FOLDER.parent / ".cache" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    failed, begin = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            for made_up in DATA:
                write_data(made_up, folder / "data")
            for name in TEXTS:
                write_texts(name, folder / "data")
            write_encoder(folder / "encoder")
        for name in names:
            start = time.perf_counter()
            trouble = run_script(name, folder)
            state = "ok" if trouble is None else "FAILED"
            seconds = time.perf_counter() - start
            print(f"{seconds:6.1f} s  {state:6}  {name}", flush=True)
            if trouble is not None:
                failed.append(name)
                print(trouble, flush=True)
    minutes = (time.perf_counter() - begin) / 60
    print(f"{len(names) - len(failed)} of {len(names)} scripts ran, {minutes:.1f} min")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
