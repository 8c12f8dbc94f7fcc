"""The command that says why one network serves to learn another's task."""

from pathlib import Path

from jtransfer.commands.options import check_writable


def pair_command(
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
    from jtransfer._internal.errors import RequestError
    from jtransfer._internal.progress import stage_progress
    from jtransfer.pairs import summary as pair_summary
    from jtransfer.pairs.results import pair_json

    if num_images < 10 or num_steps < 1 or not epsilon > 0 or seed < 0:
        raise RequestError(
            "--num-images must be at least 10, --num-steps at least 1, --epsilon "
            "positive and --seed not negative."
        )
    if out is not None:
        check_writable(out)
    networks = pair_summary.pair_networks(source, target)
    images = pair_summary.pair_images(
        data, networks, data_dir=data_dir, image_size=image_size
    )
    with stage_progress(min(num_images, len(images.images)), "images") as advance:
        summary = pair_summary.pair_summary(
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
        print(report.json_line(pair_json(summary)))
    else:
        report.show_pair(summary)
    if out is not None:
        for path in [*report.write_pair(summary, out), *report.draw_pages(out)]:
            print(f"Wrote {path}", file=sys.stderr)
    if not report.is_finite_pair(summary):
        print("Failed: outputs or gradients are not finite.", file=sys.stderr)
        return 1
    return 0
