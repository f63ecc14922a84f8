import pyarrow as pa
import pytest

from emoray.pipeline.corpus_tasks import on_each

pytestmark = pytest.mark.ray


def doubled(table, plus=0):
    return pa.table({"x": [2 * x + plus for x in table["x"].to_pylist()]})


def test_each_table_is_worked_on_once_by_ray(ray_cluster):
    tables = [pa.table({"x": [number, number]}) for number in range(5)]
    found = on_each(tables, doubled, plus=1)
    assert sorted(table["x"].to_pylist() for table in found) == [[1, 1], [3, 3], [5, 5], [7, 7], [9, 9]]
