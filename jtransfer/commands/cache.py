"""`jtransfer cache`: the features of models that are kept."""

from typing import Literal


def cache_command(
    action: Literal["list", "clear"] = "list",
    model: str | None = None,
    /,
    *,
    older: float | None = None,
) -> int:
    """List or remove the features of models of other libraries that are kept.

    Try these:
      jtransfer cache

      jtransfer cache clear --older 30

      jtransfer cache clear timm:resnet18

    Args:
      action: What to do with them; clear alone also removes what ended runs left.
      model: Only those whose names hold this text.
      older: Only those that no ranking has read for so many days.

    Returns:
      0.
    """
    import time

    from jtransfer.commands.options import check_positive
    from jtransfer.report.screen import console, plain_table, text
    from jtransfer.zoo import extraction

    check_positive(older=older)
    root = extraction.models_cache(None)
    entries = [
        entry
        for entry in extraction.cached_features(root)
        if (model is None or model in entry.spec)
        and (older is None or time.time() - entry.used > older * 86_400)
    ]
    if action == "clear":
        free = extraction.remove_features(entries)
        if model is None and older is None:
            free += extraction.remove_ended_work(root)
        print(f"Removed the features of {_models(entries)}, {free / 1e6:.1f} MB.")
        return 0
    size = sum(entry.size for entry in entries)
    table = plain_table(
        ("model", "MB", "days since read"),
        caption=f"{root}: {_models(entries)}, {size / 1e6:.1f} MB.",
        num_left=1,
    )
    for entry in entries:
        days = (time.time() - entry.used) / 86_400
        table.add_row(text(entry.spec), f"{entry.size / 1e6:.1f}", f"{days:.1f}")
    console().print(table)
    return 0


def _models(entries: list) -> str:
    return "1 model" if len(entries) == 1 else f"{len(entries)} models"
