"""Counter-based streams: independent of order, distinct between rows and purposes."""

import numpy as np

from darkhaloscope.core.random import stable_hash, stream


def test_a_row_draws_the_same_whatever_was_drawn_before():
    first = stream(1, 7, "lens").random(4)
    stream(1, 8, "lens").random(1000)
    np.testing.assert_array_equal(stream(1, 7, "lens").random(4), first)


def test_seeds_rows_and_purposes_give_other_streams():
    draws = [stream(s, r, p).random() for s in (1, 2) for r in (0, 1, 2**40) for p in ("lens", "noise")]
    assert len(set(draws)) == len(draws)


def test_rows_are_uncorrelated():
    # 4,000 pairs of neighbouring rows: the correlation of independent uniforms is normal with σ = 1/√n; 4σ.
    draws = np.array([stream(3, row, "noise").random(2) for row in range(4001)])
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 4 / np.sqrt(4000)
    assert abs(draws.mean() - 0.5) < 4 / np.sqrt(12 * draws.size)


def test_hashes_do_not_change_between_processes():
    # BLAKE2b-64 of "a", separator 0x1f, "1", little endian: recomputed here the plain way.
    import hashlib

    assert stable_hash("a", 1) == int.from_bytes(hashlib.blake2b(b"a\x1f1", digest_size=8).digest(), "little")
