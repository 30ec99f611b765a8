import numpy as np
import pytest

from darkhaloscope.core.random import row_keys, stream, uniforms


@pytest.mark.parametrize("count", [1, 4, 19])
def test_vectorised_draws_are_those_of_numpys_generator(count):
    rows = np.array([0, 1, 5, 2**40, 2**64 - 1], np.uint64)
    expected = np.stack([stream(7, int(r), "injection").random(count) for r in rows])
    np.testing.assert_array_equal(uniforms(7, rows, "injection", count), expected)


def test_row_keys_tell_rows_apart_and_depend_on_every_part():
    host, replicate = np.divmod(np.arange(200_000), 4)
    keys = row_keys(host, replicate)
    assert len(np.unique(keys)) == len(keys)
    assert not np.isin(row_keys(replicate, host)[1:], keys[1:]).all()
    # Every bit is set about half of the time.
    bits = np.unpackbits(keys.view(np.uint8)).reshape(-1, 64).mean(0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / np.sqrt(len(keys))
