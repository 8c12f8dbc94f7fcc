"""`jtransfer train` on texts: a BERT, all of whose layers learn."""

from pathlib import Path

from jtransfer.commands.options import (
    RecipeOptions,
    check_positive,
    check_writable,
    naming,
)


def train_on_texts(
    model: str,
    data: str,
    out: Path,
    recipe: RecipeOptions,
    *,
    num_examples: int | None,
    seed: int,
    data_dir: str | None,
    tokens: int | None,
    text_column: tuple[str, ...] | None,
    label_column: str | None,
) -> int:
    """Trains a network of texts and writes it.

    Args:
      model: folder of a BERT of Hugging Face, or of a network of texts.
      data: texts, as `zoo.text_target` takes them.
      out: folder for the network.
      recipe: how it is trained.
      num_examples: the first texts only, so many of each part.
      seed: of weights, order, dropout and the test part.
      data_dir: where prepared data sets lie.
      tokens: of every text.
      text_column: column of the texts, or two of pairs of texts.
      label_column: column of their classes.

    Returns:
      0.

    Raises:
      RequestError: if an option is wrong or a file cannot be read.
    """
    import dataclasses

    from jtransfer import data as library
    from jtransfer import networks, transfer
    from jtransfer._internal.errors import RequestError
    from jtransfer.zoo import TextReading, split_texts

    check_positive(tokens=tokens)
    columns = TextReading(text_column or ("text",), label_column, data_dir)
    with naming("--data"):
        parts = split_texts(data, columns, seed=seed)
    train, test = (
        library.texts_at(part, range(len(part.texts))[:num_examples]) for part in parts
    )
    settings = transfer.TEXT_PRESETS[recipe.preset]
    changes = {} if tokens is None else {"num_tokens": tokens}
    settings = dataclasses.replace(settings, **changes, **recipe.changes())
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise RequestError(
            f"--model: {model} is no folder; texts need one of a BERT of Hugging Face, "
            "with config.json, model.safetensors and its tokenizer."
        )
    check_writable(out)
    with naming("--model"):
        if networks.is_text_network(folder):
            start = transfer.with_new_classifier(
                networks.read_text_network(folder), train.class_names, seed=seed
            )
        else:
            start = networks.new_text_network(
                folder, train.class_names, num_tokens=settings.num_tokens, seed=seed
            )
        start = transfer.with_tokens(start, settings.num_tokens)
    network = transfer.train_text_network(
        start,
        train,
        test,
        recipe=settings,
        folder=out,
        seed=seed,
        facts={"source": f"{data}, {len(train.class_names)} classes", "model": "bert"},
    )
    print(f"{out}: test accuracy {network.facts['source_accuracy']:.4f}")
    return 0
