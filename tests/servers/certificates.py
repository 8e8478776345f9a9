"""Certificates good and bad, written as PEM files into one folder; nothing here opens a socket.

`write_all` makes `ca.pem` (the authority the tests trust), `KIND.pem` (key and chain) for each
kind of server in `SERVERS`, and `client.pem`, `client-split.pem` + `client-split.key` and
`client-foreign.pem`. All kinds but the named fault are good for 127.0.0.1. FAULTS F6.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
HERE = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))
# DER of the object identifiers sha256WithRSAEncryption and sha1WithRSAEncryption (RFC 8017).
SHA256_RSA = bytes.fromhex("2a864886f70d01010b")
SHA1_RSA = bytes.fromhex("2a864886f70d010105")


@dataclass
class Identity:
    """A certificate and its key."""

    certificate: bytes
    key: Any
    name: x509.Name

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def pem(self) -> bytes:
        text = base64.encodebytes(self.certificate)
        return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def issue(
    common_name: str,
    issuer: Identity | None = None,
    *,
    names: tuple[x509.GeneralName, ...] = HERE,
    authority: bool = False,
    starts: datetime.datetime = NOW - DAY,
    ends: datetime.datetime = NOW + 30 * DAY,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    key: Any = None,
    constraint: x509.NameConstraints | None = None,
) -> Identity:
    """A certificate signed by `issuer`, or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if authority:
        signs = {"key_cert_sign": True, "crl_sign": True, "digital_signature": True}
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        others += ("encipher_only", "decipher_only")
        usages = x509.KeyUsage(**signs, **dict.fromkeys(others, False))
        builder = builder.add_extension(usages, critical=True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names and not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if constraint:
        builder = builder.add_extension(constraint, critical=True)
    signed = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Identity(signed.public_bytes(serialization.Encoding.DER), key, subject)


def length(size: int) -> bytes:
    """A DER length (X.690 §8.1.3)."""
    return bytes([0x82]) + size.to_bytes(2, "big")


def signed_with_sha1(identity: Identity, issuer: Identity) -> Identity:
    """The same certificate with SHA-1 in its signature, which libraries no longer make."""
    parsed = x509.load_der_x509_certificate(identity.certificate)
    body = parsed.tbs_certificate_bytes.replace(SHA256_RSA, SHA1_RSA)
    signature = b"\0" + issuer.key.sign(body, padding.PKCS1v15(), hashes.SHA1())
    algorithm = b"\x30\x0d\x06\x09" + SHA1_RSA + b"\x05\0"
    whole = body + algorithm + b"\x03" + length(len(signature)) + signature
    return Identity(b"\x30" + length(len(whole)) + whole, identity.key, identity.name)


def rsa_key(bits: int) -> Any:
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


def pin(identity: Identity) -> str:
    """`sha256/…` of the public key, as RFC 7469 §2.4 has it."""
    public = identity.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return "sha256/" + base64.b64encode(hashlib.sha256(public).digest()).decode()


def write_all(folder: Path) -> dict[str, str]:
    """Write every file; gives the pins of the good server and of another key."""
    root = issue("test root", authority=True, key=rsa_key(2048))
    foreign = issue("foreign root", authority=True)
    middle = issue("test intermediate", root, authority=True)
    narrow = x509.NameConstraints(
        [x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")), x509.DNSName("invalid")], None
    )
    narrowed = issue("narrow intermediate", root, authority=True, constraint=narrow)
    no_authority = issue("no authority", root)
    other = (x509.DNSName("other.invalid"),)
    other_ip = (x509.IPAddress(ipaddress.ip_address("127.0.0.2")),)
    good = issue("good", root)
    chains = {
        "good": [good],
        "good-intermediate": [issue("good", middle), middle],
        "other-key": [issue("other key", root)],
        "expired": [issue("expired", root, starts=NOW - 9 * DAY, ends=NOW - DAY)],
        "not-yet-valid": [issue("future", root, starts=NOW + DAY)],
        "wrong-name": [issue("other.invalid", root, names=other)],
        "wrong-ip": [issue("127.0.0.2", root, names=other_ip)],
        "common-name-only": [issue("127.0.0.1", root, names=())],
        "self-signed": [issue("self signed")],
        "unknown-authority": [issue("unknown authority", foreign)],
        "unknown-authority-sent-along": [issue("unknown authority", foreign), foreign],
        "missing-intermediate": [issue("missing intermediate", middle)],
        "issuer-is-no-authority": [issue("below a leaf", no_authority), no_authority],
        "name-constraint": [issue("outside its constraint", narrowed), narrowed],
        "client-only-usage": [issue("client", root, usage=ExtendedKeyUsageOID.CLIENT_AUTH)],
        "rsa-1024": [issue("rsa 1024", root, key=rsa_key(1024))],
        "sha-1": [signed_with_sha1(issue("sha 1", root), root)],
    }
    for kind, chain in chains.items():
        text = chain[0].key_pem + b"".join(link.pem for link in chain)
        (folder / f"{kind}.pem").write_bytes(text)
    client = issue("the client", root, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    unknown = issue("a stranger", foreign, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    (folder / "ca.pem").write_bytes(root.pem)
    (folder / "foreign-ca.pem").write_bytes(foreign.pem)
    (folder / "client.pem").write_bytes(client.key_pem + client.pem)
    (folder / "client-split.pem").write_bytes(client.pem)
    (folder / "client-split.key").write_bytes(client.key_pem)
    (folder / "client-foreign.pem").write_bytes(unknown.key_pem + unknown.pem)
    return {"good": pin(good), "other": pin(foreign), "root": pin(root)}
