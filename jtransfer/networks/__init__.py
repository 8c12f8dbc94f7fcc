"""Trained networks: by name, on disk, and applied to images.

A network on disk is a folder with `network.json` (architecture, classes, facts) and
`variables.npz` (plain arrays): nothing in it can run.
"""

from jtransfer._internal.lazy import lazy_attribute

# Resolved on first use: what they import (Flax) takes longer than a small ranking.
_MODULE_OF = {
    "function": "_outputs",
    "layer_outputs": "_outputs",
    "layers": "_outputs",
    "outputs": "_outputs",
    "EXAMPLES": "architectures",
    "Architecture": "architectures",
    "Network": "architectures",
    "TextArchitecture": "architectures",
    "abstract": "architectures",
    "check_images": "architectures",
    "apply_fn_of": "architectures",
    "count": "architectures",
    "model": "architectures",
    "takes_vectors": "architectures",
    "BertConfig": "bert_files",
    "TokenizedTexts": "bert_tokens",
    "bert_config": "bert_files",
    "bert_tokenizer": "bert_tokens",
    "read_bert": "bert_files",
    "token_mask": "bert_tokens",
    "vocabulary": "bert_tokens",
    "ARRAYS_FILE": "disk",
    "JSON_FILE": "disk",
    "read_network": "disk",
    "variable_names": "disk",
    "variables_in": "disk",
    "write_network": "disk",
    "pretrained": "pretrained",
    "TextFunction": "text_networks",
    "TextNetwork": "text_networks",
    "check_num_tokens": "text_networks",
    "check_same_tokens": "text_networks",
    "check_tokenizer_place": "text_disk",
    "is_text_network": "kinds",
    "new_text_network": "text_disk",
    "read_text_network": "text_disk",
    "text_function": "text_networks",
    "text_layer_outputs": "text_networks",
    "text_layers": "text_networks",
    "text_outputs": "text_networks",
    "tokenized": "text_networks",
    "tokenizer_files": "text_disk",
    "write_text_network": "text_disk",
}


def __getattr__(name: str):
    return lazy_attribute(__name__, name, _MODULE_OF)


def __dir__():
    return sorted(_MODULE_OF)
