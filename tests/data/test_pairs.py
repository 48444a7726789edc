"""Verification pairs: balanced in every tenth, distinct, deterministic; or read from a list."""

from collections import Counter
from pathlib import Path

import pytest

from insightface_cakd.data.pairs import draw_pairs, most_pairs, read_pairs
from insightface_cakd.errors import DataError


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """12 people with 1 to 12 images; the files are never opened here."""
    for person in range(1, 13):
        (tmp_path / f"p{person}").mkdir()
        for image in range(person):
            (tmp_path / f"p{person}" / f"{image}.jpg").touch()
    return tmp_path


@pytest.mark.parametrize("count", [20, 100, 560])
def test_every_tenth_has_equal_halves_and_pairs_say_the_truth(people: Path, count: int) -> None:
    pairs = draw_pairs(people, count, 0)
    assert len(pairs) == count
    for tenth in range(10):
        fold = pairs[tenth * count // 10 : (tenth + 1) * count // 10]
        assert sum(pair.same for pair in fold) * 2 == len(fold)
    assert all((pair.first.parent == pair.second.parent) == pair.same for pair in pairs)
    assert len({frozenset((pair.first, pair.second)) for pair in pairs}) == count


def test_the_seed_decides(people: Path) -> None:
    assert draw_pairs(people, 60, 5) == draw_pairs(people, 60, 5)
    assert draw_pairs(people, 60, 5) != draw_pairs(people, 60, 6)


def test_same_pairs_are_spread_over_the_people(people: Path) -> None:
    # 11 people have a pair: 20 same pairs are two for each where there are two, and p2 has just one.
    alike = Counter(pair.first.parent.name for pair in draw_pairs(people, 40, 0) if pair.same)
    assert set(alike) == {f"p{person}" for person in range(2, 13)}
    assert max(alike.values()) == 2


def test_all_pairs_there_are_can_be_asked_for(tmp_path: Path) -> None:
    # 2 people with 5 images: 20 same and 25 different pairs.
    for person in "ab":
        (tmp_path / person).mkdir()
        for image in range(5):
            (tmp_path / person / f"{image}.png").touch()
    assert most_pairs(tmp_path) == 40
    assert len({(pair.first, pair.second) for pair in draw_pairs(tmp_path, 40, 0)}) == 40
    with pytest.raises(DataError, match=r"20 same and 25 different pairs to draw from; 60 need 30 of each.*at most 40"):
        draw_pairs(tmp_path, 60, 0)


@pytest.mark.parametrize("count", [-20, 0, 10, 601])
def test_a_number_that_cannot_be_balanced_is_refused(people: Path, count: int) -> None:
    with pytest.raises(DataError, match=rf"^{count} pairs: expected a multiple of 20"):
        draw_pairs(people, count, 0)


def test_one_person_or_single_images_are_not_enough(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.jpg").touch()
    with pytest.raises(DataError, match=r"one person \('a'\); pairs of different people need 2"):
        draw_pairs(tmp_path, 20, 0)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.jpg").touch()
    with pytest.raises(DataError, match=r"0 same and 1 different pairs.*Add people with several images"):
        draw_pairs(tmp_path, 20, 0)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("a.jpg b.jpg 1", ("a.jpg", "b.jpg", True)),
        ("a.jpg\tmy face.jpg\t0", ("a.jpg", "my face.jpg", False)),
        ("a.jpg, my face.jpg, 1", ("a.jpg", "my face.jpg", True)),
    ],
)
def test_a_list_may_use_spaces_tabs_or_commas(tmp_path: Path, line: str, names: tuple[str, str, bool]) -> None:
    for name in ("a.jpg", "b.jpg", "my face.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "pairs.txt").write_text(f"\n{line}\n\n")
    (pair,) = read_pairs(tmp_path / "pairs.txt")
    assert pair == (tmp_path / names[0], tmp_path / names[1], names[2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "holds no pairs"),
        (b"a.jpg a.jpg\n", r"line 1 is 'a\.jpg a\.jpg'; expected `first second 0\|1`"),
        (b"a.jpg a.jpg 1\na.jpg a.jpg 2\n", "line 2 is"),
        (b"a.jpg gone.jpg 1\n", r"line 1 names .*gone\.jpg, no such file"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "pairs.txt").write_bytes(text)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "pairs.txt")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
        read_pairs(tmp_path / "gone.txt")
