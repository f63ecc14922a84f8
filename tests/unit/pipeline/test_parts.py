import subprocess
import sys

import pyarrow as pa
import pytest

from emoray.pipeline.corpus_tasks import on_each


def doubled(table, plus=0):
    return pa.table({"x": [2 * x + plus for x in table["x"].to_pylist()]})


TABLES = [pa.table({"x": [number, number]}) for number in range(5)]
DOUBLED = [[1, 1], [3, 3], [5, 5], [7, 7], [9, 9]]


def found(work, **options):
    return sorted(table["x"].to_pylist() for table in on_each(TABLES, work, **options))


def test_each_table_is_worked_on_once(monkeypatch):
    monkeypatch.setattr("emoray.pipeline.corpus_tasks.under_ray", lambda: False)
    assert found(doubled, plus=1) == DOUBLED


def test_a_bug_in_the_work_is_raised(monkeypatch):
    monkeypatch.setattr("emoray.pipeline.corpus_tasks.under_ray", lambda: False)
    with pytest.raises(ZeroDivisionError):
        found(lambda table: 1 // 0)


def test_small_work_does_not_import_ray(tmp_path):
    code = (
        "import sys\n"
        "from emoray.demo.files import write_demo\n"
        "from pathlib import Path\n"
        "write_demo(Path(sys.argv[1]))\n"
        "from emoray.cli import app\n"
        "app(['ingest', sys.argv[1], '--out', sys.argv[1] + '/corpus'], standalone_mode=False)\n"
        "app(['cluster', sys.argv[1] + '/corpus', '--out', sys.argv[1] + '/e.json'], standalone_mode=False)\n"
        "assert 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "demo"], check=True)
    assert (tmp_path / "demo" / "corpus" / "_SUCCESS.json").is_file()
    assert (tmp_path / "demo" / "e.json").is_file()
