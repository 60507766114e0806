"""Many runs: read, judged, drawn."""
