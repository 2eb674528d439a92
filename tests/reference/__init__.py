"""Slow, obvious transcriptions of published formulas, the plain objectives they are run on, and
the helpers that drive a strategy through its public contract.

No transcription imports the package: each restates its source, so that both can be wrong in the
same way only by reading the same page wrongly.
"""
