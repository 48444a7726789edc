"""np.int and its kind: there inside the block, as NumPy < 1.24 had them, and gone afterwards."""

import numpy as np
import pytest

from insightface_cakd.hosts.compat import applied
from insightface_cakd.hosts.compat.numpy_names import NAMES, NUMPY_NAMES


@pytest.mark.parametrize("name", ["int", "float", "object", "str", "complex"])
def test_the_old_name_is_pythons_type_inside_the_block(name: str):
    before = set(vars(np))
    with applied([NUMPY_NAMES]):
        assert np.dtype(getattr(np, name)) == np.dtype(NAMES[name])
        assert np.array(["12"]).astype(getattr(np, name))[0] in (12, "12")
    assert set(vars(np)) == before


def test_templates_of_a_table_of_texts_become_int64():
    with applied([NUMPY_NAMES]):
        read = np.array([["1.jpg", 5, 7]], dtype=object)[:, 1].astype(np.int)
    assert read.dtype == np.int64


def test_a_name_that_numpy_gave_another_meaning_stays():
    bool_type, long_type = vars(np).get("bool"), vars(np).get("long")
    with applied([NUMPY_NAMES]):
        assert vars(np)["bool"] is (bool_type or bool)
        assert vars(np)["long"] is (long_type or int)


def test_nothing_is_done_where_nothing_is_missing(monkeypatch):
    for name, kind in NAMES.items():
        monkeypatch.setitem(vars(np), name, vars(np).get(name, kind))
    assert NUMPY_NAMES.applies() is None


def test_the_reason_names_what_is_missing():
    assert f"NumPy {np.__version__} has no np." in (NUMPY_NAMES.applies() or "")
