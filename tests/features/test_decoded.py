"""Decoded items are kept up to a bound, and what comes out is what the decoder itself gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from headway.features.decoded import Kept


class Counting:
    """Decodes a byte string to an image of its length, and counts."""

    def __init__(self):
        self.asked = []

    def decode(self, source, *, cover=None):
        self.asked.append((source if isinstance(source, bytes) else "array", cover))
        return np.full((len(source), 4, 3), cover[0] if cover else 0, np.uint8)

    def resize(self, image, height, width, *, interpolation):
        return image[:height, :width]


def test_an_item_is_decoded_once_for_each_size():
    decoder = Counting()
    kept = Kept(decoder)
    for _ in range(3):
        assert (kept.decode(b"ab", cover=(7, 7)) == 7).all()
        assert (kept.decode(b"ab", cover=(9, 9)) == 9).all()
    assert decoder.asked == [(b"ab", (7, 7)), (b"ab", (9, 9))]
    assert kept.resize(kept.decode(b"ab"), 1, 2, interpolation="bicubic").shape == (1, 2, 3)


def test_no_more_than_the_limit_is_held_and_what_came_first_stays():
    decoder = Counting()
    kept = Kept(decoder, limit=50)  # b"abcd" is 48 bytes decoded, any other does not fit beside it
    for source in (b"abcd", b"e", b"abcd", b"e"):
        assert kept.decode(source, cover=(1, 1)).shape == (len(source), 4, 3)
    assert [source for source, _ in decoder.asked] == [b"abcd", b"e", b"e"]


def test_many_threads_together_stay_within_the_limit():
    decoder = Counting()
    kept = Kept(decoder, limit=12 * 40)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: kept.decode(bytes([i % 100])), range(2000)))
    before = len(decoder.asked)
    for i in range(100):
        kept.decode(bytes([i]))
    assert len(decoder.asked) - before == 60  # of 100 different items 40 are held


def test_arrays_are_decoded_already():
    decoder = Counting()
    kept = Kept(decoder)
    pixels = np.zeros((5, 5, 3), np.uint8)
    kept.decode(pixels)
    kept.decode(pixels)
    assert decoder.asked == [("array", None)] * 2
