"""The unified receptive fields again, in plain NumPy float64 loops from the equations; slow, and independent of the package."""

import math

import numpy as np

Array = np.ndarray
EYES_NOSE_MOUTH = [
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
]


def index(x: float, alpha: float = 1.9, beta: float = 3.8, reach: float = 15.2) -> int:
    """iRPE's piecewise index function; Python rounds half to even too."""
    if abs(x) <= alpha:
        return round(x)
    logarithm = math.log(abs(x) / alpha) / math.log(reach / alpha)
    return int(math.copysign(min(beta, round(alpha + logarithm * (beta - alpha))), x))


def places(rows: int, columns: int) -> list[tuple[float, float]]:
    """Centres (x, y) of the cells of a grid over 112 pixels."""
    return [
        (112 * (2 * c + 1) / (2 * columns), 112 * (2 * r + 1) / (2 * rows)) for r in range(rows) for c in range(columns)
    ]


def length(a, b) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])


def saliency(point, origin, landmarks) -> float:
    """Difference of the distances to the nearest landmark."""
    return abs(min(length(point, mark) for mark in landmarks) - min(length(origin, mark) for mark in landmarks))


def relative(point, origin, landmarks) -> float:
    """Root mean square difference of the distances to the landmarks."""
    return math.sqrt(sum((length(point, mark) - length(origin, mark)) ** 2 for mark in landmarks) / len(landmarks))


def distance(point, landmarks, structure="none", gamma=1.0, cell=16.0, origin=None) -> float:
    """Spatial distance to the nose plus gamma times the structure distance, in cells."""
    origin = landmarks[2] if origin is None else origin
    total = length(point, origin)
    measures = {"saliency": [saliency], "relative": [relative], "both": [saliency, relative], "none": []}[structure]
    for measure in measures:
        total += gamma * measure(point, origin, landmarks) / len(measures)
    return total / cell


def softmax(row: Array) -> Array:
    powers = np.array([math.exp(x - max(row)) for x in row])
    return powers / powers.sum()


def attend(query: Array, key: Array, bias_query: Array, bias_key: Array) -> Array:
    """softmax_j of (q_i + b_i) (k_j + b_j)^T / sqrt(d), one image and one head."""
    width = query.shape[1]
    scores = np.zeros((len(query), len(key)))
    for i in range(len(query)):
        for j in range(len(key)):
            scores[i, j] = float((query[i] + bias_query[i]) @ (key[j] + bias_key[j])) / math.sqrt(width)
    return np.array([softmax(row) for row in scores])


def norm(rows: Array) -> Array:
    """Mean 0 and variance 1 over the columns."""
    return np.array([(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in rows])


def heads_of(matrix: Array, heads: int) -> list[Array]:
    return np.split(matrix, heads, axis=1)


def fields(tokens: Array, weights: dict[str, Array], buckets, bias: str, heads: int, own_heads: int, normalise: bool):
    """Maps (H, L, N), self-attention (H', L, L) and fields (L, d) of one image, every key and value computed."""
    change = norm if normalise else (lambda rows: rows)
    features = tokens @ weights["input"].T
    query, key, value = (
        weights["centres"] @ weights["query"].T,
        features @ weights["key"].T,
        features @ weights["value"].T,
    )
    looks, rows = [], []
    for head in range(heads):
        q, k, v = (heads_of(matrix, heads)[head] for matrix in (query, key, value))
        b_query, b_key = np.zeros_like(q), np.zeros_like(k)
        if bias != "none":
            table = heads_of(weights["positions"], heads)[head]
            (b_query if bias == "query" else b_key)[:] = np.array([table[bucket] for bucket in buckets])
        looks.append(attend(q, k, b_query, b_key))
        rows.append(looks[-1] @ v)
    seen = change(np.concatenate(rows, axis=1))
    q, k, v = np.split(seen @ weights["qkv"].T + weights["qkv_bias"], 3, axis=1)
    maps = [
        attend(a, b, np.zeros_like(a), np.zeros_like(b))
        for a, b in zip(heads_of(q, own_heads), heads_of(k, own_heads), strict=True)
    ]
    joined = np.concatenate([m @ part for m, part in zip(maps, heads_of(v, own_heads), strict=True)], axis=1)
    return np.array(looks), np.array(maps), change(joined @ weights["out"].T + weights["out_bias"])
