"""What the store benchmarks share: histories, the rival in C++, floors, clocks and the generated page."""
