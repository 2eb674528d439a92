"""Benchmarks for evoopt: suites, targets, run-time distributions, and experiments on COCO."""
