"""Spellings of November 2026 that are still taken, each with a note.

They go with the second release after the one that has renamed them.
"""

from collections.abc import Iterable

_OPTIONS = {
    "train": {"--limit": "--num-examples"},
    "extract": {"--limit": "--num-examples"},
    "distill": {"--limit": "--num-examples", "--alpha": "--label-weight"},
    "rank": {"--num-images": "--num-examples"},
    "pair": {"--num-images": "--num-examples"},
    "select": {"--alpha": "--label-weight", "--beta": "--transport-weight"},
}
_METHODS = {
    "activations+jacobians": "activations-and-jacobians",
    "attention+jacobians": "attention-and-jacobians",
    "lwf": "lwf",
    "sinkhorn": "sinkhorn",
}
_WEIGHTS = {
    "activations-and-jacobians": {
        "--beta": "--logits-weight",
        "--gamma": "--jacobian-weight",
    },
    "attention-and-jacobians": {
        "--beta": "--logits-weight",
        "--gamma": "--jacobian-weight",
        "--delta": "--attention-weight",
    },
    "lwf": {"--beta": "--logits-weight"},
    "sinkhorn": {"--beta": "--transport-weight"},
}


def current_arguments(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments in today's spelling, and a note for each that was another.

    Args:
      arguments: of the command line, the sub-command first.

    Returns:
      Arguments and notes.

    Example:
      >>> current_arguments(["distill", "--method", "lwf", "--beta", "3"])[0]
      ['distill', 'lwf', '--logits-weight', '3']
    """
    command, *rest = [*arguments, ""]
    if not rest:
        return [], []
    rest.pop()
    notes: list[str] = []
    table = _OPTIONS.get(command, {})
    if command == "distill":
        method, rest, notes = _method(rest)
        table = {**table, **_WEIGHTS.get(method or "", {})}
    renamed = [_renamed(argument, table, notes) for argument in rest]
    return [command, *renamed], list(dict.fromkeys(notes))


def _method(rest: list[str]) -> tuple[str | None, list[str], list[str]]:
    """Finds the method of `distill`, and puts one of `--method` where it stands now."""
    rest = list(rest)
    for i, argument in enumerate(rest):
        name, equals, value = argument.partition("=")
        if name != "--method":
            continue
        given = value if equals else "".join(rest[i + 1 : i + 2])
        method = _METHODS.get(given, given)
        del rest[i : i + (1 if equals else 2)]
        note = f"`distill --method {given}` is now `distill {method}`."
        return method, [method, *rest], [note]
    return (rest[0] if rest else None), rest, []


def _renamed(argument: str, table: dict[str, str], notes: list[str]) -> str:
    name, equals, value = argument.partition("=")
    spelled = name.replace("_", "-") if name.startswith("--") else name
    if spelled not in table:
        return argument
    notes.append(f"{spelled} is now {table[spelled]}.")
    return f"{table[spelled]}{equals}{value}"
