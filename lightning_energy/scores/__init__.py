"""Accuracy and energy to a score: functions, Metrics, and which metric is scored."""
