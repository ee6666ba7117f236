import numpy as np
import pandas as pd
import pytest

from dfd.core.errors import DfdError
from dfd.evaluation.talk_panels import draw_panels, panel_page
from dfd.inference.media import media_files
from dfd.inference.talk_windows import delay_names, in_order, summary_row


def windows(count=60, offset=2):
    random = np.random.default_rng(0)
    delays = np.exp(-0.5 * ((np.arange(31) - 15 - random.normal(0, 1, count)[:, None]) / 1.5) ** 2)
    table = pd.DataFrame(delays / delays.sum(1, keepdims=True), columns=delay_names(31))
    frames = np.concatenate([np.arange(1, 31), np.arange(45, 45 + count - 30)])
    about = {
        "frame": frames,
        "time_s": frames / 25,
        "kl": random.gamma(2, 0.2, count),
        "feat_mse": random.gamma(2, 0.05, count),
    }
    return pd.concat([pd.DataFrame({**about, "offset": offset}), table], axis=1)


def test_panels_and_their_page_are_written(tmp_path):
    clip = tmp_path / "a <clip>.mp4"
    clip.touch()
    picture = draw_panels(windows(), tmp_path / "a.png", clip.name, "score 0.4, real")
    page = panel_page([(clip, picture, "score 0.4, real")], tmp_path)
    assert picture.stat().st_size > 20_000
    text = page.read_text(encoding="utf-8")
    assert "a &lt;clip&gt;.mp4" in text
    assert 'src="a.png"' in text


def test_windows_that_views_share_are_one_row():
    one, two = windows().iloc[:20], windows().iloc[10:30]
    table = in_order([one, two])
    assert table["frame"].tolist() == sorted(set(one["frame"]) | set(two["frame"]))
    row = summary_row("=cmd|clip.mp4", "real", 0.4, table)
    assert row["file"] == "'=cmd|clip.mp4"
    assert row["offset_frames"] == 2
    assert row["max_kl_time_s"] == table.loc[table["kl"].idxmax(), "time_s"]


def test_a_text_file_lists_what_is_judged(tmp_path):
    (tmp_path / "a.mp4").touch()
    listing = tmp_path / "list.txt"
    listing.write_text("# clips\na.mp4\n\n/absent/b.mp4\n")
    assert [path.name for path in media_files([listing])] == ["a.mp4", "b.mp4"]
    assert media_files([listing])[0].is_file()
    listing.write_text("\n")
    with pytest.raises(DfdError, match="names no file"):
        media_files([listing])


def test_a_prediction_that_is_resumed_still_knows_its_windows(tmp_path):
    from dfd.inference.journal import Journal
    from dfd.inference.verdict import FileResult, ViewScores

    clip = tmp_path / "a.mp4"
    clip.touch()
    views = ViewScores(np.zeros(1), np.ones(1), np.zeros(1, int), windows=windows())
    Journal(tmp_path, {"run": "x"}, FileResult).add(FileResult(clip, "real", 1.0, None, "", "", [views]))
    again = Journal(tmp_path, {"run": "x"}, FileResult).result(clip)
    pd.testing.assert_frame_equal(again.views[0].windows, windows())
