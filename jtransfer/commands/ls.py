"""`jtransfer ls`: the scores and the networks inside the package."""


def ls_command() -> int:
    """List the scores, what each needs, and the networks inside the package.

    Returns:
      0.
    """
    from rich.console import Console
    from rich.table import Table

    from jtransfer import ranking
    from jtransfer.zoo import embedded

    scores = Table("score", "needs", "reference", header_style="bold")
    needs = {"probabilities": "logits", "source_labels": "logits"}
    needs |= dict.fromkeys(ranking.OF_REFERENCE, "a network, --reference")
    needs |= dict.fromkeys(ranking.ON_REQUEST, "features, logits; by name only")
    for name, score in ranking.SCORES.items():
        scores.add_row(name, needs.get(score.needs, "features"), score.reference)
    networks = Table("embedded source", "accuracy there", "what it learned")
    for network in embedded.embedded_networks():
        accuracy = network.facts.get("source_accuracy")
        shown = "-" if accuracy is None else f"{accuracy:.3f}"
        networks.add_row(network.name, shown, str(network.facts.get("source", "")))
    console = Console()
    console.print(scores)
    console.print(networks)
    return 0
