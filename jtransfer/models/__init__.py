"""Networks of the papers: each call returns `(logits, out)`, intermediates named."""

from jtransfer._internal.lazy import lazy_attribute

# Resolved on first use: Flax takes longer to import than a small ranking.
_MODULE_OF = {
    "AlexNet": "alexnet",
    "moved_statistics": "batch_statistics",
    "self_normalized": "batch_statistics",
    "Bert": "bert",
    "TokenVectors": "bert",
    "token_types": "bert",
    "Branched": "branched",
    "EfficientNetLite": "efficientnet_lite",
    "EfficientNetLite0": "efficientnet_lite",
    "FullyConnected": "fully_connected",
    "Variables": "_variables",
    "functional": "functions",
    "trainable": "functions",
    "LeNet": "lenet",
    "MobileNet": "mobilenet",
    "OneHiddenLayer": "one_hidden_layer",
    "ResNet": "resnet",
    "TwoHeaded": "two_headed",
    "VGG": "vgg",
    "WideResNet": "wide_resnet",
}


def __getattr__(name: str):
    return lazy_attribute(__name__, name, _MODULE_OF)


def __dir__():
    return sorted(_MODULE_OF)
