"""Files of records: every format, and messages that name the right line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.task import TaskError
from suites.tasks.record_files import read_records


def test_only_a_newline_ends_a_line_of_jsonl(tmp_path: Path) -> None:
    """U+2028 and U+0085 are data; a byte order mark, blank lines and carriage returns are none."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + '{"q": "a\u2028b\u0085c"}\r\n\n{"q": "d"}\n'.encode())
    records = read_records(path)
    assert [dict(row) for row in records.rows] == [{"q": "a\u2028b\u0085c"}, {"q": "d"}]
    assert records.places == ["line 1", "line 3"]


def test_a_csv_record_over_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    """Quoted line breaks are data; places count lines, not records."""
    path = tmp_path / "a.csv"
    path.write_text('\ufeffq,a\n"x\ny",1\n\n"say ""z""",2\n', encoding="utf-8")
    records = read_records(path)
    assert [dict(row) for row in records.rows] == [{"q": "x\ny", "a": "1"}, {"q": 'say "z"', "a": "2"}]
    assert records.places == ["line 2", "line 5"]
    assert records.columns == ["q", "a"]


def test_tabs_separate_in_a_tsv(tmp_path: Path) -> None:
    """A comma is data there."""
    path = tmp_path / "a.tsv"
    path.write_text("q\ta\n1,5+1\t2,5\n")
    assert [dict(row) for row in read_records(path).rows] == [{"q": "1,5+1", "a": "2,5"}]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.jsonl",
            b'{"q": 1}\n{"q": "\xe2\x80\xa8"}\n{"q" 2}\n',
            r"a.jsonl, line 3: not valid JSON \(expecting ':' delimiter, column 6\)",
        ),
        ("a.jsonl", b'{"q": 1}\n{"q": "\xff"}\n', "line 2: it is not UTF-8"),
        ("a.jsonl", b"{}\n[1, 2]\n", r"line 2: \[1, 2\] is not a record"),
        ("a.jsonl", b"\n\n", "holds no rows"),
        ("a.jsonl", b"[" * 100_000, "line 1: "),
        ("a.json", b'[{"q": 1},\n 5x]', "line 2: not valid JSON"),
        ("a.json", b'{"q": 1}', "not a list of records; one record per line belongs into a .jsonl file"),
        ("a.csv", b"q,a\n1,2\n3\n", "line 3: it has 1 fields and the header has 2"),
        ("a.csv", b"q,q\n1,2\n", "column 'q' is there twice"),
        ("a.csv", b'q,a\n1,2\n"3,4\n', "line 3: unexpected end of data"),
        ("a.csv", b"q,a\n1,2\n\xff,4\n", "line 3: it is not UTF-8"),
        ("a.csv", b"q,a\n", "holds no rows"),
        ("a.parquet", b"no parquet", "cannot read "),
        ("a.txt", b"x", "must end in one of .parquet, .jsonl, .json, .csv, .tsv"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    """With the file, and the line where there are lines."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TaskError, match=words) as caught:
        read_records(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
