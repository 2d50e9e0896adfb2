"""Messages on the console and in log.txt."""

import logging

import pytest
from detectron2.data.common import _TorchSerializedList

from d2video.engine.logs import LogFile, set_up_logs

pytestmark = pytest.mark.usefixtures("loggers_as_before")
logger = logging.getLogger("d2video.any")


def test_the_console_leaves_out_details_and_the_file_colours(tmp_path, capsys):
    set_up_logs(str(tmp_path), 0)
    logger.debug("all of the config")
    logger.info("\x1b[32mgreen\x1b[0m")
    logger.warning("look out")
    told = capsys.readouterr().out
    assert "all of the config" not in told
    assert "\x1b[32mgreen" in told
    assert "WARNING" in told
    text = (tmp_path / "log.txt").read_text()
    assert [line.split("d2video.any ")[1] for line in text.splitlines()] == [
        "DEBUG: all of the config",
        "INFO: green",
        "WARNING: look out",
    ]


def test_only_the_file_says_how_data_sets_are_serialized(tmp_path, capsys):
    set_up_logs(str(tmp_path), 0)
    _TorchSerializedList([{}, {}])
    logging.getLogger(_TorchSerializedList.__module__).warning("failed")
    told = capsys.readouterr().out
    assert "Serializ" not in told
    assert "failed" in told
    assert (tmp_path / "log.txt").read_text().count("Serializ") == 2


def test_without_a_folder_there_is_only_the_console(capsys):
    set_up_logs()
    logger.info("here")
    assert "here" in capsys.readouterr().out


def test_only_process_0_speaks_on_the_console(tmp_path, capsys):
    set_up_logs(str(tmp_path), 1)
    logger.info("here")
    assert capsys.readouterr().out == ""
    assert "here" in (tmp_path / "log.txt.rank1").read_text()
    set_up_logs(rank=1)
    logger.warning("here")
    assert capsys.readouterr() == ("", "")


def test_a_second_run_in_this_process_has_its_own_file(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        set_up_logs(str(tmp_path / name), 0)
        logger.info("run %s", name)
    assert capsys.readouterr().out.count("run b") == 1
    assert "run b" not in (tmp_path / "a/log.txt").read_text()


def test_a_full_disk_is_told_once(capsys):
    record = logging.makeLogRecord({"msg": "text"})
    file = LogFile("/dev/full")
    for _ in range(3):
        file.handle(record)
    assert capsys.readouterr().err == "/dev/full: cannot write (No space left on device)\n"


def test_a_slip_in_a_message_shows_its_traceback(tmp_path, capsys):
    file = LogFile(tmp_path / "log.txt")
    file.handle(logging.makeLogRecord({"msg": "%d samples", "args": ("many",)}))
    assert "Traceback" in capsys.readouterr().err
    file.close()
