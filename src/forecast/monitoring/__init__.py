"""Monitoring of served forecasts: scoring, recalibration of intervals, feature drift, export to Prometheus."""
