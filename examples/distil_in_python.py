"""The whole job from Python: faces in folders, a teacher, a student alone, the same student distilled, and an ONNX file.

The faces are drawn, so the script needs no data; put your own aligned 112x112 faces, one folder per person, in place of `draw_folders`.
It trains on 240 pictures to end within a minute, too few to gain anything; `cakd quickstart` trains on 4000. The loop is arcface_torch's:
`cakd.train("configs/ms1mv3_mbf", "onnx", teacher="w600k_r50.onnx", host="insightface")` runs that of a checkout, with a config of its own.

    python examples/distil_in_python.py work
"""

import sys
from pathlib import Path

import insightface_cakd as cakd
from insightface_cakd.data.bins import make_bin
from insightface_cakd.data.faces.sets import draw_folders
from insightface_cakd.data.pack import pack

SHORT = {"val_targets": ["dev"], "num_epoch": 3, "verify_epochs": 3}


def write_data(folder: Path) -> Path:
    """Return a folder with train.rec of 40 people, and dev.bin with pairs of 20 others."""
    draw_folders(folder / "faces", range(40), pictures=6, seed=1)
    draw_folders(folder / "others", range(40, 60), pictures=6, seed=1)
    pack(folder / "faces", folder / "data")
    make_bin(folder / "others", folder / "data" / "dev.bin", pairs=400)
    return folder / "data"


def main(folder: Path) -> None:
    """Write everything into a new folder and print three accuracies."""
    data = write_data(folder)
    teacher = cakd.train("faces_vit_tiny", data=data, output=folder / "teacher", **SHORT)
    runs = {
        "teacher": teacher,
        "student alone": cakd.train("faces_cnn_tiny", data=data, output=folder / "alone", **SHORT),
        "student + distillation": cakd.train(
            "faces_cnn_tiny", "cosine", teacher=teacher, data=data, output=folder / "student", **SHORT
        ),
    }
    print(cakd.export(runs["student + distillation"], folder / "student.onnx"))
    for name, run in runs.items():
        print(f"{name}: {100 * run.result.accuracy['dev']:.2f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
