"""Measuring: load driver, server traces, tidy rows."""
