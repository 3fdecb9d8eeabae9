"""What-if sweeps."""
