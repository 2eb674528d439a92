"""Compositions: strategies that hold others and their states."""
