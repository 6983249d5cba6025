"""Translations between dialects, and errors in each dialect. These are off the fast path."""
