"""Model the cost of an iteration, fit it to 1 to 4 ranks, and extrapolate to more."""
