"""The lists of a tree, and each mistake in them in one line."""

import numpy as np
import pytest

from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.ijb.gallery import read_search
from insightface_cakd.evaluate.ijb.lists import find_tree, read_faces, read_pairs, require_images
from tests.evaluate.ijb.trees import write_tree


@pytest.fixture
def tree(tmp_path):
    return find_tree(write_tree(tmp_path), "IJBC")


def edit(tree, name: str, change) -> None:
    path = tree.meta(name)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


def test_rows_come_in_their_order(tree):
    faces = read_faces(tree)
    rows = [line.split() for line in tree.meta("name_5pts_score.txt").read_text().splitlines()]
    ids = [line.split() for line in tree.meta("face_tid_mid.txt").read_text().splitlines()]
    assert faces.names == [row[0] for row in rows] == [row[0] for row in ids]
    assert np.array_equal(faces.points.reshape(-1, 10), np.array([row[1:11] for row in rows]).astype(np.float32))
    assert np.array_equal(faces.scores, np.array([row[11] for row in rows]).astype(np.float32))
    assert faces.templates.tolist() == [int(row[1]) for row in ids]
    assert faces.medias.tolist() == [int(row[2]) for row in ids]
    pairs = read_pairs(tree, faces.templates)
    table = [list(map(int, line.split())) for line in tree.meta("template_pair_label.txt").read_text().splitlines()]
    assert np.stack([pairs.first, pairs.second, pairs.same], axis=1).tolist() == table


def test_the_root_may_be_the_set_itself(tree):
    assert find_tree(tree.folder, "IJBC").folder == tree.folder
    with pytest.raises(DataError, match="holds neither IJBB/meta nor meta"):
        find_tree(tree.folder.parent, "IJBB")


@pytest.mark.parametrize("name", ["name_5pts_score.txt", "face_tid_mid.txt", "template_pair_label.txt"])
def test_a_missing_list_is_named(tree, name):
    tree.meta(name).unlink()
    with pytest.raises(DataError, match=rf"ijbc_{name}: cannot be read \(No such file"):
        read_pairs(tree, read_faces(tree).templates)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("name_5pts_score.txt", "3.jpg 1 2 3 4 5 6 7 8 0.9", r"line 3: 10 words; expected 12: .* 5 points"),
        ("name_5pts_score.txt", "3.jpg 1 2 3 4 5 6 7 8 9 x 0.9", r"line 3: '1 2 3 4 5 6 7 8 9 x 0.9'; expected"),
        (
            "name_5pts_score.txt",
            "3.jpg 1 2 3 4 5 6 7 8 9 nan 0.9",
            r"face 3 \(3.jpg\): has a number that is not finite",
        ),
        # Finite in float64, infinite in float32; and one whose square would be.
        ("name_5pts_score.txt", "3.jpg 1 2 3 4 5 6 7 8 9 1e39 0.9", r"face 3 \(3.jpg\): has a number .* beyond 1e\+09"),
        (
            "name_5pts_score.txt",
            "3.jpg 1 2 -1e30 4 5 6 7 8 9 1 0.9",
            r"face 3 \(3.jpg\): has a number .* beyond 1e\+09",
        ),
        (
            "name_5pts_score.txt",
            "4.jpg 1 2 3 4 5 6 7 8 9 10 0.9",
            r"face 3: is 3.jpg, in ijbc_name_5pts_score.txt it is 4",
        ),
        ("face_tid_mid.txt", "3.jpg 5", r"line 3: 2 words; expected 3"),
        ("face_tid_mid.txt", "3.jpg 5 a", r"line 3: '5 a'; expected `image template media`"),
        ("face_tid_mid.txt", "3.jpg -5 1", r"ids from -5 to"),
        ("template_pair_label.txt", "2 5 2", r"pair 3: label 2; expected 0 or 1"),
        ("template_pair_label.txt", "2 999 0", r"pairs name 1 templates without an image \(999\)"),
    ],
)
def test_a_wrong_line_is_named(tree, name, line, message):
    edit(tree, name, lambda lines: [*lines[:2], line, *lines[3:]])
    with pytest.raises(DataError, match=message) as caught:
        read_pairs(tree, read_faces(tree).templates)
    assert "\n" not in str(caught.value)


def test_lists_of_different_length_are_refused(tree):
    edit(tree, "face_tid_mid.txt", lambda lines: lines[:-1])
    with pytest.raises(DataError, match=r"47 images, ijbc_name_5pts_score.txt has 48"):
        read_faces(tree)


def test_an_empty_list_is_refused(tree):
    tree.meta("name_5pts_score.txt").write_text("")
    with pytest.raises(DataError, match="holds no line"):
        read_faces(tree)


def test_absent_images_are_counted_and_listed(tree):
    names = read_faces(tree).names
    require_images(tree, names)
    (tree.images / "7.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 48 listed images are absent \(7.jpg\)"):
        require_images(tree, names)


def test_searches_have_each_template_once(tree):
    search = read_search(tree, read_faces(tree).templates)
    assert search.galleries[0].templates.tolist() == [2, 5, 8]
    assert search.galleries[1].subjects.tolist() == [3, 4, 5]
    assert search.probes.templates.tolist() == [20, 23, 26, 29, 32, 35]
    assert search.probes.subjects.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("1N_gallery_G1.csv", ["h", "2,0", "5,0"], r"subject 0 has 2 templates; expected one template a subject"),
        ("1N_gallery_G1.csv", ["h", "2,0", "2,1"], r"template 2 shows 2 subjects"),
        ("1N_gallery_G2.csv", ["h", "2,0", "x,1"], r"line 3: 'x,1'; expected `template,subject`"),
        ("1N_gallery_G2.csv", ["h", "2"], r"line 2: '2'; expected"),
        ("1N_probe_mixed.csv", ["h"], r"holds no line after its header"),
        ("1N_probe_mixed.csv", ["h", "999,1"], r"lists 1 templates without an image \(999\)"),
    ],
)
def test_a_wrong_search_is_named(tree, name, lines, message):
    edit(tree, name, lambda _: lines)
    with pytest.raises(DataError, match=message):
        read_search(tree, read_faces(tree).templates)


def test_a_missing_gallery_is_named(tree):
    tree.meta("1N_gallery_G2.csv").unlink()
    with pytest.raises(DataError, match=r"1N_gallery_G2.csv: cannot be read .*leave 1:N out with --protocol 11"):
        read_search(tree, read_faces(tree).templates)
