"""The command that says why one network serves to learn another's task."""

import contextlib
from pathlib import Path

from jtransfer._commands.paths import check_writable


def pair(
    source: str,
    target: str,
    /,
    *,
    data: str | None = None,
    num_images: int = 500,
    epsilon: float = 0.1,
    num_steps: int = 10,
    out: Path | None = None,
    json: bool = False,
    seed: int = 0,
    data_dir: str | None = None,
    image_size: int | None = None,
) -> int:
    """Say why a source serves a target: attacks and gradients of two networks.

    alpha1: how far attacks made on one network move the other, as a share of what its
    own attack does. alpha2: whether both networks' outputs turn together under these
    attacks; alpha12: both at once. Attacks are PGD in the largest change of a pixel,
    from a random start, on the cross-entropy against the network's own prediction, in
    steps of 5 epsilon / num_steps. The own attack in alpha1 is the stronger of that one
    and the one under test: only so is alpha1 at most 1. Chance is what attacks made for
    other images do.

    Matching distances: what the best affine map of one network leaves of the other, in
    gradients and in outputs; also the share that it explains.

    Try these:
      jtransfer pair fashion mnist

      jtransfer pair zoo/resnet18 zoo/lenet --data cifar10 --out ranking

      jtransfer pair zoo/a zoo/b --data npz:images.npz --num-images 100 --num-steps 50

    Args:
      source: A network that jtransfer train has made, or one inside the package by its
        name (see jtransfer ls).
      target: The model of the target's task, named in the same way.
      data: Images that fit both networks: a TFDS name, imagefolder:DIR or npz:FILE; the
        test split, or else the training split. UCI digits for networks inside the
        package.
      num_images: How many of them, at most, drawn at random.
      epsilon: Largest change of a pixel, of values in [0, 1].
      num_steps: Gradients of an attack.
      out: Folder for pair.json and pair.html; a ranking that lies there shows the pair
        in its report.
      json: Print the numbers as JSON instead of tables.
      seed: Seed of the draw, the blocks and the attacks.
      data_dir: Where prepared TFDS data sets lie; TFDS_DATA_DIR by default.
      image_size: Side to which images of different sizes are resized.

    Returns:
      0, or 1 if the networks gave numbers that are not finite.
    """
    import sys

    from jtransfer import report
    from jtransfer._pair import report as pair_report
    from jtransfer._pair import summary as pair_summary
    from jtransfer.zoo import RequestError

    if num_images < 10 or num_steps < 1 or not epsilon > 0 or seed < 0:
        raise RequestError(
            "--num-images must be at least 10, --num-steps at least 1, --epsilon "
            "positive and --seed not negative."
        )
    if out is not None:
        check_writable(out)
    networks = pair_summary.models(source, target)
    images = pair_summary.images_of(
        data, networks, data_dir=data_dir, image_size=image_size
    )
    with _progress(min(num_images, len(images.images))) as advance:
        found = pair_summary.summary(
            networks,
            images,
            name=data or "digits",
            num_images=num_images,
            epsilon=epsilon,
            num_steps=num_steps,
            seed=seed,
            advance=advance,
        )
    if json:
        print(report.json_line(found))
    else:
        pair_report.show(found)
    for path in [] if out is None else pair_report.written(found, out):
        print(f"Wrote {path}", file=sys.stderr)
    if not pair_report.is_finite(found):
        print("Failed: outputs or gradients are not finite.", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _progress(total: int):
    """Yields what is called with a stage and how many more images are done."""
    import sys
    import time

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            tasks = {}

            def advance(stage, count):
                if stage not in tasks:
                    tasks[stage] = progress.add_task(stage.capitalize(), total=total)
                progress.advance(tasks[stage], count)

            yield advance
        return
    done, last = {}, time.monotonic()

    def advance(stage, count):
        nonlocal last
        done[stage] = done.get(stage, 0) + count
        # A line a stage, and every ten seconds of a long one.
        if done[stage] == total or time.monotonic() - last > 10:
            last = time.monotonic()
            print(f"{stage}: {done[stage]}/{total} images", file=sys.stderr, flush=True)

    yield advance
