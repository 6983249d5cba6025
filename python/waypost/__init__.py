"""Waypost: a stateless routing proxy for AI traffic, and its matcher as a library."""

from waypost.errors import ConfigError, EnvelopeError, PatternError, Problem, UpstreamError, WaypostError

__all__ = ["ConfigError", "EnvelopeError", "PatternError", "Problem", "UpstreamError", "WaypostError"]
