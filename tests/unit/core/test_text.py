"""Numbers as they are printed."""

import pytest

from darkhaloscope.core.text import power_of_ten


@pytest.mark.parametrize(("exponent", "text"), [(9.7, "10⁹·⁷"), (10, "10¹⁰"), (9.96, "10¹⁰"), (-3, "10⁻³"), (-0.5, "10⁻⁰·⁵")])
def test_powers_of_ten_are_printed_as_such(exponent, text):
    assert power_of_ten(exponent) == text
