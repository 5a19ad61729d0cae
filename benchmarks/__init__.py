"""What a call costs here and elsewhere, measured in one interleaved run: `python -m benchmarks`."""
