"""Proposals of forged stretches to numbers, reports and other people's file formats."""
