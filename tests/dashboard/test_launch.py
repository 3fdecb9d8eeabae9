import os
import signal
import socket
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
from page_driver import PATIENCE_S, until

from dashboard.__main__ import main
from dashboard.launch import ADDRESS, checked_port, free_port, launch, settings
from dashboard.work.places import (
    READ_ONLY_VARIABLE,
    RESULTS_VARIABLE,
    TOKEN_VARIABLE,
    DashboardError,
    admitted,
)


@pytest.fixture
def busy_port():
    with socket.socket() as server:
        server.bind((ADDRESS, 0))
        server.listen()
        yield server.getsockname()[1]


def test_busy_port_is_reported_with_the_way_out(tmp_path, busy_port):
    with pytest.raises(DashboardError, match=rf"Port {busy_port}: .*in use.*--port"):
        launch(tmp_path, busy_port, open_browser=False)


def test_busy_port_ends_the_command_with_one_line(tmp_path, busy_port, capsys):
    assert main([str(tmp_path), "--port", str(busy_port), "--no-browser"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: Port")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("port", [-1, 70_000])
def test_number_that_is_no_port_is_refused(port):
    with pytest.raises(DashboardError, match="expected a free port"):
        checked_port(port)


def test_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DashboardError, match="found a file"):
        launch(tmp_path / "file", None, open_browser=False)


def test_free_port_can_be_listened_on():
    assert checked_port(free_port()) > 1023


def test_server_is_local_and_silent():
    config = settings(8501, open_browser=False)
    assert config["server.address"] == "127.0.0.1"
    assert config["browser.gatherUsageStats"] is False
    assert config["client.toolbarMode"] == "minimal"
    assert config["logger.hideWelcomeMessage"] is True
    assert config["server.headless"] is True


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
def test_ctrl_c_ends_the_server_without_a_traceback(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "dashboard", str(tmp_path), "--port", str(port), "--no-browser"]
    # A suite that was begun in a shell's background inherits an ignored SIGINT, and so would the server.
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=heeded) as server:

        def listens() -> bool:
            assert server.poll() is None
            with socket.socket() as probe:
                return probe.connect_ex((ADDRESS, port)) == 0

        try:
            until(listens)
            server.send_signal(signal.SIGINT)
            shown, told = server.communicate(timeout=PATIENCE_S)
        finally:
            server.kill()
    assert server.returncode in (0, 130), told
    assert shown == f"The dashboard: http://{ADDRESS}:{port} (Ctrl-C ends it)\n"
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_others_can_reach_has_a_token(monkeypatch, tmp_path, capsys, host, local):
    import streamlit

    monkeypatch.setattr(streamlit, "App", lambda app: SimpleNamespace(run=lambda config: None))
    for name in (RESULTS_VARIABLE, READ_ONLY_VARIABLE, TOKEN_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("dashboard.launch.free_port", lambda host: 8501)
    launch(tmp_path, None, open_browser=False, host=host)
    token = os.environ.get(TOKEN_VARIABLE)
    assert (token is None) == local
    assert admitted(token)
    assert admitted(None) == local
    assert admitted("guess") == local
    assert (f"?token={token}" in capsys.readouterr().out) != local


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(DashboardError, match="Correct --host"):
        free_port("192.0.2.1")


def test_launcher_needs_no_streamlit_until_it_serves():
    code = "import sys, dashboard.launch; print('torch' in sys.modules, 'streamlit' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
