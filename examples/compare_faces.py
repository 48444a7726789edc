"""The cosine of two aligned 112x112 faces under an exported network; 1 is the same image.

python examples/compare_faces.py student.onnx one.jpg other.jpg
"""

import sys
from pathlib import Path

import numpy as np
import torch

from insightface_cakd.data.images import decode_rgb, read_bytes
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.models import load_embedder


def read_face(path: str) -> np.ndarray:
    """Return a face (3, 112, 112), RGB in [-1, 1]."""
    return decode_rgb(read_bytes(path), path).transpose(2, 0, 1).astype(np.float32) / 127.5 - 1


def main(model: str, one: str, other: str) -> None:
    """Print the cosine of the two embeddings."""
    embed = load_embedder(Path(model), None, get_model, torch.device("cpu"))
    images = torch.from_numpy(np.stack([read_face(one), read_face(other)]))
    first, second = embed(images)
    print(f"cosine {torch.cosine_similarity(first, second, dim=0):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
