"""Exa.TrkX track finding as a service: pipeline, serving, measuring, analysis."""
