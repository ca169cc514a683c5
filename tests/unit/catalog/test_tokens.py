"""Tokens that are ours, and all the others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cais.catalog import tokens
from cais.catalog.rules import Subject
from cais.catalog.scopes import Scope
from cais.catalog.tokens import BadToken, SigningKey, Tokens

ALICE = Subject("account", "alice")
SCOPES = (Scope("repository", "team/app", ("pull", "push")),)


class Ring:
    """Keys in memory."""

    def __init__(self) -> None:
        self.current = SigningKey("one", Ed25519PrivateKey.generate())
        self.known = {"one": self.current.private.public_key()}

    def signing(self) -> SigningKey:
        return self.current

    def verifying(self, kid: str) -> Ed25519PublicKey | None:
        return self.known.get(kid)

    def has(self, kid: str) -> bool:
        return kid in self.known

    def rotate(self, kid: str) -> None:
        self.current = SigningKey(kid, Ed25519PrivateKey.generate())
        self.known[kid] = self.current.private.public_key()


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ring() -> Ring:
    return Ring()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ours(ring: Ring, clock: Clock) -> Tokens:
    return Tokens(ring, "registry", 300, clock)


def claims(clock: Clock, **other: Any) -> dict[str, Any]:
    now = int(clock.now)
    made = {
        "iss": "registry", "sub": "alice", "aud": "registry", "exp": now + 60, "nbf": now, "iat": now, "jti": "x",
        "access": [{"type": "repository", "name": "team/app", "actions": ["pull"]}],
    }  # fmt: skip
    return {name: value for name, value in {**made, **other}.items() if value is not None}


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_there_and_back(ours: Tokens) -> None:
    signed = ours.sign(ALICE, SCOPES)
    read = ours.verify(signed.token)
    assert (read.subject, read.scopes, read.expires) == (ALICE, SCOPES, signed.issued + 300)
    assert read.id and read.id != ours.verify(ours.sign(ALICE, SCOPES).token).id
    assert signed.token not in repr(signed)


@pytest.mark.parametrize("subject", [ALICE, Subject("robot", "ci"), Subject("anonymous")])
def test_every_kind_of_subject(ours: Tokens, subject: Subject) -> None:
    assert ours.verify(ours.sign(subject, ()).token).subject == subject


def test_a_token_is_for_its_scope_alone(ours: Tokens) -> None:
    read = ours.verify(ours.sign(ALICE, SCOPES).token)
    assert read.allows("repository", "team/app", "push")
    assert not read.allows("repository", "team/app", "delete")
    assert not read.allows("repository", "team/app2", "pull")
    assert not read.allows("repository", "team", "pull")
    assert not read.allows("registry", "team/app", "pull")


def test_the_signature_is_checked_once(ours: Tokens, ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    token = ours.sign(ALICE, SCOPES).token
    ours.verify(token)
    monkeypatch.setattr(jwt, "decode", lambda *arguments, **named: pytest.fail("decoded again"))
    assert ours.verify(token).subject == ALICE


def test_a_remembered_token_expires_all_the_same(ours: Tokens, clock: Clock) -> None:
    token = ours.sign(ALICE, SCOPES).token
    ours.verify(token)
    clock.now += 301
    with pytest.raises(BadToken, match="expired"):
        ours.verify(token)
    assert not ours._verified


def test_a_remembered_token_goes_with_its_key(ours: Tokens, ring: Ring) -> None:
    token = ours.sign(ALICE, SCOPES).token
    ours.verify(token)
    del ring.known["one"]
    with pytest.raises(BadToken):
        ours.verify(token)


def test_keys_overlap(ours: Tokens, ring: Ring) -> None:
    old = ours.sign(ALICE, SCOPES).token
    ring.rotate("two")
    new = ours.sign(ALICE, SCOPES).token
    assert jwt.get_unverified_header(new)["kid"] == "two"
    assert ours.verify(old).subject == ours.verify(new).subject == ALICE


def test_what_is_remembered_has_a_bound(ours: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_REMEMBERED", 3)
    for _ in range(5):
        ours.verify(ours.sign(ALICE, SCOPES).token)
    assert len(ours._verified) == 3


def forged(ring: Ring, clock: Clock) -> dict[str, str]:
    private = ring.current.private
    public = private.public_key()
    header = {"alg": "EdDSA", "typ": "JWT", "kid": "one"}
    good = jwt.encode(claims(clock), private, "EdDSA", headers={"kid": "one"})
    head, body, signature = good.split(".")
    stranger = Ed25519PrivateKey.generate()
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def by_hmac(key: bytes) -> str:
        text = f"{part({**header, 'alg': 'HS256'})}.{part(claims(clock))}"
        mac = base64.urlsafe_b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).rstrip(b"=").decode()
        return f"{text}.{mac}"

    def signed(**other: Any) -> str:
        return jwt.encode(claims(clock, **other), private, "EdDSA", headers={"kid": "one"})

    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(
        stranger.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    ).rstrip(b"=").decode()}  # fmt: skip
    now = int(clock.now)
    return {
        "alg none": f"{part({**header, 'alg': 'none'})}.{body}.",
        "alg None": f"{part({**header, 'alg': 'None'})}.{body}.",
        "alg none with the signature": f"{part({**header, 'alg': 'none'})}.{body}.{signature}",
        "no signature": f"{head}.{body}.",
        "HS256 with the public key as PEM": by_hmac(pem),
        "HS256 with the public key, raw": by_hmac(raw),
        "HS256 with no key": by_hmac(b""),
        "ES256": jwt.encode(claims(clock), curve, "ES256", headers={"kid": "one"}),
        "a stranger's key under our kid": jwt.encode(claims(clock), stranger, "EdDSA", headers={"kid": "one"}),
        "a stranger's kid": jwt.encode(claims(clock), stranger, "EdDSA", headers={"kid": "two"}),
        "no kid": jwt.encode(claims(clock), private, "EdDSA"),
        "a kid that is a path": jwt.encode(claims(clock), stranger, "EdDSA", headers={"kid": "../../dev/null"}),
        "a kid that is SQL": jwt.encode(claims(clock), stranger, "EdDSA", headers={"kid": "' OR 1=1 --"}),
        "a kid that is a list": f"{part({**header, 'kid': ['one']})}.{body}.{signature}",
        "its own key": jwt.encode(claims(clock), stranger, "EdDSA", headers={"kid": "one", "jwk": jwk}),
        "another body": f"{head}.{part(claims(clock, sub='root'))}.{signature}",
        "cut": good[:-1],
        "cut in the middle": good[: len(good) // 2],
        "another audience": signed(aud="elsewhere"),
        "several audiences": signed(aud=["registry", "elsewhere"]),
        "another issuer": signed(iss="elsewhere"),
        "expired": signed(exp=now - 1, nbf=now - 100),
        "expires never": signed(exp=None),
        "expires at infinity": signed(exp="1e999"),
        "not yet": signed(nbf=now + 60, exp=now + 120),
        "no access": signed(access=None),
        "access of another shape": signed(access=[{"type": "repository"}]),
        "no subject": signed(sub=None),
        "no identifier": signed(jti=None),
        "huge": "e30." + "A" * 200_000 + ".AA",
        "deep": f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.{body}.{signature}",
        "empty": "",
        "words": "not a token",
        "dots": "....",
        "no JSON": f"AAAA.{body}.{signature}",
        "not ASCII": "é.é.é",
    }


FORGERIES = [*forged(Ring(), Clock())]


@pytest.mark.parametrize("name", FORGERIES)
def test_forged(ours: Tokens, ring: Ring, clock: Clock, name: str) -> None:
    token = forged(ring, clock)[name]
    with pytest.raises(BadToken) as raised:
        ours.verify(token)
    assert not token or token not in str(raised.value)
    assert not ours._verified, "what was not believed is not remembered"


def test_what_the_forgeries_start_from_is_believed(ours: Tokens, ring: Ring, clock: Clock) -> None:
    """The test above would pass over tokens that are all refused for another reason."""
    token = jwt.encode(claims(clock), ring.current.private, "EdDSA", headers={"kid": "one"})
    assert ours.verify(token).subject == ALICE


def test_a_signature_is_not_malleable_by_its_base64(ours: Tokens, ring: Ring, clock: Clock) -> None:
    """Spare bits of the last character, or padding, must not make a second spelling that slips past a list of tokens;
    where a decoder accepts them it is the same token and expires the same."""
    token = ours.sign(ALICE, SCOPES).token
    for other in (token + "=", token + "=="):
        try:
            assert ours.verify(other) == ours.verify(token)
        except BadToken:
            pass
