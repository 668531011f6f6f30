"""Datasets for training and evaluation, and the code that reads them from the lake."""
