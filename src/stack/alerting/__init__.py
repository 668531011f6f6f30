"""Alerts: the table of rules, and the configurations of Prometheus and Alertmanager that follow from it."""
