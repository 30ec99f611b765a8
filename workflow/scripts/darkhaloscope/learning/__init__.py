"""Networks: data loading, architectures, fitting, scoring."""
