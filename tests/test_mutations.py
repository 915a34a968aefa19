"""Each mutation, tried by hand with `tests/mutations.py`, is of lines that are there."""

import pytest
from audited import ROOT
from mutated import MUTATIONS
from mutated_around import AROUND


@pytest.mark.parametrize("mutation", [*MUTATIONS, *AROUND], ids=lambda mutation: mutation.what)
def test_a_mutation_is_of_lines_that_are_there_once(mutation):
    source = (ROOT / mutation.file).read_text()
    assert source.count(mutation.old) == 1 and mutation.new != mutation.old
