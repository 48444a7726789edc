"""A loss of your own, outside the package: the recipe names it as `module:Class`, here `own_loss:NormLoss`.

python examples/own_loss.py work
"""

import sys
from pathlib import Path

from torch import Tensor

from insightface_cakd.data.faces import write_face_set
from insightface_cakd.losses import DistillLoss
from insightface_cakd.tasks.launch import Job, train

RECIPE = """
teacher:
  network: vit_tiny
  weights: {weights}
losses:
  - loss: cosine
    weight: 64
  - loss: own_loss:NormLoss
    weight: 0.1
"""


class NormLoss(DistillLoss):
    """Make the student's embedding as long as the teacher's.

    mean_i | |s_i| - |t_i| |

    Shape:
        student, teacher: (B, D).
    """

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean difference of lengths."""
        return (student.norm(dim=1) - teacher.norm(dim=1)).abs().mean()


def run(config: str, output: Path, data: Path, recipe: Path | None = None) -> None:
    """Train one network for one epoch."""
    settings = (f"rec={str(data)!r}", f"output={str(output)!r}", "num_epoch=1", "warmup_epoch=0", "val_targets=['dev']")
    train(Job(config, None if recipe is None else str(recipe), settings=settings))


def main(folder: Path) -> None:
    """Draw faces, train a teacher, and a student under it with the loss of this file."""
    write_face_set(folder / "data", people=20, pictures=8, pairs=200)
    run("faces_vit_tiny", folder / "teacher", folder / "data")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(weights=folder / "teacher" / "model.pt"), encoding="utf-8")
    run("faces_cnn_tiny", folder / "student", folder / "data", recipe)
    print(
        f"student: {folder / 'student' / 'model.pt'}; curves: tensorboard --logdir {folder / 'student' / 'tensorboard'}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
