"""One run: report, record, formats, exports, CO2e."""
