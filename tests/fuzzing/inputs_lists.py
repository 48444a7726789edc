"""Lists of pairs, of landmarks and of live faces."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from insightface_cakd.data.bins import make_bin
from insightface_cakd.data.landmarks.flips import parse_flip
from insightface_cakd.data.landmarks.lists import read_list
from insightface_cakd.data.liveness import pack_liveness, read_liveness
from tests.data.record_files import jpeg
from tests.fuzzing.mutations import EXAMPLES, edited, scratch, survives

PAIRS = b"a.jpg b.jpg 1\na.jpg\tb.jpg\t0\n"
LIVE = b"a.jpg 1 one\nb.jpg 0 one\na.jpg 1 two v1\nb.jpg 0 two v2\n"
PACKED = b"file,live,domain,video\na.jpg,1,one,\nb.jpg,0,two,v\n"
POINTS = {".csv": b"file,nose_x,nose_y\na.jpg,1.5,2\nb.jpg,3,4e1\n", ".txt": b"a.jpg 1 2 3 4\nb.jpg 1.5 2 3 4\n"}
_WORDS = st.sampled_from(
    [
        "a.jpg",
        "b.jpg",
        "1",
        "0",
        "one",
        "1e999",
        "nan",
        "1_0",
        "\u0661",
        '"',
        ",",
        "\t",
        "\n",
        "\0",
        "../a.jpg",
        "9" * 5000,
    ]
)
BUILT = st.lists(_WORDS, max_size=20).map(lambda words: " ".join(words).encode())


def _faces(folder: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(jpeg(ord(name[0])))


@EXAMPLES
@given(st.one_of(edited([PAIRS]), BUILT, st.binary(max_size=60)))
def test_pairs(data: bytes) -> None:
    with scratch() as folder:
        _faces(folder)
        (folder / "pairs.txt").write_bytes(data)
        survives(lambda: make_bin(folder / "pairs.txt", folder / "out.bin"), folder / "out.bin")


@EXAMPLES
@given(st.sampled_from(sorted(POINTS)), st.data())
def test_points(suffix: str, data: st.DataObject) -> None:
    content = data.draw(st.one_of(edited([POINTS[suffix]]), BUILT, st.binary(max_size=60)))
    with scratch() as folder:
        (folder / f"points{suffix}").write_bytes(content)
        survives(lambda: read_list(folder / f"points{suffix}"))
        survives(lambda: parse_flip(str(folder / f"points{suffix}")))


@EXAMPLES
@given(st.one_of(edited([LIVE]), BUILT, st.binary(max_size=60)))
def test_live_faces(data: bytes) -> None:
    with scratch() as folder:
        _faces(folder)
        (folder / "list.txt").write_bytes(data)
        survives(lambda: pack_liveness(folder / "list.txt", folder / "out", live=1), folder / "out")


@EXAMPLES
@given(st.one_of(edited([PACKED]), BUILT, st.binary(max_size=60)))
def test_packed_live_faces(data: bytes) -> None:
    with scratch() as folder:
        _faces(folder)
        (folder / "liveness.csv").write_bytes(data)
        survives(lambda: read_liveness(folder))
