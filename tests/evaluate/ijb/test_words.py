"""Words are those of `bytes.split`, numbers are Python's, to the last bit."""

import numpy as np
import pytest

from insightface_cakd.evaluate.ijb.words import find_words

BLANKS = b" \t\n\v\f\r"


def test_words_are_those_of_split_whatever_separates_them():
    random = np.random.default_rng(0)
    letters = [bytes([one]) for one in b"09.-x\x00\x1f\x7f\x85\xa0\xff" + BLANKS]
    agreed = 0
    for _ in range(4000):
        columns = int(random.integers(1, 4))
        data = b"".join(random.choice(letters, random.integers(0, 12))) + b"\n"
        lines = [line.split() for line in data.split(b"\n") if line.split()]
        found = find_words(data, columns)
        assert (found is not None) == all(len(words) == columns for words in lines), data
        if found is not None:
            shown = [
                [found.text[start : start + length].tobytes() for start, length in zip(*row, strict=True)]
                for row in zip(found.starts, found.lengths, strict=True)
            ]
            assert shown == lines, data
            agreed += bool(lines)
    assert agreed > 100


def test_decimals_are_pythons_floats():
    random = np.random.default_rng(1)
    shapes = ("{:.3f}", "{:.0f}", "{:.15g}", "{:.17g}", "{:e}", "{:+.2f}", "{:.12f}")
    values = random.normal(0, 1, 4000) * 10.0 ** random.integers(-12, 13, 4000)
    texts = [shapes[row % len(shapes)].format(value) for row, value in enumerate(values)]
    texts += [
        "0",
        "00.5",
        ".5",
        "5.",
        "-0.0",
        "999999999999999",
        "9999999999999999",
        "0.000000000000001",
        "inf",
        "-nan",
    ]
    texts += ["123456789012345", "1234567.12345678", "12345678.12345678", "0." + "3" * 30, "1e400"]
    words = find_words("".join(f"n {text} {text}\n" for text in texts).encode(), 3)
    found = words.numbers(1, "float")
    expected = np.array([float(text) for text in texts])
    assert found.dtype == np.float64
    assert found.view(np.int64).tolist() == [expected.view(np.int64).tolist()] * 2


def test_whole_numbers_are_pythons():
    texts = ["0", "007", "999999999", "2147483647", "-5", "+5", "1", "12345678", "0000000000001"]
    found = find_words("\n".join([*texts, ""]).encode(), 1).numbers(0, "int")
    assert found.dtype == np.int32
    assert found.tolist() == [[int(text) for text in texts]]


@pytest.mark.parametrize(
    "word", [b"x", b".", b"1.2.3", b"1..2", b"1,5", b"-", b"1_0", b"0x1", b"\xd9\xa3", b"1\x00", b"1/2", b"1:"]
)
def test_a_word_that_is_no_number_is_refused(word):
    for kind in ("int", "float"):
        with pytest.raises(ValueError, match="."):
            find_words(b"1\n" + word + b"\n22\n", 1).numbers(0, kind)


@pytest.mark.parametrize("word", [b"1.5", b"1e3", b"nan"])
def test_a_fraction_is_no_whole_number(word):
    with pytest.raises(ValueError, match="invalid literal"):
        find_words(word + b"\n", 1).numbers(0, "int")


def test_whole_numbers_beyond_32_bits_are_refused():
    with pytest.raises(OverflowError):
        find_words(b"2147483648\n", 1).numbers(0, "int")


def test_names_may_be_any_text_without_blanks():
    names = ["1.jpg", "a/b-c_2.3.png", "ü", "名前\u3000x", "\u2028", "x" * 300]
    words = find_words("".join(f"{name} 1\n" for name in names).encode(), 2)
    assert words.names(0) == names
    assert words.numbers(1, "int").tolist() == [[1] * len(names)]
    assert find_words(b"\n\n", 2).names(0) == []
    with pytest.raises(UnicodeDecodeError):
        find_words(b"a 1\n\xff 1\n", 2).names(0)
