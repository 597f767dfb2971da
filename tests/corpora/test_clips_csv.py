"""The clip list every corpus writes: round trip, and errors that name line and column."""

from dataclasses import replace

import pytest

import media
from corpora import COLUMNS, CORPUS_FPS, ClipRecord, check_unedited, read_clips, write_clips, write_table

FULL = ClipRecord(
    clip="sub01_EP02_01f", split="train", corpus="casme2", subject="sub01", source="sub01/EP02_01f", fps=200.0,
    frames=81, onset=46, apex=59, offset=126, onset_index=0, apex_index=13, offset_index=80, action_units="4+L10",
    emotion="dégoût", class3="negative", box=(-3, 12, 250, 265), identity="", objective_class="3",
    proposed="onset apex",
)  # fmt: skip
SPARSE = ClipRecord(clip='a, "b"', split="test", corpus="smic_hs", subject="s1", source="", fps=99.5, frames=2)


def test_round_trip_keeps_every_value_and_the_order(tmp_path):
    write_clips(tmp_path / "clips.csv", [SPARSE, FULL])
    assert read_clips(tmp_path / "clips.csv") == [SPARSE, FULL]


def test_columns_are_the_documented_ones_in_order(tmp_path):
    write_clips(tmp_path / "clips.csv", [])
    expected = (
        "clip,split,corpus,subject,source,fps,frames,onset,apex,offset,onset_index,apex_index,offset_index,"
        "action_units,emotion,class3,box,identity,objective_class,proposed"
    )
    assert (tmp_path / "clips.csv").read_text(encoding="utf-8").splitlines() == [expected]
    assert ",".join(COLUMNS) == expected


def test_frame_rates_of_the_corpora():
    assert CORPUS_FPS == {"casme2": 200.0, "samm": 200.0, "smic_hs": 100.0}


def test_two_clips_of_one_name_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="two clips are called 'sub01_EP02_01f'"):
        write_clips(tmp_path / "clips.csv", [FULL, SPARSE, FULL])
    assert not (tmp_path / "clips.csv").exists()


def _write_changed(path, column, value):
    row = ["c1", "train", "samm", "s1", "", "200", "9", "1", "2", "3", "0", "1", "2", "1+2", "fear", "", "1 2 3 4"]
    row += ["", "", ""]
    row[COLUMNS.index(column)] = value
    path.write_text(",".join(COLUMNS) + "\nc0,test,samm,s1,,200,9" + "," * 13 + "\n" + ",".join(row) + "\n")


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("clip", "", "must not be empty"),
        ("clip", "c0", "already in line 2"),
        ("split", "val", "legal are train, test"),
        ("fps", "0", "no positive number"),
        ("fps", "nan", "no positive number"),
        ("frames", "9.5", "no positive whole number"),
        ("apex", "x", "no whole number"),
        ("proposed", "onset peak", "legal are onset, apex, offset"),
        ("class3", "happy", "legal are positive, negative, surprise"),
        ("box", "1 2 3", "no box"),
        ("box", "5 2 3 4", "no box"),
    ],
)
def test_a_wrong_value_is_named_with_line_and_column(tmp_path, column, value, complaint):
    path = tmp_path / "clips.csv"
    _write_changed(path, column, value)
    with pytest.raises(ValueError, match=complaint) as error:
        read_clips(path)
    assert "line 3" in str(error.value)
    assert f"column '{column}'" in str(error.value)


def test_missing_column_and_missing_file(tmp_path):
    path = tmp_path / "clips.csv"
    with pytest.raises(ValueError, match="no such clip list"):
        read_clips(path)
    path.write_text("clip,split\nc,train\n")
    with pytest.raises(ValueError, match="line 1: no column 'corpus'"):
        read_clips(path)


def test_other_encodings_are_named(tmp_path):
    path = tmp_path / "clips.csv"
    write_clips(path, [replace(FULL, emotion="dégoût")])
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    with pytest.raises(ValueError, match=r"clips\.csv is no CSV file in UTF-8"):
        read_clips(path)


def test_excel_exports_with_a_byte_order_mark_and_further_columns_are_read(tmp_path):
    path = tmp_path / "clips.csv"
    write_clips(path, [FULL])
    text = path.read_text(encoding="utf-8").replace("identity,objective_class", "identity,note")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_clips(path) == [replace(FULL, objective_class="")]


def test_a_table_that_somebody_has_changed_is_not_written_anew(tmp_path):
    table = tmp_path / "clips.csv"
    for rows in ([("a",)], [("a",), ("b",)]):
        write_table(table, ("clip",), rows, noted=True)
        check_unedited(table, tmp_path / "none.csv")
    written = table.read_text()
    table.write_text(written + "c\n")
    with pytest.raises(media.OutputError, match="clips.csv was changed after this program wrote it.*Move it"):
        check_unedited(table)
    table.unlink()
    check_unedited(table)
    write_table(table, ("clip",), [("a",), ("b",)], noted=True)
    assert table.read_text() == written


def test_a_table_that_nothing_says_was_written_here_is_left(tmp_path):
    """A user's, in a folder that is the program's otherwise; where it is the same, it need not be told apart."""
    write_table(tmp_path / "pairs.csv", ("a",), [(1,)])
    write_table(tmp_path / "pairs.csv", ("a",), [(1,)], noted=True)
    write_table(tmp_path / "pairs.csv", ("a",), [(2,)], noted=True)
    (tmp_path / "clips.csv").write_text("mine")
    with pytest.raises(media.OutputError, match="clips.csv is there, and nothing says .*Move it out"):
        write_table(tmp_path / "clips.csv", ("a",), [(1,)], noted=True)
    assert (tmp_path / "clips.csv").read_text() == "mine"
