"""Readings to E(t): the sampler, its channels, their edges, the curve and its energies."""
