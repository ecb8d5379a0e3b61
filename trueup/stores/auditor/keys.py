"""Ed25519 keys: made, stored, and used to sign and to verify.

A private key is a PEM file that only its owner can read; a public key travels as base64 of its 32 bytes. Whose key it
is, and what it may sign, is decided elsewhere: approvers in `approvals.py`, the auditor's own in `audit_log.py`.
"""

from __future__ import annotations

import base64
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trueup.stores.errors import TrueupError


class KeyUnusable(TrueupError):
    """A key file that is absent, not a key, or there already."""


@dataclass(frozen=True)
class SigningKey:
    """A private key and its public half in base64."""

    private: Ed25519PrivateKey
    public: str

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public!r})"

    def sign(self, message: bytes) -> str:
        """The signature, base64."""
        return base64.b64encode(self.private.sign(message)).decode()


def is_signed(public: str, signature: str, message: bytes) -> bool:
    """Whether the signature is this key's under this message; what is no key or no signature is not."""
    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes(public))
        key.verify(_bytes(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _bytes(text: str) -> bytes:
    """What base64 stands for. Python's decoder lets the last character vary; one text must have one meaning."""
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("not the canonical base64 of anything")
    return content


def new_key() -> SigningKey:
    """A fresh key pair, nowhere written yet."""
    return _signing(Ed25519PrivateKey.generate())


def write_key(path: Path, key: SigningKey) -> None:
    """Write a private key that only its owner can read. A key that is there is never written over (KeyUnusable)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # its owner's only
    unfinished = Path(name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    try:
        os.link(unfinished, path)  # unlike a rename, this fails if somebody was first
    except FileExistsError:
        raise KeyUnusable(f"{path} exists already.", "Give another name; keys are never written over.") from None
    finally:
        unfinished.unlink()


def read_key(path: Path) -> SigningKey:
    """Read a private key; raises KeyUnusable."""
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise KeyUnusable(
            f"there is no key file {path}.", "Make one with `trueup keys new --name N --out F`."
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm, IsADirectoryError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds no Ed25519 private key.", "Make one with `trueup keys new --name N --out F`.")
    return _signing(private)


def read_or_make_key(path: Path) -> SigningKey:
    """The key in the file, made on first use; of two processes that make it at once, both get the first one's."""
    if not path.exists():
        try:
            write_key(path, new_key())
        except KeyUnusable:
            return read_key(path)
    return read_key(path)


def _signing(private: Ed25519PrivateKey) -> SigningKey:
    public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return SigningKey(private, base64.b64encode(public).decode())
