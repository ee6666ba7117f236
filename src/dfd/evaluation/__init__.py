"""Prediction tables to numbers, figures and reports; never imports torch."""
