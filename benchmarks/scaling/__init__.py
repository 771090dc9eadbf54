"""What an iteration costs with more ranks: measured with 1 to 4, modelled, and extrapolated."""
