"""Benchmarks: one module each, every figure taken beside its yardstick in the same run. ``make bench`` runs them."""
