"""Connections to endpoints: how they are made, kept and checked."""
