import inspect
import pickle

import pytest

from emoray import errors

CHILDREN = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", CHILDREN)
def test_every_error_survives_pickling_with_its_subject_and_reason(kind):
    error = pickle.loads(pickle.dumps(kind("tune.mid", "is empty; export it again")))
    assert type(error) is kind
    assert (error.subject, error.reason) == ("tune.mid", "is empty; export it again")
    assert str(error) == "tune.mid: is empty; export it again"
