"""The map from the specification to its tests is whole and is what the repository shows."""

from tests.wires.clauses import CLAUSES
from tests.wires.protocol_map import PAGE, WIRES, marks, page


def test_every_clause_has_a_test() -> None:
    assert CLAUSES.keys() - {clause for clause, _, _ in marks()} == set()


def test_every_clause_belongs_to_a_wire() -> None:
    assert {name.partition(".")[0] for name in CLAUSES} == WIRES.keys()


def test_the_page_is_what_the_marks_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.wires.protocol_map"
