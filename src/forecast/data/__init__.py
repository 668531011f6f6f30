"""Datasets for training and evaluation, and their reader from the lake."""
