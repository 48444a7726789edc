"""Encoded images of every format that is read."""

import io

import cv2
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from insightface_cakd.data.images import decode_rgb, face_bytes
from insightface_cakd.data.pack import pack
from tests.data.record_files import jpeg, picture
from tests.fuzzing.mutations import EXAMPLES, edited, scratch, survives


def _stored(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(1)).save(file, kind, **options)
    return file.getvalue()


VALID = {
    "jpg": [jpeg(1), _stored("JPEG", progressive=True), _stored("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")],
    "png": [_stored("PNG")],
    "bmp": [_stored("BMP")],
    "webp": [_stored("WEBP")],
    "tif": [_stored("TIFF"), cv2.imencode(".tiff", picture(1))[1].tobytes()],
}
EDITED = st.sampled_from(sorted(VALID)).flatmap(lambda kind: st.tuples(st.just(kind), edited(VALID[kind])))
STARTS = [data[:size] for several in VALID.values() for data in several for size in (2, 8, 30)]
BUILT = st.tuples(
    st.sampled_from(sorted(VALID)), st.builds(bytes.__add__, st.sampled_from(STARTS), st.binary(max_size=80))
)


def _try(kind: str, data: bytes) -> None:
    with scratch() as folder:
        path = folder / f"a.{kind}"
        path.write_bytes(data)
        survives(lambda: face_bytes(path))
        survives(lambda: decode_rgb(data, "a", upright=True))


@EXAMPLES
@given(EDITED)
def test_edited(drawn: tuple[str, bytes]) -> None:
    _try(*drawn)


@EXAMPLES
@given(BUILT)
def test_built(drawn: tuple[str, bytes]) -> None:
    _try(*drawn)


@EXAMPLES
@given(EDITED)
def test_packed(drawn: tuple[str, bytes]) -> None:
    with scratch() as folder:
        for person in ("a", "b"):
            (folder / "faces" / person).mkdir(parents=True)
            (folder / "faces" / person / "0.jpg").write_bytes(jpeg(1))
        (folder / "faces" / "a" / f"1.{drawn[0]}").write_bytes(drawn[1])
        survives(lambda: pack(folder / "faces", folder / "out"), folder / "out")
