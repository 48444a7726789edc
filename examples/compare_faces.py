"""How alike two aligned 112x112 faces are under an exported network; 1 is the same image.

python examples/compare_faces.py student.onnx one.jpg other.jpg
"""

import sys

import insightface_cakd as cakd

if __name__ == "__main__":
    model, one, other = sys.argv[1:]
    print(f"cosine {cakd.verify(one, other, cakd.load(model)).similarity:.4f}")
