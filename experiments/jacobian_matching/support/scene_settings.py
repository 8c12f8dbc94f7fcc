"""Settings of the tables on scenes, and their presets."""

import dataclasses
from pathlib import Path

from experiments import harness
from experiments.jacobian_matching.support import training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the tables on scenes."""

    student_width: int
    pretraining: training.Training
    """Of the student that is the oracle, and of a teacher that is trained here."""
    teacher_depth: int | None = None
    """Of a residual network that is trained on the source; None for the
    EfficientNet-Lite0 of ImageNet."""
    teacher_width: int = 64
    source: str = "cifar100"
    source_size: int | None = None
    """To which images are resized; None for the size that they have."""
    num_source: int | None = None
    """Training images of the source."""
    target: str = "scene15"
    """MIT Scenes would be `imagefolder:DIR` with `DIR/train` and `DIR/test`."""
    target_size: int | None = None
    num_test: int | None = None
    data_dir: str | None = None
    out: Path = training.OUT
    results: Path = harness.RESULTS


SMOKE = {
    "teacher_depth": 18,
    "teacher_width": 1,
    "student_width": 1,
    "pretraining": training.Training(num_steps=1, batch_size=16),
    "num_source": 64,
    "target_size": 32,
    "num_test": 64,
}
CPU = {
    "student_width": 16,
    "pretraining": training.Training(num_steps=2500, batch_size=64),
    "num_source": 20_000,
}
PAPER = {
    "teacher_depth": 34,
    "teacher_width": 64,
    "student_width": 64,
    "pretraining": training.Training(
        num_steps=900_000, batch_size=128, learning_rate=0.05, momentum=0.9
    ),
    "source": "imagenet_resized/64x64",
    "target": "imagefolder:mit_scenes",
    "target_size": 64,
}
