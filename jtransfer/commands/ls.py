"""`jtransfer ls`: the scores and the networks inside the package."""


def ls_command() -> int:
    """List the scores, what each says and needs, and the networks inside the package.

    Try these:
      jtransfer ls

    Returns:
      0.
    """
    from jtransfer import ranking
    from jtransfer.report.screen import console, decimal, plain_table, text
    from jtransfer.zoo import embedded

    scores = plain_table(
        ("score", "what it says", "needs", "published"),
        caption="The report says of each score when not to trust it.",
        num_left=4,
    )
    needs = {"probabilities": "logits", "source_labels": "logits"}
    needs |= dict.fromkeys(ranking.OF_REFERENCE, "a network, --reference")
    needs |= dict.fromkeys(ranking.ON_REQUEST, "features, logits; by name only")
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
