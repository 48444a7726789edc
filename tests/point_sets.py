"""Small sets of images with landmarks: bright spots at five points, and 68 points of a drawn shape."""

import csv

import cv2
import numpy as np

NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
FACE = np.array([[24.0, 30], [50, 30], [37, 44], [27, 56], [48, 56]])


def face_68():
    """Return the iBUG points of a drawn face, (68, 2): looking at us, symmetric about x = 40."""
    jaw = [(40 - 28 * np.cos(a), 40 + 30 * np.sin(a)) for a in np.linspace(0, np.pi, 17)]
    brows = [(x, 26 - 0.02 * (x - 27) * (37 - x)) for x in np.linspace(20, 36, 5)]
    brows += [(80 - x, y) for x, y in reversed(brows)]
    nose = [(40, y) for y in (32, 37, 42, 47)] + [(x, 50) for x in (34, 37, 40, 43, 46)]
    left = [(23, 34), (26, 32), (30, 32), (33, 34), (30, 36), (26, 36)]
    right = [(80 - x, y) for x, y in (left[3], left[2], left[1], left[0], left[5], left[4])]
    lips = [(30, 58), (34, 55), (38, 54), (40, 55), (42, 54), (46, 55), (50, 58)]
    lips += [(46, 62), (42, 63), (40, 63), (38, 63), (34, 62)]
    lips += [(32, 58), (37, 57), (40, 58), (43, 57), (48, 58), (43, 60), (40, 60), (37, 60)]
    points = np.array([*jaw, *brows, *nose, *left, *right, *lips])
    assert points.shape == (68, 2)
    return points


def spots(points, size=(74, 80)):
    """Return an image, RGB, with a spot at each of five points: eyes red and green, nose blue, corners as their eye."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    bright = np.stack([np.exp(-((x - u) ** 2 + (y - v) ** 2) / 30) for u, v in points])
    image = np.stack([bright[0] + bright[3], bright[1] + bright[4], bright[2]], axis=-1)
    return np.clip(255 * image, 0, 255).astype(np.uint8)


def write_folder(folder, name, points, names=NAMES, size=(74, 80)):
    """Write `<name>.csv` and `<name>/`; faces of five points are spots, others noise."""
    (folder / name).mkdir(parents=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", *(f"{point}_{axis}" for point in names for axis in "xy")])
        for index, one in enumerate(points):
            random = np.random.default_rng(index)
            rgb = spots(one, size) if len(one) == 5 else random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"{index}.png"), rgb[..., ::-1])
            rows.writerow([f"{index}.png", *np.round(one, 3).reshape(-1).tolist()])
    return folder / f"{name}.csv"


def shaken(shape, count, seed):
    """Return (count, K, 2): a shape, moved and scaled at random."""
    random = np.random.default_rng(seed)
    middle = shape.mean(axis=0)
    return np.stack(
        [(shape - middle) * random.uniform(0.8, 1.1) + middle + random.uniform(-4, 4, 2) for _ in range(count)]
    )
