"""Networks of the papers: each call returns `(logits, out)`, intermediates named."""

from jtransfer.models.alexnet import AlexNet as AlexNet
from jtransfer.models.batch_statistics import moved_statistics as moved_statistics
from jtransfer.models.batch_statistics import self_normalized as self_normalized
from jtransfer.models.efficientnet_lite import EfficientNetLite0 as EfficientNetLite0
from jtransfer.models.fully_connected import FullyConnected as FullyConnected
from jtransfer.models.functions import Variables as Variables
from jtransfer.models.functions import functional as functional
from jtransfer.models.functions import trainable as trainable
from jtransfer.models.lenet import LeNet as LeNet
from jtransfer.models.mobilenet import MobileNet as MobileNet
from jtransfer.models.one_hidden_layer import OneHiddenLayer as OneHiddenLayer
from jtransfer.models.resnet import ResNet as ResNet
from jtransfer.models.two_headed import TwoHeaded as TwoHeaded
from jtransfer.models.vgg import VGG as VGG
from jtransfer.models.wide_resnet import WideResNet as WideResNet
