"""``itae serve``: what it says, whom it lets in, what it refuses before long work, and how it stops."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from app_bases import draw_photos
from buckets import imitated_s3

pytest.importorskip("lance")
pytest.importorskip("fastapi")

from itae.app.compose import conf_dir
from itae.app.knowledge.words import Asked, config
from itae.app.serve.choices import rules_of
from itae.app.serve.listening import is_everywhere, is_loopback, listening
from itae.app.serve.main import _read_only
from itae.base.errors import UserError
from itae.serve.door.token_files import token_files
from itae.serve.settings import Settings, file_name, state_folder

LINK = re.compile(r"link       (.+)  (http://127\.0\.0\.1:(\d+)/enter\?code=[\w-]{43})")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a base."""
    folder = tmp_path_factory.mktemp("made")
    draw_photos(folder)
    for words in ("init kb", "add kb dataset=imagefolder dataset.root=photos --source album"):
        subprocess.run([sys.executable, "-m", "itae", "knowledge", *words.split(), f"paths.cache={folder}/cache"],
                       cwd=folder, check=True, capture_output=True)  # fmt: skip
    return folder


def _hears():
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Running:
    """The command as a process of its own, and what it has said.

    Whoever runs the tests by nohup, or in the background of a shell, has signals ignored, and children inherit that.
    """

    def __init__(self, folder, *words, **more):
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            command = [sys.executable, "-m", "itae", "serve", *words, f"paths.cache={folder}/cache"]
            self.process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err, preexec_fn=_hears, **more)
        self.wait_for("Ctrl-C stops it.")

    @property
    def said(self):
        return self.out.read_text()

    def wait_for(self, text, count=1):
        until = time.monotonic() + 120
        while self.said.count(text) < count:
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < until, self.said
            time.sleep(0.05)

    def link(self, user):
        return [url for name, url, _ in LINK.findall(self.said) if name == user][-1]

    @property
    def port(self):
        return int(LINK.search(self.said)[3])

    def token(self, user):
        return re.search(rf"^token      {user}  (.+)$", self.said, re.MULTILINE)[1]

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def running(folder, *words, **more):
    one = Running(folder, *words, **more)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def get(url, **headers):
    """Return the status, headers and text of an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


@pytest.mark.slow
def test_two_users_are_let_in_and_the_server_stops(made, tmp_path):
    """From the links on the terminal to Ctrl-C, through a pipe, where nothing is flushed by itself."""
    state = tmp_path / "state"
    with running(made, "kb", "--port", "0", "--user", "Ann", "--user", "Bo B/..", "--state", str(state)) as server:
        lines = server.said.splitlines()
        assert lines[0] == f"base       {made}/kb, version 1, 24 rows"
        assert [name for name, _, _ in LINK.findall(server.said)] == ["Ann", "Bo B/.."]
        here = f"http://127.0.0.1:{server.port}"
        assert get(f"{here}/api/base")[0] == 401
        link = server.link("Ann")
        status, headers, page = get(link)
        assert (status, "url=/" in page) == (200, True)
        cookie = headers["Set-Cookie"].partition(";")[0]
        server.wait_for("link       Ann", 2)
        assert server.link("Ann") != link
        assert get(link)[0] == 401
        assert '"user":"Ann"' in get(f"{here}/api/base", Cookie=cookie)[2]
        file = server.token("Bo B/\\.\\.")
        assert os.path.dirname(file).startswith(str(state))
        with open(file) as stream:
            token = stream.read().strip()
        places = file, os.path.dirname(file), next(state.iterdir())
        assert [stat.S_IMODE(os.stat(place).st_mode) for place in places] == [0o600, 0o700, 0o700]
        assert '"user":"Bo B/.."' in get(f"{here}/api/base", Authorization=f"Bearer {token}")[2]
        again = subprocess.run([sys.executable, "-m", "itae", "serve", "kb", "--port", str(server.port)],
                               cwd=made, capture_output=True, text=True)  # fmt: skip
        assert (again.returncode, again.stdout) == (2, "")
        assert f"--port {server.port} is in use" in again.stderr
        assert server.stop() == 0
        assert server.said.splitlines()[-1] == "stopped"
        assert server.err.read_text() == ""
        assert [path for path in state.rglob("*") if path.is_file()] == []
        with socket.socket() as one:
            assert one.connect_ex(("127.0.0.1", server.port))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_stops_when_told_also_in_the_midst_of_an_answer(made, tmp_path, number):
    """An upload that never ends is given up after some seconds, without a traceback."""
    with running(made, "kb", "--port", "0", "--user", "Ann", "--read-only", "--state", str(tmp_path)) as server:
        assert "read only  The base is served with --read-only: nothing can be edited." in server.said
        token = open(server.token("Ann")).read().strip()  # noqa: SIM115
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            head = ["POST /api/searches/picture HTTP/1.1", f"Host: 127.0.0.1:{server.port}",
                    f"Authorization: Bearer {token}", "Content-Length: 1000", "", "x"]  # fmt: skip
            link.sendall("\r\n".join(head).encode())
            time.sleep(0.5)
            began = time.monotonic()
            assert server.stop(number) == 0
            assert time.monotonic() - began < 15
        assert server.said.endswith("stopped\n")
        assert server.err.read_text() == ""
        assert not list(tmp_path.rglob("Ann"))


@pytest.mark.slow
def test_a_second_ctrl_c_ends_it_at_once(made, tmp_path):
    with running(made, "kb", "--port", "0", "--user", "Ann", "--state", str(tmp_path)) as server:
        with open(server.token("Ann")) as stream:
            token = stream.read().strip()
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            head = ["POST /api/searches/picture HTTP/1.1", f"Host: 127.0.0.1:{server.port}",
                    f"Authorization: Bearer {token}", "Content-Length: 1000", "", "x"]  # fmt: skip
            link.sendall("\r\n".join(head).encode())
            time.sleep(0.5)
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            began = time.monotonic()
            assert server.stop() == 130
            assert time.monotonic() - began < 2
        assert "Traceback" not in server.err.read_text()
        assert not list(tmp_path.rglob("Ann"))


@pytest.mark.slow
def test_a_base_in_an_object_store_that_others_edit_is_served(tmp_path):
    draw_photos(tmp_path)
    with imitated_s3(tmp_path) as (url, settings):
        environment = os.environ | settings | {"ITAE_CACHE": str(tmp_path / "cache")}

        def knowledge(words):
            command = [sys.executable, "-m", "itae", "knowledge", *words.split()]
            subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=environment)

        knowledge(f"init {url}/kb --images embed")
        knowledge(f"add {url}/kb dataset=imagefolder dataset.root=photos --source album")
        words = f"{url}/kb --port 0 --user Ann --state state".split()
        with running(tmp_path, *words, env=environment) as server:
            assert server.said.startswith(f"base       {url}/kb, version 1, 24 rows\n")
            assert "read only" not in server.said
            here = f"http://127.0.0.1:{server.port}"
            with open(server.token("Ann")) as stream:
                bearer = f"Bearer {stream.read().strip()}"
            assert '"read_only":null' in get(f"{here}/api/base", Authorization=bearer)[2]
            knowledge(f"delete {url}/kb --label two")
            time.sleep(2)
            told = json.loads(get(f"{here}/api/version?seen=1", Authorization=bearer)[2])
            assert (told["version"], told["rows"], [edit["verb"] for edit in told["edits"]]) == (2, 16, ["delete"])
            assert server.stop() == 0
            assert server.err.read_text() == ""


# --- mistakes, told before a base is opened


MISTAKES = [
    ("--port 65536", "--port=65536", "65,535"),
    ("--port -1", "--port=-1", "at least 0"),
    ("--port eight", "'eight'", "--port"),
    ("--host nowhere.invalid", "--host 'nowhere.invalid'", "127.0.0.1"),
    ("--host 192.0.2.1", "--host 192.0.2.1", "no address of this machine"),
    ("--host=", "--host ''", "127.0.0.1"),
    ("--host ..", "--host '..'", "127.0.0.1"),
    ("--user=", "--user ''", "empty"),
    ("--user ann --user ann", "--user 'ann'", "twice"),
    (f"--user {'x' * 65}", "longer than 64 bytes"),
    (f"--user {'é' * 33}", "longer than 64 bytes"),
    ("--user a\x1b[31mb", r"'a\x1b[31mb'", "can't be seen"),
    ("--user a\u202eb", r"a\u202eb", "can't be seen"),
    ("--allow-host http://a.example", "--allow-host 'http://a.example'", "without http://"),
    ("--allow-host a.example:80", "--allow-host 'a.example:80'", "port"),
    ("--state=", "--state=''", "names no folder"),
    ("--port 0", "nowhere", "itae knowledge init"),
    ("backbone=dinov2_s14", "backbone=dinov2_s14", "has no use"),
    ("other", "unrecognized arguments: other"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=[one[0][:30] for one in MISTAKES])
def test_a_mistake_is_a_sentence(itae_, mistake):
    """There is no base, and that is told last."""
    words, *told = mistake
    status, out, err = itae_("serve", "nowhere", "--port", "0", *words.split(" "))
    assert (status, out) == (2, "")
    assert err.startswith("itae: ")
    assert err.count("\n") == 1
    for each in told:
        assert each in err


@pytest.mark.slow
@pytest.mark.parametrize("words", ["feedback=nearst", "runtime.engine=ray", "voter.k=0", "--at 9"])
def test_a_mistake_about_a_base_is_a_sentence(itae_, made, words):
    status, out, err = itae_("serve", str(made / "kb"), "--port", "0", *words.split(" "))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words.split(" ")[-1].rpartition("=")[2] in err


def test_a_port_in_use_is_told(itae_):
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        status, _, err = itae_("serve", "nowhere", "--port", str(port))
    assert status == 2
    assert f"--port {port} is in use" in err
    assert "--port 0" in err


def test_a_port_of_the_systems_is_told(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(UserError, match="--port 80 is for programs of the system's own"):
        listening("127.0.0.1", 80)
    with pytest.raises(UserError, match=r"--port 8000 can't be listened on \(Permission denied\)"):
        listening("127.0.0.1", 8000)


@pytest.mark.parametrize("name", ["fastapi", "uvicorn"])
def test_what_is_not_installed_is_told(itae_, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    status, _, err = itae_("serve", "nowhere", "--port", "0")
    assert status == 2
    assert "pip install 'itae[serve]'" in err


def test_a_home_that_is_none_is_told(monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(UserError, match=r"HOME is not set.*--state"):
        state_folder("kb")


def test_help_tells_every_option(itae_):
    status, out, _ = itae_("serve", "--help")
    assert status == 0
    for option in (
        "--at",
        "--port",
        "--host",
        "--allow-host",
        "--user",
        "--read-only",
        "--state",
        "feedback=",
        "voter=",
    ):
        assert option in out


# --- where things are


def test_what_lasts_lies_in_the_state_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder("kb") == tmp_path / "itae/serve/kb"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder("kb") == tmp_path / ".local/state/itae/serve/kb"
    monkeypatch.chdir(tmp_path)
    assert state_folder("../..", "some") == tmp_path / "some/..%2F.."
    assert Settings(tmp_path, ("a",)).sessions_of("../b") == tmp_path / "sessions/..%2Fb"


@pytest.mark.parametrize("name", [".", "..", "a/b", "Ann", "é/.."])
def test_a_name_is_one_folder(tmp_path, name):
    (tmp_path / file_name(name)).mkdir()
    assert [path.parent for path in tmp_path.iterdir()] == [tmp_path]


def test_tokens_are_nobody_elses_to_read_and_go_again(tmp_path):
    before = os.umask(0)
    try:
        with token_files(tmp_path / "deep/state", 8000, {"Ann": "secret", "../Bo": "other"}) as files:
            assert {name: file.read_text() for name, file in files.items()} == {"Ann": "secret\n", "../Bo": "other\n"}
            for file in files.values():
                assert file.stat().st_mode & 0o777 == 0o600
                assert file.parent == tmp_path / "deep/state/tokens/8000"
            for folder in ("deep/state", "deep/state/tokens", "deep/state/tokens/8000"):
                assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
    assert list((tmp_path / "deep/state/tokens").iterdir()) == []


def test_tokens_were_never_anybody_elses_to_read(tmp_path, monkeypatch):
    """Their folders are private from the start, also where the user lets others read what is made."""
    monkeypatch.setattr(Path, "chmod", lambda self, mode: None)
    before = os.umask(0)
    try:
        with token_files(tmp_path / "state", 8000, {"Ann": "secret"}) as files:
            assert files["Ann"].parent.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
    shared = tmp_path / "shared"  # as on a disk without permissions
    shared.mkdir()
    shared.chmod(0o777)
    os.chmod(shared, 0o777)
    with pytest.raises(UserError, match="can't be kept from other users"), token_files(shared, 8000, {"Ann": "x"}):
        pass


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("itae.serve.door.token_files._write", full)
    with (
        pytest.raises(UserError, match=r"can't be written into .*tokens/8000 \(No space left"),
        token_files(tmp_path, 8000, {"Ann": "x"}),
    ):
        pass
    assert not (tmp_path / "tokens/8000").exists()


def test_tokens_of_a_server_that_was_killed_are_no_others(tmp_path):
    old, elsewhere = tmp_path / "tokens/8000", tmp_path / "elsewhere"
    old.mkdir(parents=True)
    elsewhere.write_text("a file")
    (old / "Ann").symlink_to(elsewhere)
    (old / "Bo").write_text("old")
    with token_files(tmp_path, 8000, {"Ann": "new"}) as files, token_files(tmp_path, 8001, {"Ann": "x"}) as others:
        assert files["Ann"].read_text() == "new\n"
        assert [path.name for path in old.iterdir()] == ["Ann"]
        assert others["Ann"].read_text() == "x\n"
    assert elsewhere.read_text() == "a file"


def test_a_folder_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        with pytest.raises(UserError, match="--state"), token_files(tmp_path / folder, 8000, {"Ann": "x"}):
            pass


# --- what is served


def test_hosts_are_addresses_of_this_machine():
    with listening("localhost", 0) as one:
        assert (is_loopback(one), is_everywhere(one)) == (True, False)
    with listening("0.0.0.0", 0) as one:
        assert (is_loopback(one), is_everywhere(one)) == (False, True)
    if socket.has_ipv6:
        with contextlib.suppress(UserError), listening("[::1]", 0) as one:  # a machine may be without
            assert is_loopback(one)


@pytest.mark.parametrize(
    ("words", "name"),
    [([], "nearest"), (["feedback.within=nearest"], "nearest"),
     (["feedback=kernel", "feedback.temperature=0.2"], "kernel"),
     (["feedback._target_=itae.feedback.Margin", "~feedback.within"], "margin")],
)  # fmt: skip
def test_rules_are_those_of_their_files_and_the_chosen_one(words, name):
    chosen = config(words)["feedback"]
    rules, found = rules_of(Asked(None, [], words), chosen)
    assert (found, rules[found]) == (name, chosen)
    shipped = {path.stem for path in (conf_dir() / "feedback").glob("*.yaml")}
    assert rules.keys() == shipped
    for each in shipped - {name}:
        assert rules[each] == config([f"feedback={each}"])["feedback"]


def test_a_base_is_read_only_for_a_reason(itae_, tmp_path, monkeypatch):
    def why(where=str(tmp_path), at=None, read_only=False):
        from argparse import Namespace

        return _read_only(Namespace(at=at, read_only=read_only), where)

    assert why() is None
    assert why(at="3").startswith("This is version 3 of the base")
    assert "--read-only" in why(read_only=True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "may not write to the folder" in why()
    assert why("s3://shelf/kb") is None


def test_a_network_is_told_what_it_means(capsys):
    from itae.app.serve.main import _say_who_reaches
    from itae.serve.door.hosts import Hosts

    with listening("0.0.0.0", 0) as one:
        _say_who_reaches(Hosts(8000, ("0.0.0.0",), ("photos.example.org",)), one)
    out = capsys.readouterr().out
    assert "nothing that is sent is encrypted" in out
    assert "photos.example.org" in out
    with listening("127.0.0.1", 0) as one:
        _say_who_reaches(Hosts(8000, ("127.0.0.1",)), one)
    assert capsys.readouterr().out == ""
