"""The conservation harness: injects faults at random points, then asks the oracle what became of what was known."""
