"""Each mutation of `tests/mutations.py`, which is run by hand, is of a line that is there."""

import pytest
from audited import ROOT
from mutations import MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what)
def test_a_mutation_is_of_one_line_that_is_there(mutation):
    source = (ROOT / mutation.file).read_text()
    assert source.count(mutation.old) == 1 and mutation.new != mutation.old
