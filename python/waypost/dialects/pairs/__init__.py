"""Translations, one module for each pair of dialects."""
