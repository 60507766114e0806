"""Readings to E(t): edges, channels, the sampler, the curve and its energies."""
