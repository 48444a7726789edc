"""Views of centres that look at chosen patches."""

import numpy as np

from insightface_cakd.show.attention import View


def one_patch(rows, columns, row, column):
    """Return (rows, columns), all attention on one patch."""
    found = np.zeros((rows, columns), np.float32)
    found[row, column] = 1
    return found


def view(side="student", moment="before training", maps=None):
    return View(
        side, moment, np.full((2, 3, 7, 7), 1 / 49, np.float32) if maps is None else np.asarray(maps, np.float32)
    )


def four(maps=None, teacher=None):
    """Return student before and after, teacher before and after."""
    moments = ("before training", "after training")
    return [
        view(s, m, maps if s == "student" or teacher is None else teacher)
        for s in ("student", "teacher")
        for m in moments
    ]
