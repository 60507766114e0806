"""One file per vendor: watts and joules begin here."""
