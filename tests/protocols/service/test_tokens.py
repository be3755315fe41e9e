import os

import pytest

from protocols.service.tokens import SIGNED_IN_SECONDS, Token
from secagg.errors import ParameterError

NOW = 1_795_900_000.5


def test_a_token_is_made_once_in_a_file_of_its_owner(tmp_path):
    path = tmp_path / "token"
    token = Token.in_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Token.in_file(path).text == token.text == path.read_text().strip()
    assert token.text not in repr(token)
    assert len(token.text) == 64


def test_a_file_that_others_may_read_or_that_holds_none_is_refused(tmp_path):
    path = tmp_path / "token"
    Token.in_file(path)
    path.chmod(0o640)
    with pytest.raises(ParameterError, match="chmod 600"):
        Token.in_file(path)
    for text in (b"", b"short", b"with a blank in it, long", b"\xff" * 30, b"x" * 2000, "é".encode() * 20):
        path.unlink()
        os.close(os.open(path, os.O_CREAT, 0o600))
        path.write_bytes(text)
        with pytest.raises(ParameterError, match=str(path)):
            Token.in_file(path)
    with pytest.raises(ParameterError, match="cannot be written"):
        Token.in_file(tmp_path / "nowhere" / "token")


def test_only_the_token_matches():
    token = Token.new()
    assert token.matches(token.text)
    for other in ("", token.text[:-1], token.text + "0", token.text.upper() + "x", "\udcff", "é"):
        assert not token.matches(other)


def test_a_cookie_holds_for_its_token_and_its_time():
    token = Token.new()
    cookie = token.cookie(NOW)
    assert token.text not in cookie
    assert token.admits(cookie, NOW)
    assert token.admits(cookie, NOW + SIGNED_IN_SECONDS - 2)
    assert not token.admits(cookie, NOW + SIGNED_IN_SECONDS)
    assert not Token.new().admits(cookie, NOW)
    until, _, mac = cookie.partition(".")
    for bent in ("", until, f"{int(until) + 1}.{mac}", f"{until}.{mac[:-1]}", f"{until}.{mac}\n", f"0{until}.{mac}"):
        assert not token.admits(bent, NOW)
    flipped = mac[:-1] + ("0" if mac[-1] != "0" else "1")
    assert not token.admits(f"{until}.{flipped}", NOW)
    assert not token.admits(token.cookie(NOW + 10 * SIGNED_IN_SECONDS), NOW)  # a clock that was set back
