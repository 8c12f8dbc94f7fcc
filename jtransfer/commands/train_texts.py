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
      num_examples: so many of each part, drawn alike from the classes.
      seed: of weights, order, draws and the test part.
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
    if len(parts[0].class_names) < 2:
        raise RequestError(f"--data: {data} has one class; a network tells two apart.")
    # In turn from each class: files are often in the order of the classes.
    train, test = (
        library.texts_at(
            part,
            library.block_balanced_order(part.labels, seed=seed)[:num_examples],
        )
        for part in parts
    )
    settings = transfer.TEXT_PRESETS[recipe.preset]
    settings = dataclasses.replace(settings, **recipe.changes())
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise RequestError(
            f"--model: {model} is no folder; texts need one of a BERT of Hugging Face, "
            "with config.json, model.safetensors and its tokenizer."
        )
    with naming("--model"):
        is_ours = networks.is_text_network(folder)
        own = networks.read_text_network(folder) if is_ours else None
        config = own.architecture.bert if is_ours else networks.bert_config(folder)
    if tokens is None:
        tokens = min(settings.num_tokens, config.max_length)
    with naming("--tokens"):
        networks.check_num_tokens(tokens, config, folder)
    settings = dataclasses.replace(settings, num_tokens=tokens)
    check_writable(out)
    with naming("--model"):
        if is_ours:
            start = transfer.with_new_classifier(own, train.class_names, seed=seed)
        else:
            start = networks.new_text_network(
                folder, train.class_names, num_tokens=tokens, seed=seed
            )
        start = transfer.with_tokens(start, tokens)
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
