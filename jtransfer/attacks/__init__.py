"""Gradient attacks on functions of one example: FGSM, PGD and momentum, one loop.

What is measured with them is defined by Liang et al., "Uncovering the Connections
Between Adversarial Transferability and Knowledge Transferability", 2021.
"""

from jtransfer.attacks.best import best_attack as best_attack
from jtransfer.attacks.gradient import fgsm as fgsm
from jtransfer.attacks.gradient import pgd as pgd
from jtransfer.attacks.gradient import pgd_step as pgd_step
from jtransfer.attacks.losses import cross_entropy_loss as cross_entropy_loss
from jtransfer.attacks.losses import deviation_loss as deviation_loss
from jtransfer.attacks.losses import prediction_loss as prediction_loss
from jtransfer.attacks.norms import L2 as L2
from jtransfer.attacks.norms import LINF as LINF
from jtransfer.attacks.norms import Norm as Norm
from jtransfer.attacks.words import WordAttackResult as WordAttackResult
from jtransfer.attacks.words import word_attack as word_attack
