"""Networks: loading stamps, architectures, fitting, weights and scores."""

from .operators import declare

declare()
