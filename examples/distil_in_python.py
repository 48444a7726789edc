"""The whole job from Python: faces in folders, a teacher, a student alone, the same student distilled, and an ONNX file.

The faces are drawn, so the script needs no data; put your own aligned 112x112 faces, one folder per person, in place of `draw_folders`.
It trains on 240 pictures to end within a minute, too few to gain anything; `cakd quickstart` trains on 4000.

    python examples/distil_in_python.py work
"""

import sys
from pathlib import Path

from insightface_cakd.data.bins import make_bin
from insightface_cakd.data.faces.sets import draw_folders
from insightface_cakd.data.pack import pack
from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.tasks.launch import Job, train

RECIPE = """
teacher:
  network: vit_tiny
  weights: {weights}
losses:
  - loss: cosine
    weight: 64
"""


def write_data(folder: Path) -> Path:
    """Return a folder with train.rec of 40 people, and dev.bin with pairs of 20 others."""
    draw_folders(folder / "faces", range(40), pictures=6, seed=1)
    draw_folders(folder / "others", range(40, 60), pictures=6, seed=1)
    pack(folder / "faces", folder / "data")
    make_bin(folder / "others", folder / "data" / "dev.bin", pairs=400)
    return folder / "data"


def run(config: str, output: Path, data: Path, recipe: Path | None = None) -> float:
    """Train one network and return its accuracy on dev.bin."""
    settings = (
        f"rec={str(data)!r}",
        f"output={str(output)!r}",
        "val_targets=['dev']",
        "num_epoch=3",
        "verify_epochs=3",
    )
    result = train(Job(config, None if recipe is None else str(recipe), settings=settings))
    return result.accuracy["dev"]


def main(folder: Path) -> None:
    """Write everything into a new folder and print three accuracies."""
    data = write_data(folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(weights=folder / "teacher" / "model.pt"), encoding="utf-8")
    accuracies = {
        "teacher": run("faces_vit_tiny", folder / "teacher", data),
        "student alone": run("faces_cnn_tiny", folder / "alone", data),
        "student + distillation": run("faces_cnn_tiny", folder / "student", data, recipe),
    }
    exported = export_run(folder / "student", folder / "student.onnx", get_model)
    print(exported.summary())
    for name, accuracy in accuracies.items():
        print(f"{name}: {100 * accuracy:.2f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
