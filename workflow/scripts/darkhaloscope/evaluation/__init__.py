"""Rates, strata, intervals, comparisons, and what any method could do."""
