"""Scores of known and strange views to numbers, figures and a report; reads files, never networks."""
