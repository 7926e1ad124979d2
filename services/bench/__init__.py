"""The benchmarks: speed beside the bare model, and what compactions keep."""
