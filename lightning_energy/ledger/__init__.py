"""Joules to accounts: marks, books, sums, the session, ranks, the device's clock."""
