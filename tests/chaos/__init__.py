"""Kills processes of a running lake at random and compares what it holds with what the simulated market did."""
