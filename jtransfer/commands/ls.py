"""`jtransfer ls`: scores, networks inside the package, models of other libraries."""


def ls_command(models: str | None = None, /) -> int:
    """List the scores, what each says and needs, and the networks inside the package.

    Try these:
      jtransfer ls

      jtransfer ls "timm:*resnet18*"

      jtransfer ls "torchvision:*"

    Args:
      models: List models of another library in place of these: timm:PATTERN,
        torchvision:PATTERN or hf:PATTERN, where * stands for any letters. It says
        which are on this machine, how many MB they have, and their licence.

    Returns:
      0.
    """
    if models is not None:
        return _list_models(models)
    from jtransfer import ranking
    from jtransfer.report.screen import console, decimal, plain_table, text
    from jtransfer.zoo import embedded

    scores = plain_table(
        ("score", "what it says", "needs", "published"),
        caption="The report says of each score when not to trust it.",
        num_left=4,
    )
    needs = {"probabilities": "logits", "source_labels": "logits"}
    needs["left_out_probabilities"] = "logits; by name only"
    needs["neighbours"] = "features; by name only"
    needs |= dict.fromkeys(ranking.OF_REFERENCE, "a network, --reference")
    needs["transport"] = "features, logits; by name only"
    needs["reference_student"] = f"{needs['transport']}, --reference"
    needs["own_student"] = f"{needs['transport']}, student_logits"
    for name, score in ranking.SCORES.items():
        says = f"{score.meaning} {score.range}".strip()
        need = needs.get(score.needs, "features")
        scores.add_row(*map(text, (name, says, need, score.reference)))
    for name, declared in ranking.DECLARED.items():
        says = f"{declared.meaning} {declared.range}".strip()
        scores.add_row(*map(text, (name, says, "the fact", "-")))
    networks = plain_table(
        ("embedded source", "accuracy there", "what it learned"), num_left=3
    )
    for network in embedded.embedded_networks():
        accuracy = decimal(network.facts.get("source_accuracy"))
        networks.add_row(network.name, accuracy, str(network.facts.get("source", "")))
    screen = console()
    screen.print(scores)
    screen.print(networks)
    return 0


def _list_models(text_of_spec: str) -> int:
    from jtransfer._internal.errors import RequestError
    from jtransfer.report.screen import console, plain_table, text
    from jtransfer.zoo.globs import LISTED, model_listing
    from jtransfer.zoo.specs import is_spec, model_spec

    if not is_spec(text_of_spec) or text_of_spec.partition(":")[0] not in LISTED:
        known = ", ".join(f"{library}:PATTERN" for library in LISTED)
        raise RequestError(f"{text_of_spec} is none of {known}.")
    listed = model_listing(model_spec(text_of_spec))
    here = sum(model["here"] for model in listed)
    table = plain_table(
        ("model", "here", "MB", "licence"),
        caption=f"{len(listed)} models match; {here} are on this machine. "
        "A ranking takes others with --download only.",
        num_left=2,
    )
    for model in listed:
        size = model["megabytes"]
        table.add_row(
            text(model["model"]),
            "yes" if model["here"] else "",
            "" if size is None else f"{size:.0f}",
            text(model["licence"]),
        )
    console().print(table)
    return 0
