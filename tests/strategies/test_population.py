"""What a population is, apart from any strategy."""

import typing

from evoopt.strategies.base import Population


def test_every_field_of_a_population_is_final():
    hints = typing.get_type_hints(Population, include_extras=True)
    assert len(hints) == 6
    assert {typing.get_origin(hint) for hint in hints.values()} == {typing.Final}
