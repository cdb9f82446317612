"""Simulated collision events: generation with Pythia 8 and ACTS, and reading."""
