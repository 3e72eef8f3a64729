"""The hub's reachability against servers on this machine: one that answers, one that never does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub
import pytest

from headway.fetch import hub


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hub, "_TIMEOUT", 0.5)
    hub._trouble.cache_clear()
    yield
    hub._trouble.cache_clear()


def _endpoint(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    class Api:
        endpoint = address

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)


@pytest.mark.parametrize("status", [200, 404, 503])
def test_any_answer_will_do(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        _endpoint(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        assert hub.trouble() == ""


def test_a_hub_that_does_not_answer_is_given_up_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        _endpoint(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}")
        begin = time.monotonic()
        first = hub.trouble()
        assert "127.0.0.1" in first
        assert 0.4 < time.monotonic() - begin < 3
        begin = time.monotonic()
        assert hub.trouble() == first
        assert time.monotonic() - begin < 0.3


def test_a_name_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()

    def slow(*_args: object, **_kwargs: object) -> None:
        stop.wait(20)
        raise socket.gaierror("at last")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    _endpoint(monkeypatch, "http://hub.invalid")
    begin = time.monotonic()
    assert hub.trouble() == "no answer from http://hub.invalid within 0.5 seconds"
    assert time.monotonic() - begin < 5
    stop.set()


def test_a_failure_is_remembered_for_a_minute_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    _endpoint(monkeypatch, f"http://127.0.0.1:{port}")
    monkeypatch.setattr(hub, "monotonic", lambda: 30.0)
    assert hub.trouble()
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: _Answers())
    assert hub.trouble()
    monkeypatch.setattr(hub, "monotonic", lambda: 95.0)
    assert hub.trouble() == ""


class _Answers:
    def head(self, *_args: object, **_kwargs: object) -> None:
        pass
