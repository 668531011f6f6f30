"""Fits, evaluates and selects models; serving never imports it."""
